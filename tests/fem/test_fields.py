"""Fields for output: they add up to the tensor and are those of the whole cell."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import GRIDS, random_moduli, random_octant, solve

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.fem import boundary, element, fields

KINDS = pytest.mark.parametrize("kind", GRIDS)


@functools.lru_cache
def solved(kind):
    """Moduli, tensor and fields of a random cell; for x64 mode."""
    stiff = jnp.asarray(random_moduli(kind, 5, decades=1))
    tensor, info, _ = solve(stiff, kind)
    return stiff, np.asarray(tensor), info.fields


@KINDS
def test_mean_energy_is_half_the_diagonal(x64, kind):
    stiff, tensor, x = solved(kind)
    energy = fields.strain_energy(stiff[None], x, symmetry=kind)
    loads = boundary.loads(kind).voigt
    assert energy.shape == (len(loads), *stiff.shape) and float(energy.min()) >= 0
    # Both are sums of 512 terms at most.
    want = 0.5 * np.diag(tensor)[list(loads)]
    np.testing.assert_allclose(np.mean(energy, (1, 2, 3)), want, rtol=1e-12)
    cell = fields.on_cell(np.asarray(energy), kind)
    assert cell.shape == (len(loads), 8, 8, 8)


@KINDS
def test_mean_strain_is_the_macro_strain(x64, kind):
    stiff, _, x = solved(kind)
    strain = np.asarray(fields.strain(x, symmetry=kind))
    load_cases = boundary.loads(kind)
    assert strain.shape == (len(load_cases.voigt), 6, *stiff.shape)
    mean = fields.strain_on_cell(strain, kind).mean((2, 3, 4))
    # Rounding: whatever the fluctuation, its mean slope is zero.
    np.testing.assert_allclose(mean, load_cases.strain, atol=1e-13)


@KINDS
def test_displacement_has_the_strain(x64, kind):
    _, _, x = solved(kind)
    u = np.asarray(fields.displacement(x, symmetry=kind))
    size = GRIDS[kind] + 1
    assert u.shape == (len(boundary.loads(kind).voigt), 3, size, size, size)
    u = fields.vectors_on_cell(u, kind)
    n = u.shape[-1] - 1
    strain = fields.strain(x, symmetry=kind)
    strain = fields.strain_on_cell(np.asarray(strain), kind)
    # Slopes at the centres from differences of nodes averaged over the other axes.
    slope = np.empty((len(u), 3, 3, n, n, n))
    for axis in range(3):
        part = n * np.diff(u, axis=2 + axis)
        for other in {0, 1, 2} - {axis}:
            low = np.take(part, range(n), 2 + other)
            part = (low + np.take(part, range(1, n + 1), 2 + other)) / 2
        slope[:, :, axis] = part
    for row, (i, j) in enumerate(element.VOIGT):
        want = slope[:, i, i] if i == j else slope[:, i, j] + slope[:, j, i]
        # Differences of numbers of order one, times 16.
        np.testing.assert_allclose(strain[:, row], want, atol=1e-13)


@pytest.mark.parametrize("kind", ["cubic", "orthotropic"])
def test_octant_continued_over_the_cell_is_the_periodic_solution(x64, kind):
    octant = random_octant(4, 8, low=0.05)
    _, info, _ = solve(octant, kind, tol=1e-12)
    cell = octant_to_cell(octant)
    _, whole, _ = solve(cell, "periodic", tol=1e-12)
    loads = list(boundary.loads(kind).voigt)

    def both(function, on_cell):
        got = on_cell(np.asarray(function(info.fields, symmetry=kind)), kind)
        want = function(whole.fields, symmetry="periodic")
        return got, np.asarray(want)[loads]

    # Fields are accurate to the residual of 1e-12 times the condition number 1e3.
    tolerance = {"rtol": 0, "atol": 1e-9}
    got, want = both(fields.strain, fields.strain_on_cell)
    np.testing.assert_allclose(got, want, **tolerance)
    got, want = both(fields.displacement, fields.vectors_on_cell)
    shift = (got - want).mean((2, 3, 4), keepdims=True)  # rigid translations
    np.testing.assert_allclose(got, want + shift, **tolerance)
    octant, cell = jnp.asarray(octant)[None], jnp.asarray(cell)[None]
    energy = fields.strain_energy(octant, info.fields, symmetry=kind)
    want = fields.strain_energy(cell, whole.fields, symmetry="periodic")
    np.testing.assert_allclose(
        fields.on_cell(energy, kind), np.asarray(want)[loads], **tolerance
    )


@KINDS
def test_opposite_faces_differ_by_the_macro_strain(x64, kind):
    load_cases, n = boundary.loads(kind), GRIDS[kind]
    x = np.random.default_rng(0).standard_normal(load_cases.field_shape(n))
    if kind != "periodic":
        x *= [
            boundary.free_mask(fixed, (n, n, n), np.float64, periodic=False)
            for fixed in load_cases.fixed()
        ]
    u = np.asarray(fields.displacement(jnp.asarray(x), symmetry=kind))
    u = fields.vectors_on_cell(u, kind)
    for row, (i, j) in enumerate(element.VOIGT):
        if row not in load_cases.voigt:
            continue
        gradient = np.zeros((3, 3))
        gradient[i, j] = gradient[j, i] = 1 if i == j else 0.5
        load = u[load_cases.voigt.index(row)]
        for axis in range(3):
            jump = np.take(load, -1, 1 + axis) - np.take(load, 0, 1 + axis)
            want = np.broadcast_to(gradient[:, axis, None, None], jump.shape)
            # Rounding of numbers of order one.
            np.testing.assert_allclose(jump, want, atol=1e-14)
