"""The tables of a benchmark: each kind of figure, and what is left out."""

import pytest

from mmdiff.design.bench import report, solver
from mmdiff.errors import InputError


def _cell(name, wall, *, symmetry="cubic", iterations=5):
    row = {"symmetry": symmetry, "edge": 16, "cell": name, "wall_s": wall, "cpu_s": 1.0}
    constants = {"C11": 0.1, "C12": 0.01, "C44": 0.02}
    return row | {"iterations": iterations, "converged": wall < 4} | constants


CELLS = [
    _cell("schwarz_p", 1.0),
    _cell("plates", 3.0),
    _cell("network 0", 2.0, iterations=9),
    _cell("debris 1", 5.0),
    _cell("schwarz_p", 8.0, symmetry="periodic"),
]
NOTHING = {
    "groups": [],
    "cells": CELLS,
    "other_voids": [],
    "batches": [],
    "design": [],
    "dataset": [],
    "job": {},
    "command": [],
    "sampler": None,
    "peers": [],
}


def test_cells_are_the_references_and_the_worst_random_one():
    found = report.report(NOTHING, notes=["few"])
    assert list(found.tables) == ["Cells"] and found.notes == ["few"]
    names = [row[""] for row in found.tables["Cells"]]
    assert names == [
        "cubic 16^3 schwarz_p",
        "cubic 16^3 plates",
        "cubic 16^3 worst: debris 1",
        "periodic 16^3 schwarz_p",
    ]
    assert found.tables["Cells"][2]["wall_s"] == 5.0
    assert found.tables["Cells"][0]["off_cubic"] is None
    assert found.rows["bench.csv"] is CELLS and found.json == "bench.json"


def test_each_figure_has_its_table():
    shard = {"cells_per_hour": 900.0, "make": 1, "mend": 2, "label": 3, "check": 4}
    peer = {"edge": 16, "cell": "schwarz_p", "peer": "scipy-jacobi", "status": "done"}
    group = solver.summarize(CELLS[:4])
    tables = report.tables(
        NOTHING
        | {
            "groups": [{"symmetry": "cubic", "edge": 16, **group}],
            "other_voids": [{**row, "void": 1e-9} for row in CELLS[:3]],
            "batches": [{"edge": 16, "batch": 8, "cells_per_s": 3.0}],
            "design": [
                {
                    "edge": 16,
                    "starts": 2,
                    "step_s": [1.0, 3.0, 2.0],
                    "solve_s": [1.0],
                    **{"ratio": 2.0, "batch_s": 1.0, "one_by_one_s": 1.5},
                }
            ],
            "dataset": [
                {"edge": 16, "workers": 2, "kinds": {"a": shard | {"overhead": 0.1}}}
            ],
            "job": {
                "stages": [{"stage": "samples", "cpu_s": 0.5, "calls": 2.0}],
                "imports_cpu_s": 2.0,
                "programs_cpu_s": 30.0,
            },
            "command": [{"command": "default command", "wall_s": 9.0, "cpu_s": 16.0}],
            "sampler": {"first_s": 3.0, "wall_s": 1.0, "cpu_s": 2.0},
            "peers": [peer],
        }
    )
    assert [row[""] for row in tables["Other packages"]] == [
        "schwarz_p 16^3 mmdiff cubic",
        "schwarz_p 16^3 mmdiff periodic",
        "schwarz_p 16^3 scipy-jacobi",
    ]
    (steps,) = tables["Design steps"]
    assert steps[""] == "16^3, 2 starts" and steps["step_s"] == 2.0
    (shards,) = tables["Labelled cells"]
    assert shards[""] == "16^3, a, 2 workers" and shards["overhead"] == 0.1
    (voids,) = tables["Other voids"]
    assert voids == {
        "": "cubic 16^3, void 1e-09",
        "iterations_median": 5.0,
        "iterations_most": 9,
        "unconverged": 0,
    }
    (sizes,) = tables["All cells of a size"]
    assert sizes["reference_wall_s"] == 2.0 and sizes["random_wall_s_worst"] == 5.0
    assert sizes["unconverged"] == 1 and sizes["compile_s"] is None
    assert tables["A generated cell"] == [
        {"": "samples", "cpu_s": 0.5, "calls": 2.0},
        {"": "once: imports and programs", "cpu_s": 32.0, "calls": None},
    ]
    assert tables["Commands"][0] == {"": "default command", "wall_s": 9, "cpu_s": 16}
    assert tables["Sampler"][0]["first_s"] == 3.0
    assert tables["Batches"][0][""] == "cubic 16^3, batch 8"


@pytest.mark.parametrize(
    "symmetry, edge, message",
    [
        ("cubic", 31, "cubic cells of 31^3: a mirror-symmetric cell"),
        ("cubic", 6, "cubic cells of 6^3: density has shape (3, 3, 3)"),
        ("periodic", 2, "periodic cells of 2^3: density has shape (2, 2, 2)"),
    ],
)
def test_edges_that_cannot_be_solved_are_named(symmetry, edge, message):
    with pytest.raises(InputError) as error:
        solver.check_edge(symmetry, edge)
    assert message in str(error.value)
    solver.check_edge(symmetry, 16)
