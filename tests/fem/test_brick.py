"""Kinds of elements: their matrices, macro forces and bounds of the spectrum."""

import math

import numpy as np
import pytest
import scipy.linalg
from fem_helpers import assembled, element_tensors, random_coefficients
from oracles import element_matrices

from mmdiff.fem import brick as bricks
from mmdiff.fem import element
from mmdiff.fem.brick import KINDS, Brick

UNEQUAL = (1.0, 0.7, 1.8)
all_kinds = pytest.mark.parametrize("kind", KINDS)
both_edges = pytest.mark.parametrize(
    "edges", [bricks.UNIT, UNEQUAL], ids=["cube", "box"]
)


def _combined(brick, seed=0):
    """Random coefficients (p,) and the tensor that they stand for."""
    coefficients = random_coefficients(brick, (1, 1, 1), seed)
    return coefficients.reshape(-1), element_tensors(coefficients, brick)[0, 0, 0]


@all_kinds
def test_tensors_are_those_of_the_coefficients(kind):
    brick = Brick(kind, nu=0.2)
    coefficients, tensor = _combined(brick)
    got = np.tensordot(coefficients, bricks.tensors(brick), 1)
    np.testing.assert_allclose(got, tensor, atol=1e-14)


@all_kinds
@both_edges
def test_stiffness_is_the_exact_integral(kind, edges):
    brick = Brick(kind, nu=0.45, edges=edges)
    coefficients, tensor = _combined(brick)
    got = np.tensordot(coefficients, bricks.stiffness(brick), 1)
    want = np.tensordot(tensor, element_matrices(edges), 2)
    np.testing.assert_allclose(got, want, atol=1e-14)
    for matrix in bricks.stiffness(brick):
        np.testing.assert_array_equal(matrix, matrix.T)


def test_kinds_agree_on_isotropic_elements():
    lam, mu = 0.3 / (1.3 * 0.4), 1 / 2.6  # E = 1, nu = 0.3
    want = bricks.stiffness(Brick("modulus", 0.3, UNEQUAL))[0]
    for kind, constants in {
        "isotropic": (lam, mu),
        "cubic": (lam + 2 * mu, lam, mu),
    }.items():
        got = np.tensordot(constants, bricks.stiffness(Brick(kind, edges=UNEQUAL)), 1)
        np.testing.assert_allclose(got, want, atol=1e-14)
    np.testing.assert_allclose(
        bricks.stiffness(Brick())[0], element.stiffness(0.3), atol=1e-15
    )


@all_kinds
@both_edges
def test_elements_have_six_rigid_motions_only(kind, edges):
    brick = Brick(kind, edges=edges)
    coefficients, _ = _combined(brick, 1)
    values = np.linalg.eigvalsh(np.tensordot(coefficients, bricks.stiffness(brick), 1))
    # Zero to the rounding of a 24x24 eigenvalue problem of order one.
    np.testing.assert_allclose(values[:6], 0, atol=1e-14)
    assert values[6] > 1e-3


def test_stiffness_grows_with_the_edge():
    for kind in KINDS:
        one, two = (Brick(kind, edges=(a, 0.7 * a, 1.8 * a)) for a in (1.0, 2.0))
        np.testing.assert_allclose(
            bricks.stiffness(two), 2 * bricks.stiffness(one), atol=1e-14
        )


def test_edges_and_volume():
    brick = Brick("isotropic").with_edges([1, 2, 3])
    assert brick == Brick("isotropic", edges=(1.0, 2.0, 3.0)) and brick.volume == 6
    assert all(type(edge) is float for edge in brick.edges)
    assert Brick().volume == 1


@all_kinds
@both_edges
def test_modes_are_sparse_and_the_same_matrix(kind, edges):
    brick = Brick(kind, nu=0.45, edges=edges)
    rows = bricks.mode_rows(brick)
    total = {j for row in rows for part in row for j, _ in part}
    assert len(total) == 21  # all but the translations
    assert sum(len(part) for row in rows for part in row) <= 75
    dense = np.zeros((len(bricks.tensors(brick)), 24, 24))
    for i, row in enumerate(rows):
        for k, part in enumerate(row):
            for j, value in part:
                dense[k, i, j] = value
    np.testing.assert_array_equal(dense, bricks.mode_stiffness(brick))
    transform = np.kron(np.eye(3), element.hadamard())
    # Back to corners; entries below 1e-14 were dropped.
    np.testing.assert_allclose(
        transform.T @ dense @ transform, bricks.stiffness(brick), atol=1e-12
    )
    # Rigid translations are the sums; they carry no force.
    assert not any(any(rows[8 * c]) for c in range(3))
    assert kind != "modulus" or sum(len(row[0]) for row in rows) == 45


@all_kinds
@both_edges
def test_macro_stress_is_the_force_of_the_macro_modes(kind, edges):
    brick = Brick(kind, edges=edges)
    coefficients, tensor = _combined(brick)
    strain = np.random.default_rng(0).standard_normal((4, 6))
    stress = bricks.macro_stress(brick, strain)
    assert stress.shape == (4, len(coefficients), 24)
    stress = np.einsum("lpi,p->li", stress, coefficients)
    modes = element.macro_modes(strain, edges)
    # Modes of a force are those whose product with modes of displacement is the energy.
    want = strain @ tensor @ strain.T * np.prod(edges)
    np.testing.assert_allclose(modes @ stress.T, want, atol=1e-12)
    # Back at the corners: what an affine field pulls with, in balance.
    force = (stress.reshape(4, 3, 8) @ element.hadamard()).reshape(4, 24)
    corners = (modes.reshape(4, 3, 8) @ element.hadamard() / 8).reshape(4, 24)
    want = corners @ np.tensordot(tensor, element_matrices(edges), 2)
    np.testing.assert_allclose(force, want, atol=1e-13)
    np.testing.assert_allclose(force.reshape(4, 3, 8).sum(-1), 0, atol=1e-13)


@all_kinds
@both_edges
def test_blocks_of_corners_differ_in_signs(kind, edges):
    brick = Brick(kind, edges=edges)
    corners = bricks.stiffness(brick).reshape(-1, 3, 8, 3, 8)
    first = bricks.corner_blocks(brick)
    assert first.shape == (len(corners), 3, 3)
    for v, corner in enumerate(element.CORNERS):
        sign = np.where(np.array(corner) == 1, -1, 1)
        got = corners[:, :, v, :, v] * sign[:, None] * sign
        np.testing.assert_allclose(got, first, atol=1e-15)


# The bound of the spectrum


def _largest(matrix, free):
    """Largest eigenvalue of B^-1 K, B the 3x3 nodal blocks of K, of the free dofs."""
    nodes = np.tile(np.arange(len(matrix) // 3), 3)
    blocks = np.where(nodes[:, None] == nodes, matrix, 0)
    part = np.ix_(free, free)
    return scipy.linalg.eigh(matrix[part], blocks[part], eigvals_only=True)[-1]


@pytest.mark.parametrize(
    "brick",
    [
        *(Brick("modulus", nu) for nu in (0.0, 0.3, 0.45)),
        *(Brick(kind, edges=edges) for kind in KINDS for edges in (UNEQUAL, (1, 3, 3))),
        Brick("isotropic"),
        Brick("cubic"),
    ],
    ids=str,
)
def test_spectrum_bound_holds_for_assembled_systems(brick):
    bound = bricks.spectrum_bound(brick)
    rng = np.random.default_rng(0)
    for decades in (0, 3, 9):
        for seed in range(3):
            fields = random_coefficients(brick, (2, 2, 2), seed, decades)
            if seed == 0 and decades:
                fields = fields[:, :1, :1, :1] * np.where(
                    rng.random((2, 2, 2)) < 0.5, 1.0, 10.0**-decades
                )
            matrix = assembled(fields, brick).toarray()
            for free in (np.ones(81, bool), *(rng.random((3, 81)) < 0.5)):
                # Rounding of the eigenvalues, which grows with the contrast of moduli.
                assert _largest(matrix, free) <= bound * (1 + 1e-6)


@all_kinds
def test_spectrum_bound_is_not_far_from_what_occurs(kind):
    # One stiff element among soft ones is as bad as an element alone.
    for edges in (bricks.UNIT, UNEQUAL):
        brick = Brick(kind, edges=edges)
        worst = 0
        for ray in bricks._rays(brick):
            fields = np.full((len(ray), 2, 2, 2), 1e-6) * _combined(brick)[0].reshape(
                -1, 1, 1, 1
            )
            # A tensor close to the edge of what is positive definite.
            fields[:, 0, 1, 0] = ray + 1e-6 * _combined(brick)[0]
            matrix = assembled(fields, brick).toarray()
            worst = max(worst, _largest(matrix, np.ones(81, bool)))
        assert worst == pytest.approx(bricks.spectrum_bound(brick), rel=1e-2)


def test_spectrum_bound_of_a_uniform_grid():
    bound = bricks.spectrum_bound(Brick())
    assert bound == pytest.approx(3.162, abs=1e-3)
    matrix = assembled(np.ones((1, 2, 2, 2)), Brick()).toarray()
    assert 0.8 * bound < _largest(matrix, np.ones(81, bool)) < bound


def test_spectrum_bound_depends_on_what_is_known():
    # A number for one material would not do for the next.
    bounds = [bricks.spectrum_bound(Brick(nu=nu)) for nu in (0.2, 0.3, 0.4, 0.45)]
    assert bounds == sorted(bounds) and bounds[-1] > 1.4 * bounds[0]
    # The more kinds of tensors, the larger; the size of elements is of no effect.
    one, two, three = (bricks.spectrum_bound(Brick(kind)) for kind in KINDS)
    assert one < two <= three * (1 + 1e-9) and math.isfinite(three)
    large = Brick("cubic", edges=(2.0, 2.0, 2.0))
    assert bricks.spectrum_bound(large) == pytest.approx(three)


def test_cached_arrays_are_read_only():
    for brick in (Brick(), Brick("isotropic"), Brick("cubic", edges=UNEQUAL)):
        for array in (bricks.stiffness(brick), bricks.mode_stiffness(brick)):
            assert not array.flags.writeable
        assert bricks.stiffness(brick) is bricks.stiffness(brick)
