"""Property space: laminates against a numerical average, bins, coverage, frontier."""

import itertools

import numpy as np
import pytest

from mmdiff import bounds, elasticity
from mmdiff.data import space

VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
ISOTROPIC = 3 / 5  # mean of sum n_i^4 over the sphere
LIMITS = (0.1, 0.9)
volumes = pytest.mark.parametrize("volume", [0.1, 0.35, 0.8])
ratios = pytest.mark.parametrize("nu", [0.0, 0.3, 0.45])


def _images(direction):
    """Return the 48 images of a direction under the cubic group."""
    return [
        np.array(signs) * direction[list(order)]
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]


def _gamma(n, stiffness):
    """Return the 6x6 strain of the layers per unit stress, engineering shear."""
    full = np.zeros((3, 3, 3, 3))
    for (a, (i, j)), (b, (k, m)) in itertools.product(enumerate(VOIGT), repeat=2):
        for p, q in {(i, j), (j, i)}:
            for r, s in {(k, m), (m, k)}:
                full[p, q, r, s] = stiffness[a, b]
    acoustic = np.einsum("ipqj,p,q->ij", full, n, n)
    strain = np.zeros((6, 6))
    for b, (k, m) in enumerate(VOIGT):
        stress = np.zeros((3, 3))
        stress[k, m] = stress[m, k] = 1.0
        jump = np.linalg.solve(acoustic, stress @ n)
        tensor = (np.outer(jump, n) + np.outer(n, jump)) / 2
        strain[:, b] = [tensor[i, j] * (1 if i == j else 2) for i, j in VOIGT]
    return strain


def _laminate(directions, weights, volume, nu):
    """Return the constants of layers of void normal to all images of directions."""
    solid = elasticity.cubic_to_voigt(elasticity.isotropic(1.0, nu))
    gamma = sum(
        weight * np.mean([_gamma(n, solid) for n in _images(direction)], axis=0)
        for direction, weight in zip(directions, weights, strict=True)
    )
    inside = np.linalg.inv(np.linalg.inv(solid) - volume * gamma)
    return elasticity.voigt_to_cubic(solid - (1 - volume) * inside)


def _curve(volume, nu=0.3, count=41):
    fourth = np.linspace(bounds.TETRAHEDRAL, bounds.AXIAL, count)
    return fourth, *bounds.shear_bound(volume, fourth, nu)


def _constants(bulk, edges, faces):
    c12 = bulk - 2 * faces / 3
    return np.stack(np.broadcast_arrays(c12 + 2 * faces, c12, edges), axis=-1)


def _on_curve(volume, scale=1.0, bulk_scale=1 - 1e-9):
    _, edges, faces = _curve(volume)
    bulk = bulk_scale * bounds.hashin_shtrikman(volume)[0]
    return _constants(bulk, scale * edges, scale * faces)


@volumes
@ratios
def test_isotropic_laminate_has_the_shear_modulus_of_hashin_and_shtrikman(volume, nu):
    want = bounds.hashin_shtrikman(volume, nu)[1]
    np.testing.assert_allclose(bounds.shear_bound(volume, ISOTROPIC, nu), want)


@ratios
def test_solid_has_its_own_moduli(nu):
    _, edges, faces = _curve(1.0, nu)
    np.testing.assert_allclose([edges, faces], 1 / (2 * (1 + nu)))


@volumes
@ratios
def test_bounds_lie_below_voigts(volume, nu):
    _, edges, faces = _curve(volume, nu)
    mixed = volume / (2 * (1 + nu))
    assert (edges > 0).all() and (edges < mixed).all()
    assert (faces > 0).all() and (faces < mixed).all()


@volumes
@ratios
def test_curve_falls_and_is_concave(volume, nu):
    _, edges, faces = _curve(volume, nu)
    assert (np.diff(edges) < 0).all() and (np.diff(faces) > 0).all()
    slope = np.diff(edges) / np.diff(faces)
    assert (np.diff(slope) < 0).all()


@volumes
@ratios
def test_laminates_from_the_average_over_48_directions(volume, nu):
    rng = np.random.default_rng(0)
    drawn = [[1.0, 0, 0], [1, 1, 1], [1, 1, 0], *rng.normal(size=(3, 3))]
    for direction in drawn:
        direction = np.asarray(direction) / np.linalg.norm(direction)
        values = elasticity.moduli(_laminate([direction], [1.0], volume, nu))
        second = values["G"] / values["zener"]
        want = bounds.shear_bound(volume, (direction**4).sum(), nu)
        # Inverses of 6x6 matrices with a condition below 1e3.
        np.testing.assert_allclose((values["G"], second), want, rtol=1e-10)
        bulk = bounds.hashin_shtrikman(volume, nu)[0]
        np.testing.assert_allclose(values["K"], bulk, rtol=1e-10)


def test_mixtures_of_directions_are_on_the_curve_and_reachable():
    rng = np.random.default_rng(1)
    for volume in (0.15, 0.5, 0.85):
        directions = rng.normal(size=(3, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        weights = rng.dirichlet(np.ones(3))
        constants = _laminate(directions, weights, volume, 0.3)
        fourth = weights @ (directions**4).sum(1)
        want = _constants(
            bounds.hashin_shtrikman(volume)[0], *bounds.shear_bound(volume, fourth)
        )
        np.testing.assert_allclose(constants, want, rtol=1e-10)
        assert bounds.is_reachable(constants * (1 - 1e-9), volume)
        assert not bounds.is_reachable(constants * (1 + 1e-9), volume)


@volumes
def test_curve_parts_reachable_from_not(volume):
    assert bounds.is_reachable(_on_curve(volume, 1 - 1e-6), volume).all()
    assert not bounds.is_reachable(_on_curve(volume, 1 + 1e-6), volume).any()


@volumes
def test_bulk_modulus_is_bounded(volume):
    assert bounds.is_reachable(_on_curve(volume, 0.9, 1 - 1e-9), volume).all()
    assert not bounds.is_reachable(_on_curve(volume, 0.9, 1 + 1e-9), volume).any()


def test_each_shear_modulus_alone_is_bounded():
    bulk = 0.9 * bounds.hashin_shtrikman(0.4)[0]
    most, _ = bounds.shear_bound(0.4, bounds.TETRAHEDRAL)
    _, second = bounds.shear_bound(0.4, bounds.AXIAL)
    edges = np.array([most * 0.999, most * 1.001, 1e-4, 1e-4])
    faces = np.array([1e-4, 1e-4, second * 0.999, second * 1.001])
    got = bounds.is_reachable(_constants(bulk, edges, faces), 0.4)
    np.testing.assert_array_equal(got, [True, False, True, False])


def test_nu_of_the_solid_counts():
    constants = _constants(bounds.hashin_shtrikman(0.5, 0.1)[0], 0.05, 0.05)
    inside = constants * (1 - 1e-9)
    assert bounds.is_reachable(inside, 0.5, 0.1)
    assert not bounds.is_reachable(inside * 1.001, 0.5, 0.1)
    # A stiffer bulk modulus of the solid, more room.
    assert bounds.is_reachable(inside * 1.001, 0.5, 0.3)


@pytest.mark.parametrize(
    "constants", [(0.1, 0.12, 0.02), (0.1, -0.06, 0.02), (0.1, 0.05, -0.02)]
)
def test_unstable_constants_are_not_reachable(constants):
    constants = np.array(constants)
    assert min(elasticity.stability_margins(constants).values()) < 0
    assert not bounds.is_reachable(constants, 0.5)


def test_coordinates_are_shares_of_the_bounds():
    volume = np.array([0.3, 0.3, 1.0])
    bulk = bounds.hashin_shtrikman(volume)[0]
    edges, _ = bounds.shear_bound(volume, bounds.TETRAHEDRAL)
    _, faces = bounds.shear_bound(volume, bounds.AXIAL)
    share = np.array([1.0, 0.25, 1.0])
    points = space.to_coordinates(
        _constants(share * bulk, share**2 * edges, share**3 * faces), volume
    )
    want = np.stack([volume, share, share**2, share**3], axis=-1)
    np.testing.assert_allclose(points, want)


@ratios
def test_coordinates_there_and_back(nu):
    points = np.random.default_rng(0).uniform(0.05, 1, (50, 4))
    cells = space.from_coordinates(points, nu)
    np.testing.assert_allclose(cells[:, 3], points[:, 0])
    np.testing.assert_allclose(
        space.to_coordinates(cells[:, :3], cells[:, 3], nu), points
    )


def _filled(*bins):
    """Return constants and volumes of one cell at the centre of each 4-index."""
    points = space.from_coordinates((np.array(bins) + 0.5) / space.BINS)
    return points[:, :3], points[:, 3]


def test_bins_count_along_v_k_c44_and_the_second_shear_modulus():
    got = space.bin_index(*_filled((0, 0, 0, 0), (1, 2, 3, 4), (9, 9, 9, 9)))
    np.testing.assert_array_equal(got, [0, 1234, 9999])
    np.testing.assert_array_equal(space.bin_index(*_filled((1, 2, 3, 4))), [1234])


def test_cells_beyond_the_grid_count_to_its_outermost_bins():
    over = space.from_coordinates(
        np.array([[0.55, 1.03, 1.2, 1.0], [1, 0.55, 0.45, 2]])
    )
    got = space.bin_index(over[:, :3], over[:, 3])
    np.testing.assert_array_equal(got, [5999, 9549])
    below = space.from_coordinates(np.array([[0.55, 0.35, -0.2, -0.01]]))
    assert space.bin_index(below[:, :3], below[:, 3])[0] == 5300


def test_poisson_bins():
    ratio = np.array([-0.51, -0.49, -0.01, 0.01, 0.26])
    constants = elasticity.from_e_nu_zener(np.full(5, 0.3), ratio, np.ones(5))
    got = space.poisson_bin(constants)
    np.testing.assert_array_equal(got, [-11, -10, -1, 0, 5])


def test_reachable_bins_have_a_reachable_centre():
    index = space.reachable_bins(*LIMITS)
    centre = (np.stack(np.unravel_index(np.arange(10**4), (10,) * 4), -1) + 0.5) / 10
    points = space.from_coordinates(centre)
    inside = np.isin(np.arange(10**4), index)
    low, high = LIMITS
    within = (centre[:, 0] > low) & (centre[:, 0] < high)
    able = np.array([bounds.is_reachable(p[:3], p[3]) for p in points[within]])
    np.testing.assert_array_equal(inside[within], able)
    assert not inside[~within].any()
    # A concave curve has more than half of its box below it.
    assert 0.5 < len(index) / within.sum() < 1


def test_drawn_points_are_in_their_bins_and_reachable():
    # Limits that cut bins in two, and every bin there is.
    limits = (0.22, 0.77)
    index = np.repeat(space.reachable_bins(*limits), 2)
    points = space.draw_in_bins(np.random.default_rng(0), index, limits)
    constants, volume = points[:, :3], points[:, 3]
    np.testing.assert_array_equal(space.bin_index(constants, volume), index)
    assert bounds.is_reachable(constants, volume).all()
    assert (volume >= limits[0]).all() and (volume <= limits[1]).all()
    assert (points[::2] != points[1::2]).all()


def test_drawn_points_follow_the_generator():
    index = space.reachable_bins(*LIMITS)[::50]
    first, again, other = (
        space.draw_in_bins(np.random.default_rng(seed), index, LIMITS)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_coverage_counts_reachable_bins_once():
    reachable = len(space.reachable_bins(*LIMITS))
    two = _filled((4, 5, 3, 3), (4, 5, 3, 3), (2, 1, 1, 1))
    assert space.coverage(*two, LIMITS) == pytest.approx(2 / reachable)
    # Both shear moduli near their bounds at once, and a volume out of range.
    outside = _filled((4, 5, 9, 9), (0, 5, 3, 3))
    assert space.coverage(*outside, LIMITS) == 0


def test_coverage_of_all_bins_is_one():
    bins = np.stack(np.unravel_index(space.reachable_bins(*LIMITS), (10,) * 4), -1)
    assert space.coverage(*_filled(*bins), LIMITS) == 1


def test_frontier_of_one_cell_is_its_eight_neighbours():
    middle = np.array([4, 5, 3, 3])
    steps = np.concatenate([np.eye(4, dtype=int), -np.eye(4, dtype=int)])
    want = np.sort(np.ravel_multi_index((middle + steps).T, (10,) * 4))
    np.testing.assert_array_equal(space.frontier(*_filled(middle), LIMITS), want)


def test_frontier_does_not_wrap_around():
    got = space.frontier(*_filled((4, 0, 0, 0)), LIMITS)
    np.testing.assert_array_equal(got, [3000, 4001, 4010, 4100, 5000])


def test_frontier_is_empty_reachable_and_beside_filled_bins():
    reachable = space.reachable_bins(*LIMITS)
    index = np.random.default_rng(3).choice(reachable, 300, replace=False)
    bins = np.stack(np.unravel_index(index, (10,) * 4), -1)
    got = space.frontier(*_filled(*bins), LIMITS)
    found = np.stack(np.unravel_index(got, (10,) * 4), -1)
    apart = abs(found[:, None] - bins).sum(-1).min(1)
    np.testing.assert_array_equal(apart, 1)
    assert np.isin(got, reachable).all()
    rest = np.setdiff1d(reachable, [*got, *index])
    rest = np.stack(np.unravel_index(rest, (10,) * 4), -1)
    assert (abs(rest[:, None] - bins).sum(-1).min(1) > 1).all()
