"""Optimized candidates: what is asked of them, and that the designs heed it."""

import numpy as np
import pytest

from mmdiff import bounds, elasticity
from mmdiff.cells import symmetry
from mmdiff.cells.connectivity import clean_octant
from mmdiff.data import optimized
from mmdiff.data.recipe import Optimized, Recipe, Shard
from mmdiff.fem import homogenize

RECIPE = Recipe(n=8, shard_size=6, optimized=Optimized(steps=30, radius=1.5), seed=1)
KINDS = ("bulk_shear", "isotropic", "poisson", "poisson_isotropic", "target")


def _shard(kind):
    number, shard = next(
        (i, shard) for i, shard in enumerate(RECIPE.plan()) if shard.kind == kind
    )
    return optimized.candidates(RECIPE, number, shard)


def _constants(octants):
    whole = [clean_octant(octant)[0] for octant in octants]
    run = homogenize.batched_homogenizer(8)
    constants, _, converged = run(np.asarray(whole, np.float32))
    return np.asarray(constants, float), np.asarray(converged)


def test_plates_are_one_family_by_set_of_planes():
    octants, records = _shard("plates")
    assert octants.shape == (6, 8, 8, 8) and all(map(symmetry.is_cubic, octants))
    for octant, record in zip(octants, records, strict=True):
        asked = record["objective"]
        assert sum(asked["thickness"].values()) == pytest.approx(1, abs=1e-5)
        # Half an orbit of six voxels in 512.
        assert octant.mean() == pytest.approx(asked["V"], abs=0.007)
        names = tuple(asked["thickness"])
        assert record["family"] == -1 - optimized.PLATES.index(names)


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
    octants, records = _shard(kind)
    assert octants.dtype == np.uint8 and all(map(symmetry.is_cubic, octants))
    volume = np.array([record["objective"]["V"] for record in records])
    # Half an orbit.
    np.testing.assert_allclose(octants.mean((1, 2, 3)), volume, atol=0.007)
    constants, converged = _constants(octants)
    values = elasticity.moduli(constants[converged])
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
        # Far nearer than the cells of the other targets.
        others = elasticity.range_error(constants[:, None], asked).mean()
        assert np.median(error) < 0.4 * others
    elif kind.startswith("poisson"):
        # 16^3 voxels resolve no hinges: medians of 0.10 and 0.13 were measured, against
        # 0.3 of the base material; at 24^3 the lowest are -0.09 and -0.31.
        assert np.median(values["nu"]) < 0.2
        assert values["nu"].min() < 0.1
        floor = np.array([record["objective"]["least E"] for record in records])
        assert (floor < 0.05 * isotropic[0]).all() and (floor > 0).all()
    if "isotropic" in kind:
        # The band holds for the grey design; thresholding 16^3 voxels moves the ratio.
        limit = 0.8 if kind.startswith("poisson") else 0.3
        assert np.median(abs(np.log(values["zener"]))) < limit
