"""Paths that begin and end at their cells, gaps that close, faces that fit."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import bounds, elasticity
from mmdiff.cells.symmetry import is_cubic, octant_to_cell
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.interpolate import ends as path_ends
from mmdiff.design.interpolate import family, path
from mmdiff.design.interpolate.family import Member
from mmdiff.diffusion import samplers
from mmdiff.diffusion.inversion import invert
from mmdiff.diffusion.process import without_previous
from mmdiff.diffusion.schedule import ExponentialSchedule
from mmdiff.errors import InputError
from mmdiff.fem import homogenize
from mmdiff.models import noise_codec
from mmdiff.topopt.interface import Evaluation

SCHEDULE = ExponentialSchedule()
FREE = jnp.full(4, -1.0)


def _wave(n):
    wave = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    return wave[:, None, None] + wave[:, None] + wave


def _ball(volume, n=8):
    return threshold_to_volume(-_wave(n), volume)


def _frame(volume, n=8):
    return threshold_to_volume(_wave(n), volume)


def _denoise(x, t, x0_prev, cond):
    """The posterior mean of voxels of -1 and +1, and what it remembers."""
    gamma = SCHEDULE.gamma(t)[:, None, None, None]
    return jnp.tanh(jnp.sqrt(gamma) / (1 - gamma) * x + 3 * x0_prev)


@pytest.fixture(scope="module")
def bridge():
    with jax.numpy_dtype_promotion("standard"):
        return noise_codec.make_noise_codec(_denoise, SCHEDULE, steps=16)


@pytest.fixture(scope="module")
def noises(bridge):
    cells = _ball(0.3), _frame(0.4)
    keys = jax.random.split(jax.random.key(0))
    return cells, [
        bridge.encode(key, jnp.asarray(2.0 * cell - 1, jnp.float32), FREE)
        for key, cell in zip(keys, cells, strict=True)
    ]


def test_the_ends_of_the_path_are_the_two_cells(bridge, noises):
    cells, (first, second) = noises
    for theta, cell in zip((0.0, np.pi / 2), cells, strict=True):
        x0 = bridge.decode(noise_codec.spherical(first, second, theta), FREE)
        assert noise_codec.returned(x0, cell) == 1
    assert noise_codec.returned(bridge.decode(second, FREE), cells[0]) < 0.9


def test_noises_keep_the_symmetry_and_have_the_variance_of_noise(noises):
    cells, found = noises
    times = samplers.time_grid(SCHEDULE, 16)
    denoise = without_previous(_denoise)
    for cell, noise in zip(cells, found, strict=True):
        assert is_cubic(np.asarray(noise))
        assert 0.8 < noise.std() < 1.2
        # What a clean octant leads to, with none of the noise of the last time.
        x = jnp.sqrt(SCHEDULE.gamma(times[-1])) * (2.0 * cell - 1)
        x = x[None].astype(jnp.float32)
        clean = invert(denoise, x, FREE[None], times, schedule=SCHEDULE)
        # Two values only; absolute values of a normal variable have 0.6 here.
        assert abs(clean).std() < 0.01 and 0.4 < abs(noise).std() < 0.8


def test_guidance_acts_on_the_way_back_alone():
    seen = []

    def guide(x0, t, wanted):
        seen.append(wanted.shape)
        return 0 * x0 + wanted[None, None, None]

    guided = noise_codec.make_noise_codec(_denoise, SCHEDULE, steps=4, guide=guide)
    x0 = jnp.asarray(2.0 * _ball(0.3) - 1, jnp.float32)
    noise = guided.encode(jax.random.key(0), x0, FREE)
    assert (
        not seen and noise_codec.returned(guided.decode(noise, FREE), _ball(0.3)) == 1
    )
    assert (guided.decode(noise, FREE, jnp.ones(1)) == 1).all() and seen


def test_spherical_points_keep_the_variance():
    first, second = np.random.default_rng(0).normal(size=(2, 20, 20, 20))
    for theta in path.angles(4):
        # 8000 samples: the standard deviation is within 1/sqrt(16000), three times.
        assert abs(noise_codec.spherical(first, second, theta).std() - 1) < 0.024
    assert (path.angles(3) > 0).all() and path.angles(3)[1] == np.pi / 4
    middle = path.between([0.0, 2.0], [1.0, 4.0], np.pi / 4)
    np.testing.assert_allclose(middle, [0.5, 3.0])


def _member(volume, share=0.9, kind="dataset"):
    octant = _ball(volume)
    bulk = share * bounds.hashin_shtrikman(octant.mean())[0]
    constants = elasticity.from_k_g_zener(bulk, 0.3 * bulk, 1.0)
    return Member(octant, constants, kind)


def test_filling_reduces_the_largest_gap_until_none_is_left():
    members = [_member(volume) for volume in (0.6, 0.2, 0.3)]
    asked = []

    def make(number, low, high):
        constants, volume = family.midway(low, high)
        np.testing.assert_allclose(constants, (low.constants + high.constants) / 2)
        asked.append((number, round(low.volume, 1), round(high.volume, 1)))
        return [_member(volume, kind=f"round {number}")]

    widths = [family.widest(members)]
    for found in family.fill(members, make, tolerance=0.11, floor=0.8, rounds=9):
        widths.append(family.widest(found))
    # 0.3 to 0.6 is halved twice; the gap of 0.1 is let be.
    assert len(widths) == 3 and widths[0] > widths[1] > widths[2] <= 0.11
    assert [entry[0] for entry in asked] == [0, 1, 1] and asked[0][1:] == (0.3, 0.6)
    volumes = [member.volume for member in found]
    assert volumes == sorted(volumes) and len(found) == 6


@pytest.mark.parametrize(
    ("volume", "share"), [(0.4, 0.7), (0.7, 0.9)], ids=["below floor", "outside"]
)
def test_cells_that_do_not_belong_are_not_taken(volume, share):
    members = [_member(0.3), _member(0.5)]
    calls = []

    def make(number, low, high):
        calls.append(number)
        return [_member(volume, share)]

    options = {"tolerance": 0.1, "floor": 0.8, "rounds": 3}
    assert list(family.fill(members, make, **options)) == []
    assert calls == [0]  # what failed once is not tried again


def test_cells_are_spread_over_the_volumes_and_above_the_floor():
    volume = np.array([0.9, 0.32, 0.33, 0.42, 0.47, 0.39, 0.1])
    allowed = np.array([True, False, True, True, True, True, True])
    alike = np.ones((7, 4, 4, 4))
    chosen = family.spread_out(alike, volume, allowed, 0.3, 0.5, 3)
    # Of equal faces the volume nearest to an evenly spaced one counts.
    assert volume[chosen].tolist() == [0.33, 0.39, 0.47]
    assert family.spread_out(alike, volume, allowed, 0.3, 0.5, 9).size == 4
    assert family.spread_out(alike, volume, ~allowed, 0.4, 0.5, 2).size == 0


def test_gaps_are_filled_with_what_is_allowed_and_fits():
    volume = np.array([0.3, 0.5, 0.37, 0.41, 0.43, 0.9, 0.39])
    allowed = np.array([True, True, True, False, True, True, True])
    octants = np.zeros((7, 4, 4, 4))
    octants[[3, 4, 6]] = 1

    def filled(rows, tolerance):
        found = family.with_gaps_filled(rows, octants, volume, allowed, tolerance)
        return volume[found].tolist()

    # 0.41 is the middle but not allowed, 0.39 and 0.43 do not fit; then what is left.
    assert filled(np.array([0, 1]), 0.15) == [0.3, 0.37, 0.5]
    assert filled(np.array([0, 1]), 0.07) == [0.3, 0.37, 0.43, 0.5]
    assert filled(np.array([0]), 0.05) == [0.3]


def test_of_all_chains_the_one_whose_faces_fit_best_is_taken():
    rng = np.random.default_rng(0)
    octants = rng.integers(0, 2, (15, 3, 3, 3))
    volume = np.linspace(0.3, 0.6, 15)
    chosen = family.spread_out(octants, volume, volume > 0, 0.299, 0.601, 3)

    def fit(chain):
        pairs = itertools.pairwise(chain)
        return sum(family.face_agreement(octants[i], octants[j])[0] for i, j in pairs)

    chains = itertools.product(range(4), range(4, 11), range(11, 15))
    best = max(fit(chain) for chain in chains)
    assert fit(chosen) == pytest.approx(best)
    assert np.digitize(chosen, [4, 11]).tolist() == [0, 1, 2]


def test_a_cell_fits_itself_and_its_opposite_does_not():
    cell = _frame(0.4)
    assert family.face_agreement(cell, cell) == (1.0, 1.0)
    agreement, contact = family.face_agreement(cell, 1 - cell)
    assert agreement == 0 and contact == 0
    # A void face has nothing to touch.
    empty = np.zeros_like(cell)
    agreement, contact = family.face_agreement(empty, empty)
    assert agreement == 1 and np.isnan(contact)


def test_the_stack_joins_the_outer_faces():
    first, second = _ball(0.3, 4), _frame(0.4, 4)
    pair = family.stack(first, second)
    assert pair.shape == (8, 8, 8)
    # From the middle of the first to its face, then from the second's to its middle.
    np.testing.assert_array_equal(pair[:4, :4, :4], first[::-1])
    np.testing.assert_array_equal(pair[4:, :4, :4], second)
    touching = pair[3, :4, :4] == pair[4, :4, :4]
    assert touching.mean() == family.face_agreement(first, second)[0]


def _homogenized(octant):
    """The tensor on the whole cell, whose mirror planes make it an octant too."""
    density = octant_to_cell(np.asarray(octant, np.float32))
    tensor, _ = homogenize.homogenize(density, symmetry="orthotropic", tol=1e-3)
    constants = np.array([tensor[0, 0], tensor[0, 1], tensor[3, 3]])
    return Member(np.asarray(octant), constants, "test")


def test_stacked_pairs_have_the_stiffness_of_layers():
    frame = _homogenized(_frame(0.4, 4))
    # A cell on itself is the same material. Energies are to the tolerance squared.
    assert family.pair_stiffness(frame, frame) == pytest.approx(1, abs=1e-4)
    # Layers of homogeneous materials are exactly in series, however different.
    solid, soft = (_homogenized(np.full((4, 4, 4), d)) for d in (1.0, 0.5))
    assert solid.constants[0] > 7 * soft.constants[0]
    assert family.pair_stiffness(solid, soft) == pytest.approx(1, abs=1e-4)
    # A frame of edges has nothing in common with a cross through the middle.
    cross = _homogenized(threshold_to_volume(-_wave(4), 0.4))
    assert family.face_agreement(frame.octant, cross.octant)[0] < 0.6
    assert family.pair_stiffness(frame, cross) < 0.8


def test_an_end_that_cannot_be_solved_is_refused(tmp_path):
    cells = np.stack([_frame(0.3), _frame(0.5)])
    np.save(tmp_path / "cell.npy", octant_to_cell(_ball(0.1)))

    def evaluate(octant):
        np.testing.assert_array_equal(octant, _ball(0.1))
        return Evaluation(np.zeros(3), np.zeros(1), 0.2, False, None)

    texts = (str(tmp_path / "cell.npy"), "1")
    with pytest.raises(InputError, match="cannot be homogenized .residual 0.2."):
        path_ends.read(texts, None, (cells, np.ones((2, 3))), evaluate)


def test_off_the_line_is_the_range_error_from_what_lies_between():
    ends = np.array([[0.1, 0.02, 0.03], [0.3, 0.1, 0.07]])
    middle = ends.mean(0) + np.array([0.01, 0, 0]) * elasticity.PAPER_RANGES
    theta = np.array([0, np.pi / 4, np.pi / 2])
    off = path.off_line(np.stack([ends[0], middle, ends[1]]), theta)
    np.testing.assert_allclose(off, [0, 0.01 / 3, 0], atol=1e-12)
