"""Judging, ranking and reporting optimized cells: on numbers known beforehand."""

import json

import numpy as np
import pytest

from mmdiff import bounds, elasticity
from mmdiff.cells import specimens
from mmdiff.design.optimize import problem, properties, ranking
from mmdiff.design.optimize import report as optimized_files
from mmdiff.design.optimize.ranking import Entry
from mmdiff.design.optimize.resumable import SHOWN, Outcome
from mmdiff.io.json import plain
from mmdiff.topopt.optimize import COLUMNS

N = 8
OCTANT = specimens.plates(N)
VOLUME = float(OCTANT.mean())
CONSTANTS = np.array([0.30, 0.10, 0.09])  # Zener ratio 0.9
SETTINGS = {
    **{"base_E": 200.0, "base_nu": 0.3, "void": 1e-6, "penal": 3.0, "tol": 1e-5},
    **{"symmetry": "cubic", "cell_size_mm": 8.0, "settings": {"vf": 0.4}},
}


def _outcome(value=0.2, octant=OCTANT, constants=CONSTANTS, converged=True, steps=3):
    refinement = np.full((4, 3), np.nan)
    refinement[:2] = [[0.9 * value, 0.0, VOLUME], [value, 0.0, VOLUME]]
    history = np.full((5, len(COLUMNS)), np.nan, np.float32)
    history[:steps] = np.linspace(0.1, 0.5, steps)[:, None]
    when = np.full(SHOWN, -1, np.int32)
    when[:2] = [0, steps]
    density = np.random.default_rng(0).uniform(size=(N, N, N)).astype(np.float32)
    return Outcome(
        start=density,
        density=density,
        octant=octant,
        constants=constants,
        residual=np.float64(3e-4),
        converged=np.bool_(converged),
        value=np.float64(value),
        pieces_found=np.int32(3),
        refinement=refinement,
        history=history,
        snapshots=np.zeros((SHOWN, N, N, N), np.uint8),
        when=when,
    )


def _nothing():
    empty = np.zeros_like(OCTANT)
    refinement = np.full((4, 3), np.nan)
    nothing = _outcome(-np.inf, empty, np.full(3, np.nan), False)
    return nothing._replace(refinement=refinement)


def test_a_good_cell_has_no_flaws():
    asked = problem.ask("bulk", volume=VOLUME, isotropy=0.12, min_young=0.2)
    assert ranking.flaws(_outcome(), asked.problem, asked.limits) == ()


@pytest.mark.parametrize(
    ("options", "outcome", "text"),
    [
        ({"volume": VOLUME / 2}, {}, f"volume {VOLUME:.4f} exceeds {VOLUME / 2:g}"),
        (
            {"volume": 0.9, "volume_is": "equal"},
            {},
            f"volume {VOLUME:.4f} is below 0.9",
        ),
        ({"isotropy": 0.05}, {}, "Zener ratio 0.900 is not within 0.952 to 1.050"),
        (
            {"min_young": 0.3},
            {},
            "modulus 0.25 (base E = 1) is below its floor",
        ),
        ({}, {"converged": False}, "finite elements stopped at residual 3.0e-04"),
    ],
)
def test_each_flaw_is_named_with_its_numbers(options, outcome, text):
    asked = problem.ask("bulk", **{"volume": VOLUME, **options}, allow_infeasible=True)
    found = ranking.flaws(_outcome(**outcome), asked.problem, asked.limits)
    assert len(found) == 1 and text in found[0]


def test_an_empty_cell_has_one_flaw():
    asked = problem.ask("bulk", volume=0.3, isotropy=0.1)
    found = ranking.flaws(_nothing(), asked.problem, asked.limits)
    assert found == ("no connected part that bears load is left",)


def test_the_volume_is_met_within_half_an_orbit():
    def flaws(volume):
        asked = problem.ask("bulk", volume=volume)
        return ranking.flaws(_outcome(), asked.problem, asked.limits)

    half = 3 / N**3  # an orbit has six voxels at most
    slack = ranking.SLACK * VOLUME
    assert not flaws(VOLUME - half)
    assert flaws(VOLUME - 1.1 * (half + slack))


def test_a_target_leaves_the_volume_some_slack():
    def flaws(volume):
        options = {"target": "0.3,0.1,0.09", "allow_infeasible": True}
        asked = problem.ask("target", volume=volume, **options)
        return ranking.flaws(_outcome(), asked.problem, asked.limits)

    assert not flaws(VOLUME - 0.01)
    assert flaws(VOLUME - 0.012)


def _entries():
    return [
        Entry("", 0, "random", _nothing(), ("nothing left",)),
        Entry("", 1, "random", _outcome(0.3), ("too heavy",)),
        Entry("", 2, "random", _outcome(0.1)),
        Entry("", 3, "random", _outcome(0.2)),
        Entry("doubled", 3, "random", _outcome(0.25)),
    ]


def test_flawed_cells_rank_last_and_empty_ones_after_them():
    order = ranking.ranked(_entries())
    assert [(e.start, e.name) for e in order] == [
        (3, "doubled"), (3, ""), (2, ""), (1, ""), (0, ""),
    ]  # fmt: skip
    said = ranking.failures(order)
    assert said == [
        "start 1 (random) is ranked last: too heavy.",
        "start 0 (random) is ranked last: nothing left.",
    ]


def test_files_are_named_by_rank_and_the_doubled_cell_is_extra():
    order = ranking.ranked(_entries())
    names = [(e.start, e.name) for e in ranking.named(order, 2)]
    assert names == [(3, "doubled"), (3, "cell_00"), (2, "cell_01")]
    # More than there are: never an empty cell, a flawed one only as the last.
    names = [(e.start, e.name) for e in ranking.named(order, 9)]
    assert names[1:] == [(3, "cell_00"), (2, "cell_01"), (1, "cell_02")]


def test_numbers_of_a_cell():
    facts = properties.numbers(OCTANT, CONSTANTS, size_mm=8.0)
    moduli = elasticity.moduli(CONSTANTS)
    for name in ("K", "G", "E", "nu"):
        np.testing.assert_allclose(facts[name], moduli[name], rtol=1e-12)
    np.testing.assert_allclose(facts["Zener"], 0.9, rtol=1e-12)
    assert facts["E/E_solid"] == facts["E"]
    bound = bounds.hashin_shtrikman(VOLUME)[0]
    np.testing.assert_allclose(facts["K/K_HS"], moduli["K"] / bound, rtol=1e-12)
    assert facts["pieces"] == 1 and facts["volume"] == VOLUME
    # 16 voxels make 8 mm.
    assert facts["thinnest_wall_mm"] == 0.5 * facts["thinnest_wall_voxels"]
    assert facts["narrowest_hole_mm"] == 0.5 * facts["narrowest_hole_voxels"]
    assert facts["cubic_distance"] < 1e-12


def test_an_orthotropic_cell_is_told_by_its_closest_cubic_tensor():
    nine = np.array([0.2, 0.3, 0.4, 0.1, 0.11, 0.12, 0.05, 0.06, 0.07])
    facts = properties.numbers(OCTANT, nine)
    np.testing.assert_allclose(
        [facts[name] for name in elasticity.NAMES], [0.3, 0.11, 0.06], rtol=1e-12
    )
    tensor = np.array(facts["C"])
    assert tensor[1, 1] == 0.3 and tensor[1, 2] == 0.1 and tensor[3, 3] == 0.05
    assert facts["cubic_distance"] == elasticity.cubic_distance(tensor) > 0.1
    entry = Entry("cell_00", 0, "random", _outcome(constants=nine))
    (said,) = properties.remarks([entry], [facts], 10.0, 0.0)
    assert "% away from cubic" in said and "closest cubic tensor" in said


def test_thin_walls_are_said_with_their_size():
    facts = properties.numbers(OCTANT, CONSTANTS, size_mm=8.0)
    facts |= {"thinnest_wall_voxels": 1.0, "thinnest_wall_mm": 0.5}
    entry = Entry("cell_00", 0, "random", _outcome())
    (said,) = properties.remarks([entry], [facts], 8.0, 0.6)
    assert said == (
        "cell_00: thinnest wall is 1 voxel = 0.5 mm at cell size 8 mm; below the 0.6 "
        "mm limit set by --config.min_wall."
    )
    assert not properties.remarks([entry], [facts], 8.0, 0.5)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    goal = problem.ask("bulk", volume=0.4).goal
    entries = ranking.ranked(_entries())
    optimized_files.write_history(folder, entries, goal, SETTINGS)
    chosen = ranking.named(entries, 2)
    facts = [
        properties.numbers(e.outcome.octant, e.outcome.constants, size_mm=8.0)
        for e in chosen
    ]
    plates = {"sc": properties.numbers(OCTANT, CONSTANTS, size_mm=8.0)}
    report = properties.report(chosen, facts, entries, plates, goal, SETTINGS)
    report["remarks"] = ["a remark"]
    optimized_files.write(folder, chosen, facts, plates, report, goal)
    return folder, report


def test_the_report_is_in_units_of_the_base_material(written):
    folder, report = written
    read = json.loads((folder / "properties.json").read_text())
    assert read == plain(report)
    best, *others = read["cells"]
    assert best["file"] == "doubled.npy" and [c["start"] for c in others] == [3, 2]
    np.testing.assert_allclose(best["C11"], 200 * 0.3)
    np.testing.assert_allclose(np.array(best["C"])[3, 3], 200 * 0.09)
    np.testing.assert_allclose(best["value"], 200 * 0.25)
    np.testing.assert_allclose(best["value_before_refinement"], 200 * 0.225)
    np.testing.assert_allclose(best["E/E_solid"], 0.25)
    bound = bounds.hashin_shtrikman(VOLUME)[0]
    np.testing.assert_allclose(best["K/K_HS before refinement"], 0.225 / bound)
    assert best["refinement_steps"] == 1 and best["pieces_removed"] == 2
    np.testing.assert_allclose(read["plates"]["sc"]["K"], 200 * 0.5 / 3)


def test_every_start_is_reported_with_its_flaws(written):
    _, report = written
    starts = {(s["start"], s["K/K_HS"] is None): s["flaws"] for s in report["starts"]}
    assert len(report["starts"]) == 5
    assert starts[0, True] == ["nothing left"] and starts[1, False] == ["too heavy"]


def test_the_summary_names_the_best(written):
    _, report = written
    best = report["cells"][0]
    assert report["summary"] == (
        f"best: doubled, start 3, K/K_HS {0.5 / 3 / _bulk_bound():.3f} at V "
        f"{VOLUME:.3f}, Zener 0.90; refined from {0.225 / _bulk_bound():.3f}."
    )
    assert best["converged"] is True


def test_a_repaired_constraint_is_said():
    refinement = _outcome().refinement
    refinement[0, 1] = 0.031
    entry = Entry("cell_00", 0, "random", _outcome()._replace(refinement=refinement))
    facts = {"K/K_HS": 0.9, "K/K_HS before refinement": 0.95, "Zener": 1.0}
    said = properties.summary(entry, facts, problem.ask("bulk", volume=0.4).goal)
    assert said.endswith("refined from 0.950, with a constraint off by 3.1 %.")


def _bulk_bound():
    return bounds.hashin_shtrikman(VOLUME)[0]


def test_history_has_a_line_per_step(written):
    folder, _ = written
    lines = (folder / "history.csv").read_text().splitlines()
    header = lines[0].split(",")
    assert header == ["start", "resolution", "step", *COLUMNS]
    assert len(lines) == 1 + 5 * 3
    row = dict(zip(header, lines[1].split(","), strict=True))
    assert row["start"] == "0" and row["step"] == "1" and row["resolution"] == "16"
    # Stiffness in units of the base material, all else as it is.
    np.testing.assert_allclose(
        [float(row[name]) for name in ("value", "C11", "volume", "beta")],
        [20, 20, 0.1, 0.1],
        rtol=1e-6,  # float32
    )


def test_every_file_is_there_and_true(written):
    folder, report = written
    names = [
        f"{stem}.{kind}"
        for stem in ("doubled", "cell_00", "cell_01")
        for kind in ("npy", "stl", "3mf", "vti", "png")
    ]
    names += "density.npz cells.npz properties.csv history.csv index.html".split()
    names += ["frames.png", "before_after.png", "bounds.png", "spheres.png"]
    names += ["history.png"]
    missing = [name for name in names if not (folder / name).stat().st_size]
    assert not missing
    with np.load(folder / "density.npz") as data:
        np.testing.assert_array_equal(data["octant"], OCTANT)
        np.testing.assert_array_equal(data["cell"], np.load(folder / "doubled.npy"))
        np.testing.assert_allclose(data["constants"], 200 * CONSTANTS)
        assert data["base_E"] == 200 and data["volume"] == VOLUME
        assert json.loads(str(data["settings"])) == SETTINGS["settings"]
        assert "engineering shear" in str(data["conventions"])
    with np.load(folder / "cells.npz") as data:
        assert data["cells"].shape == (2, 16, 16, 16) and data["void"] == 1e-6
        np.testing.assert_array_equal(data["cells"][1], np.load(folder / "cell_01.npy"))
    table = (folder / "properties.csv").read_text().splitlines()
    assert len(table) == 4 and "base_nu" in table[0] and "Zener" in table[0]


def test_the_page_shows_cells_plates_and_starts(written):
    folder, report = written
    text = (folder / "index.html").read_text()
    assert "http://" not in text and "https://" not in text
    for name in ("cell_00.stl", "bounds.png", "history.csv", "density.npz"):
        assert f'href="{name}"' in text
    for said in (report["summary"], "a remark", "plates: sc", "too heavy"):
        assert said in text
