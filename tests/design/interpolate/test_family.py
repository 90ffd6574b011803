"""Families whose gaps close, and whose faces fit."""

import itertools

import jax
import numpy as np
import pytest
from design_helpers import dataset_of

from mmdiff import bounds, elasticity
from mmdiff.cells import surface
from mmdiff.design.interpolate import family
from mmdiff.design.interpolate.family import Member
from mmdiff.errors import InputError
from mmdiff.fem import accuracy


def _frame(volume, n=8):
    wave = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    mean = (wave[:, None, None] + wave[:, None] + wave) / 3
    return surface.to_volume(mean, volume)


def _constants(volume, share):
    bulk = share * bounds.hashin_shtrikman(volume)[0]
    return elasticity.from_k_g_zener(bulk, 0.3 * bulk, 1.0)


def _member(volume, share=0.9, kind="dataset"):
    constants = _constants(volume, share)
    return Member(_frame(volume), constants, 0.01 * constants, volume, kind)


def test_filling_reduces_the_largest_gap_until_none_is_left():
    members = [_member(volume) for volume in (0.6, 0.2, 0.3)]
    made = []

    def make(number, low, high):
        middle = family.midway(low, high)
        constants = (low.constants + high.constants) / 2
        np.testing.assert_allclose(middle.constants, constants)
        made.append((number, round(low.volume, 1), round(high.volume, 1)))
        return [_member(middle.volume, kind=f"round {number}")]

    found = family.fill(members, make, tolerance=0.11, floor=0.8, rounds=9)
    # 0.3 to 0.6 is halved twice; the gap of 0.1 is let be.
    assert [entry[0] for entry in made] == [0, 1, 1] and made[0][1:] == (0.3, 0.6)
    assert family.widest(members) == pytest.approx(0.3, abs=0.01)
    assert family.widest(found) <= 0.11
    volumes = [member.volume for member in found]
    assert volumes == sorted(volumes) and len(found) == 6
    some = family.fill(members, make, tolerance=0.11, floor=0.8, rounds=1)
    assert len(some) == 4 and 0.11 < family.widest(some) < family.widest(members)


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
    assert len(family.fill(members, make, **options)) == 2
    assert calls == [0]  # what failed once is not tried again


def test_cells_are_spread_over_the_volumes_and_above_the_floor():
    volume = np.array([0.9, 0.32, 0.33, 0.42, 0.47, 0.39, 0.1])
    allowed = np.array([True, False, True, True, True, True, True])
    alike = np.ones((7, 4, 4), np.uint8)
    chosen = family.spread_out(alike, volume, allowed, 0.3, 0.5, 3)
    # Of equal faces the volume nearest to an evenly spaced one counts.
    assert volume[chosen].tolist() == [0.33, 0.39, 0.47]
    assert family.spread_out(alike, volume, allowed, 0.3, 0.5, 9).size == 4
    assert family.spread_out(alike, volume, ~allowed, 0.4, 0.5, 2).size == 0


def test_gaps_are_filled_with_what_is_allowed_and_fits():
    volume = np.array([0.3, 0.5, 0.37, 0.41, 0.43, 0.9, 0.39])
    allowed = np.array([True, True, True, False, True, True, True])
    faces = np.zeros((7, 4, 4))
    faces[[3, 4, 6]] = 1

    def filled(rows, tolerance):
        found = family.with_gaps_filled(rows, faces, volume, allowed, tolerance)
        return volume[found].tolist()

    # 0.41 is the middle but not allowed, 0.39 and 0.43 do not fit; then what is left.
    assert filled(np.array([0, 1]), 0.15) == [0.3, 0.37, 0.5]
    assert filled(np.array([0, 1]), 0.07) == [0.3, 0.37, 0.43, 0.5]
    assert filled(np.array([0]), 0.05) == [0.3]


def test_of_all_chains_the_one_whose_faces_fit_best_is_taken():
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 2, (15, 3, 3))
    volume = np.linspace(0.3, 0.6, 15)
    chosen = family.spread_out(faces, volume, volume > 0, 0.299, 0.601, 3)

    def fit(chain):
        return sum((faces[i] == faces[j]).mean() for i, j in itertools.pairwise(chain))

    chains = itertools.product(range(4), range(4, 11), range(11, 15))
    best = max(fit(chain) for chain in chains)
    assert fit(chosen) == pytest.approx(best)
    assert np.digitize(chosen, [4, 11]).tolist() == [0, 1, 2]


def test_a_family_begins_with_cells_of_the_dataset_near_the_bound(monkeypatch):
    volume, shares = np.array([0.28, 0.32, 0.38, 0.44, 0.6]), (0.9, 0.7, 0.95, 0.9, 0.9)
    constants = np.stack([*map(_constants, volume, shares)])
    data = dataset_of([_frame(v) for v in volume], constants, volume)
    monkeypatch.delattr(accuracy, "estimate")  # all is known of them
    options = {"count": 2, "low": 0.25, "high": 0.65, "tolerance": 0.2}
    begun = family.begin(data, floor=0.8, **options)
    # The heaviest and the one at the middle; the gap of 0.22 gets another.
    rows = [int(abs(volume - member.volume).argmin()) for member in begun]
    assert rows == sorted(rows) and 1 not in rows
    for row, member in zip(rows, begun, strict=True):
        np.testing.assert_array_equal(member.psi, data.fields(row))
        np.testing.assert_array_equal(member.constants, constants[row])
        np.testing.assert_array_equal(member.uncertainty, 0.01 * constants[row])
        assert member.kind == "dataset" and member.volume == volume[row]
    assert family.widest(begun) <= 0.2
    with pytest.raises(InputError, match="0 cells of the dataset have K/K_HS of 0.99"):
        family.begin(data, floor=0.99, **options)
    with pytest.raises(InputError, match="low=0.7 and high=0.65 are no range"):
        family.begin(data, floor=0.8, **options | {"low": 0.7})


def test_each_gap_is_made_once(tmp_path, capsys):
    seen = []

    def generate(key, target):
        seen.append(jax.random.key_data(key).tolist())
        return [_member(target.volume)] if target.volume < 0.4 else []

    make = family.make_gap_filler(generate, jax.random.key(0), tmp_path)
    light, middle, heavy = (_member(volume) for volume in (0.2, 0.4, 0.6))
    for _ in range(2):
        (made,) = make(0, light, middle)
        assert made.kind == "round 1" and np.isnan(made.theta)
        psi = _frame(family.midway(light, middle).volume)
        np.testing.assert_array_equal(made.psi, psi)
        assert make(0, middle, heavy) == []
    make(1, light, middle)
    # Other keys in other gaps and in other rounds.
    assert len(seen) == 3 and len(np.unique(seen, axis=0)) == 3
    # A damaged file is noted, and its gap made again as it was.
    (file,) = tmp_path.glob(
        f"gap_1_{round(1e6 * family.midway(light, middle).volume)}.*"
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (made,) = make(1, light, middle)
    assert seen[3] == seen[2] and "It is made again." in capsys.readouterr().out
    (stored,) = family.members_of(np.load(file))
    np.testing.assert_array_equal(made.psi, stored.psi)
    np.testing.assert_array_equal(made.uncertainty, stored.uncertainty)
