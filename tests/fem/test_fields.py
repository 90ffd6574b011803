"""Strain energy of solved cells: it adds up to the tensor."""

import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import random_octant, solve

from mmdiff.fem import boundary, fields


@pytest.mark.parametrize("kind", ["cubic", "orthotropic", "periodic"])
def test_mean_energy_is_half_the_diagonal(kind):
    stiff = jnp.asarray(random_octant(8, 5, low=0.1), jnp.float32)
    tensor, info, _ = solve(stiff, kind, tol=1e-5)
    energy = fields.strain_energy(stiff, info.fields, symmetry=kind)
    loads = boundary.loads(kind).voigt
    assert energy.shape == (len(loads), 8, 8, 8) and float(energy.min()) >= 0
    # Both are sums of 512 float32 terms.
    want = 0.5 * np.diag(tensor)[list(loads)]
    np.testing.assert_allclose(energy.mean((1, 2, 3)), want, rtol=1e-5)
    cell = fields.on_cell(np.asarray(energy), kind)
    edge = 8 if kind == "periodic" else 16
    assert cell.shape == (len(loads), edge, edge, edge)


def test_energy_of_the_octant_is_that_of_the_cell():
    octant = random_octant(8, 6, low=0.1)[::2, ::2, ::2]
    octant = np.kron(octant, np.ones((2, 2, 2))).astype(np.float32)
    stiff = jnp.asarray(octant)
    _, info, _ = solve(stiff, "cubic", tol=1e-6)
    got = fields.strain_energy(stiff, info.fields, symmetry="cubic")
    _, info, _ = solve(stiff, "orthotropic", tol=1e-6)
    want = fields.strain_energy(stiff, info.fields, symmetry="orthotropic")
    # Loads 11 and 23 of both; the fields differ by the tolerance of the solves.
    np.testing.assert_allclose(got, want[jnp.array([0, 3])], atol=1e-5)
