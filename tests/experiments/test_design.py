"""configs/design.py through the command line: objectives, loads and constraints."""

import json

import jax
import numpy as np
import pytest

from mmdiff import main

GOALS = """
import jax.numpy as jnp

def shear(C):
    return C[3, 3]

def limits(C):
    return jnp.stack([C[3, 3] / C[0, 0] - 0.3, 0.02 - C[0, 1]])
"""
SIZES = (
    *("design_resolution=16", "resolution=64", "refine_steps=8", "vf=0.4", "steps=18"),
    *("start=random", "num_starts=1", "num_best=1", "radius=1.2", "workers=1"),
)


def _run(folder, *options):
    flags = [f"--config.{option}" for option in (*SIZES, *options)]
    config = "--config=configs/design.py"
    return main.main(["mmdiff", config, f"--workdir={folder / 'out'}", *flags])


@pytest.fixture(scope="module")
def designed(quick_programs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("designed")
    (folder / "goals.py").write_text(GOALS)
    names = (
        f"objective={folder}/goals.py:shear",
        f"constraints={folder}/goals.py:limits",
    )
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        assert _run(folder, *names) == 0
    return folder, names


@pytest.mark.slow
def test_the_constraints_of_a_user_are_met(designed):
    folder, _ = designed
    report = json.loads((folder / "out/properties.json").read_text())
    (cell,) = report["cells"]
    tensor = np.array(cell["C"])
    # Cells that are best in shear alone have more of it: the constraint is active.
    assert 0.2 < tensor[3, 3] / tensor[0, 0] <= 0.3 + 0.002
    assert tensor[0, 1] >= 0.02 - 0.002 and cell["flaws"] == []
    assert cell["value"] == pytest.approx(tensor[3, 3], rel=1e-5)
    assert any("your constraints, met at most at 0" in x for x in report["remarks"])
    assert {"cell_00.stl", "cell_00.3mf", "history.csv"} <= {
        path.name for path in (folder / "out").iterdir()
    }


@pytest.mark.slow
def test_a_run_is_bound_to_the_functions(designed, capsys):
    folder, names = designed
    assert _run(folder, *names) == 0  # done
    (folder / "goals.py").write_text(GOALS + "\n# changed\n")
    assert _run(folder, *names) == 2
    assert "objective" in capsys.readouterr().err


@pytest.mark.slow
def test_load_cases_are_resisted(quick_programs, tmp_path):
    loads = ("loads=1,0,0,0,0,0; 0,0,0,1,0,0", "load_kind=stress", "base.E=100")
    assert _run(tmp_path, *loads) == 0
    report = json.loads((tmp_path / "out/properties.json").read_text())
    (cell,) = report["cells"]
    compliance = np.linalg.inv(np.array(cell["C"]))
    expected = 2 / (compliance[0, 0] + compliance[3, 3])
    assert cell["value"] == pytest.approx(expected, rel=1e-4)
    assert any("strain energy densities" in text for text in report["remarks"])


def test_a_file_may_be_called_generated(tmp_path, capsys):
    assert _run(tmp_path, "objective=bulk", "start=generated") == 2
    assert "start=generated: the model draws cells" in capsys.readouterr().err
    gone = f"start={tmp_path}/generated_by_hand.npy"
    assert _run(tmp_path, "objective=bulk", gone) == 2
    assert "nor a file that exists" in capsys.readouterr().err
