"""Experiments run as users run them: without the strict settings of the tests."""

import jax
import pytest


@pytest.fixture(autouse=True)
def usual_promotion():
    """Users run without the strict settings of the tests."""
    with (
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
    ):
        yield
