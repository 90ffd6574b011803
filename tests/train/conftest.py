"""Type promotion for the training tests: optax mixes types on purpose."""

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def standard_promotion():
    """Lift the strict mode of the other tests, which optax does not support."""
    with jax.numpy_dtype_promotion("standard"):
        yield
