"""The pages below docs/ keep their word."""

import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import specimens
from mmdiff.fem import homogenize

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.mark.slow
def test_the_example_of_the_homogenizer_runs(capsys):
    text = (DOCS / "homogenizer.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    with (
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
    ):
        exec(code, names)
    assert all(np.isfinite(names[k]).all() for k in ("curvature", "sensitivity"))
    assert np.abs(names["sensitivity"]).max() > 0


@pytest.fixture(scope="module")
def study():
    path = DOCS / "preconditioner_study.py"
    spec = importlib.util.spec_from_file_location("preconditioner_study", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_study_counts_what_the_solver_needs(study):
    # The same method twice: assembled in float64 here, matrix-free in float32 there.
    for density in (specimens.plates(8), specimens.random_cell(8, 3)):
        _, info = homogenize.homogenize(jnp.asarray(density, jnp.float32), tol=1e-5)
        stiff = homogenize.modulus(density)
        for load, count in enumerate(info.iterations):
            cycle = study.Multigrid(stiff, load)
            b = study.right_hand_side(stiff, load)
            matrix = cycle.levels[0]["matrix"]
            assert abs(study.iterations(matrix, cycle, b) - count) < 2
