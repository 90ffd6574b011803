"""From variables to the density, and its gradient down to the objective."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import quick_jit, random_octant

from mmdiff import elasticity
from mmdiff.cells import symmetry
from mmdiff.fem import homogenize
from mmdiff.topopt import filters, objectives, parametrization, problem

N = 4


def test_octant_and_back():
    rng = np.random.default_rng(0)
    for kind in ("cubic", "orthotropic"):
        design = rng.random(symmetry.num_independent(N, kind)).astype(np.float32)
        octant = parametrization.to_octant(jnp.asarray(design), N, kind)
        assert octant.shape == (N, N, N)
        np.testing.assert_array_equal(symmetry.gather_independent(octant, kind), design)
        assert symmetry.is_cubic(octant) == (kind == "cubic")


def test_gradient_of_the_octant_is_the_transpose(x64):
    # <P x, y> = <x, P^T y>, the transpose being what differentiation makes of it.
    rng = np.random.default_rng(1)
    x = rng.standard_normal(symmetry.num_independent(N))
    y = rng.standard_normal((N, N, N))
    octant, transpose = jax.vjp(
        lambda d: parametrization.to_octant(d, N), jnp.asarray(x)
    )
    (back,) = transpose(jnp.asarray(y))
    assert float((octant * y).sum()) == pytest.approx(float(back @ x), rel=1e-13)
    # One voxel at a time: each belongs to the variable of its orbit alone.
    places = jax.jacrev(lambda d: parametrization.to_octant(d, N).ravel())(
        jnp.asarray(x)
    )
    np.testing.assert_allclose(places.sum(0), symmetry.multiplicity(N), rtol=1e-14)
    np.testing.assert_array_equal(np.argmax(places, 1), symmetry.orbit_index(N).ravel())


def test_physical_is_filter_then_projection():
    octant = random_octant(N).astype(np.float32)
    design = symmetry.gather_independent(octant)
    got = parametrization.physical(
        jnp.asarray(design), N, radius=1.5, beta=4.0, eta=0.4
    )
    want = filters.project(filters.cone_filter(jnp.asarray(octant), 1.5), 4.0, 0.4)
    np.testing.assert_allclose(got, want, atol=1e-7)


@pytest.mark.parametrize("kind", ["cubic", "orthotropic"])
def test_gradient_down_to_the_objective(x64, kind):
    # Variables -> octant -> filter -> projection -> SIMP -> finite elements -> C ->
    # objective and constraints, against central differences.
    solver = homogenize.make_solver(N, kind)
    target = jnp.asarray(elasticity.from_e_nu_zener(0.1, 0.2, np.float64(1.3)))
    asked = problem.Problem(objectives.nearness, True, True, True)
    limits = problem.Limits(0.4, 0.02, 0.2, target)

    def outputs(design):
        density = parametrization.physical(design, N, kind, radius=1.5, beta=4.0)
        stiff = homogenize.modulus(density, 1e-4, 3.0)
        tensor, _ = solver(stiff, tol=1e-11, maxiter=100)
        g = problem.constraints(asked, limits, tensor, density.mean())
        values = [asked.objective(limits.params)(tensor), objectives.poisson(tensor)]
        out = jnp.append(g, jnp.stack(values))
        return out, out

    rows = quick_jit(jax.jacrev(outputs, has_aux=True))
    rng = np.random.default_rng(2)
    size = symmetry.num_independent(N, kind)
    design = jnp.asarray(rng.uniform(0.2, 0.9, size))
    direction = jnp.asarray(rng.uniform(-0.5, 0.5, size))
    slope = rows(design)[0] @ direction
    h = 1e-4
    ends = [rows(design + step * direction)[1] for step in (h, -h)]
    difference = ends[0] - ends[1]
    # Truncation h^2 times third derivatives of order beta^3, rounding 1e-16 / h.
    np.testing.assert_allclose(slope, difference / (2 * h), rtol=2e-6, atol=1e-9)
