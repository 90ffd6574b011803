"""Optimized candidates: what is asked of them, and that the designs heed it."""

import numpy as np
import pytest

from mmdiff import bounds, elasticity
from mmdiff.cells import lattices, surface, symmetry
from mmdiff.cells.printable import printability
from mmdiff.data import optimized
from mmdiff.data.recipe import Optimized, Recipe, Shard
from mmdiff.fem import accuracy

RECIPE = Recipe(n=8, shard_size=6, optimized=Optimized(steps=30, radius=1.5), seed=1)
LARGER = Recipe(n=16, shard_size=3, optimized=Optimized(ascent=3), seed=1)
KINDS = ("bulk_shear", "isotropic", "poisson", "poisson_isotropic", "target")


def _shard(kind, recipe=RECIPE):
    number, shard = next(
        (i, shard) for i, shard in enumerate(recipe.plan()) if shard.kind == kind
    )
    return optimized.candidates(recipe, number, shard)


def _constants(fields):
    return np.stack([accuracy.estimate(psi).constants for psi in fields])


def test_plates_are_one_family_by_set_of_planes():
    fields, records = _shard("plates")
    assert len(fields) == 6 and all(map(symmetry.is_cubic, fields))
    for psi, record in zip(fields, records, strict=True):
        asked = record["objective"]
        assert sum(asked["thickness"].values()) == pytest.approx(1, abs=1e-5)
        # Thin plates of few voxels, rounded off.
        assert surface.volume(psi) == pytest.approx(asked["V"], abs=0.05)
        names = tuple(asked["thickness"])
        assert record["family"] == -1 - optimized.PLATES.index(names)


def test_lattices_are_textbook_ones_in_the_range_of_volumes():
    fields, records = _shard("lattices", LARGER)
    for psi, record in zip(fields, records, strict=True):
        name, volume = record["objective"]["name"], record["objective"]["V"]
        low, high = LARGER.volume_range
        assert low <= volume <= high and psi.shape == (16, 16, 16)
        assert surface.volume(psi) == pytest.approx(volume, abs=1e-4)
        known = -1 - len(optimized.PLATES) - optimized.LATTICES.index(name)
        assert record["family"] == known


@pytest.mark.slow
def test_auxetic_cells_are_lattices_moved_to_a_lower_ratio():
    fields, records = _shard("auxetic", LARGER)
    found = elasticity.moduli(_constants(fields))["nu"]
    first = [lattices.lattice("re-entrant", 0.3, 16)]
    assert np.median(found) < elasticity.moduli(_constants(first))["nu"][0] - 0.05
    for psi, record in zip(fields, records, strict=True):
        assert symmetry.is_cubic(psi) and printability(psi).pieces == 1
        # As near as three steps come.
        asked = record["objective"]["V"]
        assert surface.volume(psi) == pytest.approx(asked, abs=0.12)


def test_a_third_each_is_pure_bulk_and_pure_shear():
    shard = Shard(0, "optimized", "bulk_shear", 6)
    rng = np.random.default_rng(0)
    limits, records = optimized.draw_requests(rng, shard, 0.1, 0.9)
    assert all(0.1 <= v <= 0.9 for v in limits.volume)
    weights = [record["objective"]["weights"] for record in records]
    assert weights[0] == weights[3] == [1, 0, 0]
    assert weights[1] == weights[4] == [0, 1, 0]
    for mixed in weights[2::3]:
        assert sum(mixed) == pytest.approx(1, abs=2e-6) and max(mixed) < 1
    assert all("family" not in record for record in records)


@pytest.mark.parametrize("kind", ["target", "poisson"])
def test_requests_are_possible(kind):
    shard = Shard(0, "optimized", kind, 40)
    limits, records = optimized.draw_requests(np.random.default_rng(0), shard, 0.2, 0.9)
    assert all(0.2 <= v <= 0.9 for v in limits.volume)
    volume = [record["objective"]["V"] for record in records]
    np.testing.assert_allclose(limits.volume, volume, atol=1e-6)  # rounded
    if kind == "target":
        assert bounds.is_reachable(limits.params, limits.volume).all()
        asked = [[r["objective"][name] for name in elasticity.NAMES] for r in records]
        np.testing.assert_allclose(limits.params, asked, atol=1e-6)
    else:
        assert limits.volume.max() <= optimized.AUXETIC_VOLUME
        share = np.log10(limits.young / limits.volume)
        low, high = optimized.FLOOR
        assert (share >= low).all() and (share <= high).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_designs_are_what_they_were_asked_for(kind):
    fields, records = _shard(kind)
    good = [i for i, psi in enumerate(fields) if psi is not None]
    assert len(good) >= 5 or kind.startswith("poisson")
    fields, records = [fields[i] for i in good], [records[i] for i in good]
    assert all(map(symmetry.is_cubic, fields))
    volume = np.array([record["objective"]["V"] for record in records])
    found = [surface.volume(psi) for psi in fields]
    assert (found < volume + 0.01).all()  # loose pieces are left out
    assert abs(np.median(found - volume)) < 0.01 or kind.startswith("poisson")
    constants = _constants(fields)
    values = elasticity.moduli(constants)
    isotropic = elasticity.isotropic()
    if kind == "bulk_shear":
        bound = bounds.hashin_shtrikman(volume)[0]
        # Coarse cells; half of the bound is far above a random one.
        assert values["K"][0] > 0.5 * bound[0] and values["K"][3] > 0.5 * bound[3]
    elif kind == "target":
        asked = [[r["objective"][name] for name in elasticity.NAMES] for r in records]
        asked = np.array(asked)
        assert bounds.is_reachable(asked, volume).all()
        error = elasticity.range_error(constants, asked)
        # Nearer than the cells of the other targets: few voxels, rounded off.
        others = elasticity.range_error(constants[:, None], asked).mean()
        assert np.median(error) < 0.6 * others
    elif kind.startswith("poisson"):
        # 16^3 voxels resolve no hinges, and surfaces round off what there is: medians
        # of 0.19 were measured, against 0.3 of the base material.
        assert np.median(values["nu"]) < 0.22
        assert values["nu"].min() < 0.16
        floor = np.array([record["objective"]["least E"] for record in records])
        assert (floor < 0.05 * isotropic[0]).all() and (floor > 0).all()
    if "isotropic" in kind:
        # The band holds for the grey design; thresholding 16^3 voxels moves the ratio.
        limit = 0.8 if kind.startswith("poisson") else 0.3
        assert np.median(abs(np.log(values["zener"]))) < limit
