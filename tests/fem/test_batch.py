"""Batches: the same numbers as one by one, and every member judged on its own."""

import jax
import jax.numpy as jnp
import numpy as np
from fem_helpers import smooth_octant, solve

from mmdiff import elasticity
from mmdiff.cells import voxels
from mmdiff.data.recipe import Recipe
from mmdiff.fem import device, homogenize

# As the dataset labels its cells, so that both tests share one compiled function.
LABEL = {"void": Recipe.void, "tol": Recipe.tol, "maxiter": Recipe.maxiter}


def test_map_batch_maps_every_argument():
    run = device.map_batch(lambda a, b: {"sum": a + b.sum(), "product": a * b})
    a, b = jnp.arange(3.0), jnp.ones((3, 2))
    got = run(a, b)
    np.testing.assert_array_equal(got["sum"], [2, 3, 4])
    np.testing.assert_array_equal(got["product"], a[:, None] * b)


def test_map_batch_equals_vmap():
    def root(x):
        # As many steps as each member needs.
        def body(y):
            return (y + x / y) / 2

        return jax.lax.while_loop(lambda y: abs(y * y - x) > 1e-4 * x, body, x)

    x = jnp.array([1.0, 4.0, 1e4])
    np.testing.assert_allclose(
        device.map_batch(root)(x), jax.jit(jax.vmap(root))(x), rtol=1e-6
    )


def test_labels_are_those_of_single_cells():
    octants = [voxels.threshold_to_volume(smooth_octant(8, s), 0.4) for s in range(3)]
    density = np.stack(octants).astype(np.float32)
    constants, residual, converged = homogenize.batched_homogenizer(8, **LABEL)(density)
    assert constants.shape == (3, 3) and residual.shape == converged.shape == (3,)
    assert converged.all() and (residual <= LABEL["tol"]).all()
    for i, cell in enumerate(density):
        tensor, info, _ = solve(homogenize.modulus(cell), tol=LABEL["tol"])
        # Two float32 solves of the same tolerance; its square is below rounding.
        np.testing.assert_allclose(
            constants[i], elasticity.voigt_to_cubic(tensor), rtol=0, atol=1e-6
        )


def test_one_bad_member_does_not_touch_the_others():
    density = np.ones((3, 8, 8, 8), np.float32)
    density[1, 0, 0, 0] = np.nan
    constants, _, converged = homogenize.batched_homogenizer(8, **LABEL)(density)
    np.testing.assert_array_equal(converged, [True, False, True])
    # float32 sums of equal terms.
    want = elasticity.isotropic()
    np.testing.assert_allclose(constants[0], want, rtol=1e-6)
    np.testing.assert_array_equal(constants[0], constants[2])


def test_labeller_is_made_once():
    assert homogenize.batched_homogenizer(8, **LABEL) is homogenize.batched_homogenizer(8, **LABEL)
