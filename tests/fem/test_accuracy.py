"""The tensor of a surface from two grids, and what is said about it."""

import numpy as np
import pytest

from mmdiff import bounds
from mmdiff.cells import lattices, surface
from mmdiff.data.dataset import load_dataset
from mmdiff.elasticity import NU, PAPER_RANGES, voigt_to_cubic
from mmdiff.fem import accuracy
from mmdiff.fem.homogenize import homogenize


@pytest.fixture(scope="module")
def psi():
    return lattices.lattice("P network", 0.4, 8)


def constants(density, penal):
    tensor, _ = homogenize(density, penal=penal)
    return np.asarray(voigt_to_cubic(tensor), np.float64)


@pytest.mark.parametrize(("name", "nu"), [("P sheet", 0.4), ("bcc struts", 0.2)])
def test_the_same_cell_of_another_base_material(name, nu):
    psi = lattices.lattice(name, 0.3, 16)
    (first, volume, _), (other, *_) = (
        accuracy.on_grid(psi, 16, nu=of, tol=1e-3) for of in (NU, nu)
    )
    known, asked = (np.asarray(voigt_to_cubic(c), float) for c in (first, other))
    guess = bounds.rebase(known, volume, NU, nu)
    off, change = (abs(c - asked) / PAPER_RANGES for c in (guess, known))
    assert off.mean() < 4e-3 and off.mean() < change.mean() / 2


def test_small_errors_in_the_square_of_the_edge_vanish():
    exact, slope = np.array([0.1, -0.01, 0.03]), np.array([4e-3, -2e-3, 1e-3])
    fourth, eighth, sixteenth = (exact + slope / n**2 for n in (4, 8, 16))
    limit, doubt = accuracy.extrapolate(eighth, sixteenth)
    np.testing.assert_allclose(limit, exact, rtol=1e-5)
    # Grids that differ by more are trusted less, and none entirely.
    _, more = accuracy.extrapolate(fourth, eighth)
    _, least = accuracy.extrapolate(exact, exact)
    assert (least > 0).all() and (doubt > least).all() and (more > doubt).all()


def test_large_differences_are_trusted_in_part():
    fine = np.array([0.02, -0.008, 0.003])
    limit, doubt = accuracy.extrapolate(1.2 * fine, fine)
    np.testing.assert_allclose(limit, (1 - 0.2 / 4.6) * fine)  # 4.6 where it was 3
    assert (doubt > 0.04 * abs(fine)).all() and (doubt < 0.06 * abs(fine)).all()


def test_constants_near_zero_keep_an_uncertainty():
    _, doubt = accuracy.extrapolate(np.array([0.1, 0, 0.03]), np.array([0.1, 0, 0.03]))
    assert 1e-4 * 0.1 < doubt[1] < doubt[2] < doubt[0]


def test_an_estimate_is_of_volume_fractions_on_two_grids(psi):
    found = accuracy.estimate(psi)
    coarse, fine = (constants(surface.fractions(psi, m), 1.0) for m in (8, 16))
    # The solvers stop where their last step changed a constant by GAIN or less.
    np.testing.assert_allclose(found.coarse, coarse, rtol=accuracy.GAIN / 2)
    np.testing.assert_allclose(found.fine, fine, rtol=accuracy.GAIN / 2)
    limit, doubt = accuracy.extrapolate(coarse, fine)
    np.testing.assert_allclose(found.constants, limit, rtol=accuracy.GAIN / 2)
    np.testing.assert_allclose(found.uncertainty, doubt, rtol=0.02)
    assert found.volume == pytest.approx(0.4, abs=1e-3)
    assert found.converged


def test_known_coarse_constants_are_not_made_again(psi):
    known = np.array([0.3, 0.1, 0.1])
    found = accuracy.estimate(psi, coarse=known, elements=4)
    np.testing.assert_array_equal(found.coarse, known)
    limit, _ = accuracy.extrapolate(known, found.fine)
    np.testing.assert_array_equal(found.constants, limit)


def test_a_coarse_grid_alone_has_no_uncertainty():
    known = np.array([0.3, 0.1, 0.1])
    found = accuracy.of_coarse(known, 0.4, 1e-6)
    np.testing.assert_array_equal(found.constants, known)
    assert np.isnan(found.uncertainty).all() and found.volume == 0.4


def test_voxels_are_binary(psi):
    found = accuracy.of_voxels(psi, 8)
    np.testing.assert_allclose(found, constants(surface.voxels(psi, 8), 3.0), rtol=1e-4)
    assert abs(found - constants(surface.fractions(psi, 8), 1.0)).max() > 1e-3


def test_fields_of_a_coarse_grid_start_the_fine_one(psi):
    place = np.arange(9.0)
    fields = np.stack(np.meshgrid(place, 2 * place, -place, indexing="ij"))
    fine = np.asarray(accuracy.refined(np.stack([fields, 3 * fields])))
    assert fine.shape == (2, 3, 17, 17, 17)
    # The same displacement in edges of elements half as large.
    np.testing.assert_allclose(fine[1, 1, 0, :, 0], 3 * 2 * np.arange(17), rtol=1e-6)
    np.testing.assert_allclose(
        fine[:, :, ::2, ::2, ::2],
        2 * np.stack([fields] * 2) * (np.array([1, 3])[:, None, None, None, None]),
        rtol=1e-6,
    )
    cold = accuracy.of_shares(surface.fractions(psi, 16))[1]
    found, info = homogenize(surface.fractions(psi, 8), penal=1.0)
    start = accuracy.refined(info.fields)
    warm = accuracy.of_shares(surface.fractions(psi, 16), fields=start)[1]
    assert warm.iterations.sum() < cold.iterations.sum()


def test_soft_cells_are_solved_to_the_same_share_of_their_stiffness():
    data = load_dataset()
    soft = np.argmin(data.constants @ [1, 2, 0])  # the least bulk modulus
    share = surface.fractions(data.fields([soft])[0], 16)
    exact = constants(share, 1.0)
    # By the residual alone a soft cell seems to be done early.
    found = homogenize(share, penal=1.0, tol=3e-2), accuracy.of_shares(share, tol=1e-6)
    found = [np.asarray(voigt_to_cubic(tensor)) for tensor, _ in found]
    loose, settled = (abs(c / exact - 1).max() for c in found)
    assert settled < accuracy.GAIN < 0.1 * loose


@pytest.mark.parametrize("n", [4, 8])
def test_a_check_is_the_estimate_of_finer_grids(psi, monkeypatch, n):
    monkeypatch.setattr(accuracy, "FINER", 8)
    field = surface.resampled(psi, n)
    found, known = accuracy.check(field), accuracy.estimate(field, elements=8)
    np.testing.assert_array_equal(found.constants, known.constants)
    np.testing.assert_array_equal(found.uncertainty, known.uncertainty)
    plain = accuracy.estimate(field)
    assert np.array_equal(found.fine, plain.fine) == (n == 8)


def test_no_check_is_coarser_than_the_field(monkeypatch):
    seen = []

    def estimate(psi, **options):
        seen.append(options)
        return accuracy.of_coarse(np.ones(3), 0.4, 1e-6)

    monkeypatch.setattr(accuracy, "estimate", estimate)
    for n in (32, 64, 80):
        accuracy.check(np.broadcast_to(1.0, (n, n, n)), void=1e-4)
    assert seen == [{"elements": m, "void": 1e-4} for m in (64, 64, 80)]
