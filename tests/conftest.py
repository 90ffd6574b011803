"""Settings for all tests: strict types and ranks, so no array is widened unseen."""

import os
from pathlib import Path

import jax
import pytest

# Tests that start processes work in a clone that is not installed, too.
_PATHS = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, _PATHS))


@pytest.fixture(autouse=True)
def strict_arrays(request):
    """Refuse implicit widening: of float32 by float64, of (n,) arrays by (n, n) ones.

    Users' own code may do as it likes; here it is a mistake. Flax itself widens its
    bfloat16 statistics, so the tests of networks keep the usual promotion of types.
    """
    flax = {"models", "train"} & set(request.path.parts)
    with (
        jax.numpy_dtype_promotion("standard" if flax else "strict"),
        jax.numpy_rank_promotion("raise"),
    ):
        yield


@pytest.fixture
def x64():
    """Switch float64 on for one test: the reference path of the solvers."""
    with jax.enable_x64(True):
        yield
