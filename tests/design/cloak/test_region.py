"""The region of known cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.design.cloak import region
from mmdiff.elasticity import NU

SOLID = np.array([1.0 - NU, NU, 0.5 - NU]) / ((1 + NU) * (1 - 2 * NU))


def _cells():
    """Isotropic cells from soft to solid, shear moduli up to a tenth off."""
    scale = np.linspace(0.05, 1, 200)[:, None, None]
    shear = np.linspace(0.9, 1.1, 5)[:, None]
    return (scale * SOLID * np.hstack([1 + 0 * shear, 1 + 0 * shear, shear])).reshape(
        -1, 3
    )


def test_the_solid_is_at_one_and_soft_cells_at_the_cube_root():
    np.testing.assert_allclose(region.coordinates(SOLID[None]), 1, rtol=1e-12)
    soft = region.coordinates(SOLID[None] / 1000)
    np.testing.assert_allclose(soft, 0.1, rtol=1e-12)


def test_coordinates_and_constants_are_inverse():
    rng = np.random.default_rng(0)
    constants = _cells() * rng.uniform(0.9, 1.1, (len(_cells()), 3))
    back = region.constants_at(jnp.asarray(region.coordinates(constants)))
    # float32
    np.testing.assert_allclose(back, constants, rtol=3e-6, atol=1e-7)


def test_known_cells_and_gaps_between_them_are_inside():
    constants = _cells()
    excess = region.make_excess(constants)
    y = jnp.asarray(region.coordinates(constants), jnp.float32)
    # Between grid points a cell may stick out by less than a step.
    assert excess(y).max() < 1 / region.GRID


@pytest.mark.parametrize(("steps", "closed"), [(3, True), (12, False)])
def test_narrow_gaps_between_cells_are_closed(steps, closed):
    first = np.linspace(0.3, 0.6, 100)[:, None] * np.ones(3)
    second = first + np.array([steps / region.GRID, 0, 0])
    both = region.constants_at(jnp.asarray(np.vstack([first, second])))
    excess = region.make_excess(np.asarray(both))
    middle = excess(jnp.asarray((first[30:70] + second[30:70]) / 2, jnp.float32))
    assert (middle < 0.6 / region.GRID).all() if closed else middle.min() > 0.05


def test_what_no_cell_has_is_outside_and_the_way_back_is_downhill():
    excess = region.make_excess(_cells())
    y = jnp.asarray([[0.5, 0.5, 0.9], [0.9, 0.3, 0.3]], jnp.float32)
    far = excess(y)
    assert (far > 0.1).all()
    uphill = jax.grad(lambda y: excess(y).sum())(y)
    nearer = y - 0.05 * uphill / jnp.linalg.norm(uphill, axis=1, keepdims=True)
    # As far as it went, but for the steps of the grid.
    np.testing.assert_allclose(far - excess(nearer), 0.05, atol=0.015)
