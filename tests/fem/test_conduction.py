"""Conductivity against assembled scalar solves, closed forms and differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from fem_helpers import quick_jit

from mmdiff.errors import InputError
from mmdiff.fem import conduction

SHAPE, EDGES = (5, 4, 6), (1.0, 0.5, 1.25)


@functools.lru_cache
def compiled(shape, symmetry, edges=(1.0, 1.0, 1.0)):
    solve = conduction.make_conductor(shape, symmetry, edges=edges)
    return quick_jit(functools.partial(solve, tol=1e-10, maxiter=200))


def random_values(shape, seed=0):
    return 10 ** -np.random.default_rng(seed).uniform(0, 3, shape)


def assembled(values, edges):
    """Effective conductivity of a periodic cell, by a sparse direct solve."""
    shape = values.shape
    mass = [h / 6 * np.array([[2.0, 1], [1, 2]]) for h in edges]
    slope = [np.array([[1.0, -1], [-1, 1]]) / h for h in edges]
    local = sum(
        functools.reduce(np.kron, [slope[a] if a == b else mass[a] for a in range(3)])
        for b in range(3)
    )
    count, index = values.size, np.arange(values.size).reshape(shape)
    corners = list(np.ndindex(2, 2, 2))
    dofs = [np.roll(index, [-i for i in c], (0, 1, 2)).ravel() for c in corners]
    dofs = np.stack(dofs, 1)
    rows, columns = np.repeat(dofs, 8, 1).ravel(), np.tile(dofs, (1, 8)).ravel()
    entries = (values.reshape(-1, 1, 1) * local).ravel()
    matrix = sp.coo_matrix((entries, (rows, columns)), (count, count)).tocsc()
    macro = np.array(corners) * np.array(edges)  # (8, 3)
    force = np.zeros((count, 3))
    np.add.at(force, dofs, values.reshape(-1, 1, 1) * (local @ macro))
    x = np.zeros((count, 3))
    x[1:] = spla.splu(matrix[1:, 1:]).solve(-force[1:])
    total = x[dofs] + macro
    energy = np.einsum("eai,ab,ebj,e->ij", total, local, total, values.ravel())
    return energy / count / np.prod(edges)


def test_periodic_cells_are_the_assembled_solve(x64):
    values = random_values(SHAPE)
    tensor, info = compiled(SHAPE, "periodic", EDGES)(values)
    assert info.converged.all()
    want = assembled(values, EDGES)
    assert abs(want[0, 1]) > 1e-4
    np.testing.assert_allclose(tensor, want, rtol=1e-6, atol=1e-8)


def test_octants_are_their_mirrored_cells(x64):
    octant = random_values((3, 4, 2), 1)
    cell = octant
    for axis in range(3):
        cell = np.concatenate([cell, np.flip(cell, axis)], axis)
    tensor, _ = compiled((3, 4, 2), "orthotropic")(octant)
    np.testing.assert_allclose(tensor, assembled(cell, (1, 1, 1)), atol=1e-8)


def test_windows_are_between_their_bounds(x64):
    values = random_values(SHAPE, 2)
    kinematic, mixed = (
        compiled(SHAPE, kind)(values)[0] for kind in ("kinematic", "mixed")
    )
    assert (np.diag(mixed) < np.diag(kinematic)).all()
    assert (np.diag(kinematic) < values.mean()).all()
    assert (np.diag(mixed) > 1 / (1 / values).mean()).all()
    np.testing.assert_allclose(mixed, mixed.T)


def test_spheres_in_a_cubic_array():
    """Rayleigh, Phil. Mag. 34 (1892) 481, to the order that is given there."""
    place = (np.indices((24, 24, 24)) + 0.5) / 48
    for ratio, radius in ((10.0, 0.3), (0.05, 0.35)):
        inside = np.linalg.norm(place, axis=0) < radius
        share, first = inside.mean(), (ratio + 2) / (ratio - 1)
        higher = 1.569 * (ratio - 1) / (3 * ratio + 4) * share ** (10 / 3)
        want = 1 + 3 * share / (first - share - higher)
        values = np.where(inside, ratio, 1).astype(np.float32)
        tensor, info = conduction.conductivity(values, symmetry="cubic")
        assert info.converged.all()
        np.testing.assert_allclose(np.diag(tensor), want, rtol=0.02)


@pytest.mark.parametrize("symmetry", ["periodic", "mixed"])
def test_derivatives_are_those_of_differences(x64, symmetry):
    solve = functools.partial(
        conduction.make_conductor((4, 4, 4), symmetry), tol=1e-11, maxiter=200
    )
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(3, 3)))
    values = random_values((4, 4, 4), 4)
    both = quick_jit(jax.value_and_grad(lambda k: (weights * solve(k)[0]).sum()))
    _, slope = both(values)
    change = np.random.default_rng(5).normal(size=values.shape) * values
    step = 1e-5
    high, low = (both(values + sign * step * change)[0] for sign in (1, -1))
    expected = (high - low) / (2 * step)
    np.testing.assert_allclose((slope * change).sum(), expected, rtol=1e-6)


def test_what_does_not_conduct_is_refused():
    with pytest.raises(InputError, match="has values from 0 to 1; it must be positive"):
        conduction.conductivity(np.eye(4)[:, :, None] * np.ones(4))
    with pytest.raises(InputError, match="three axes are needed"):
        conduction.conductivity(np.ones((4, 4)))


def test_units_stay():
    values = np.full((4, 4, 4), 237.0)
    tensor, _ = conduction.conductivity(values, edges=(1.0, 2.0, 3.0))
    np.testing.assert_allclose(tensor, 237 * np.eye(3), rtol=1e-5, atol=1e-3)
