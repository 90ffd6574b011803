"""A finished dataset of four rounds, of labels and timings made by hand."""

import pathlib

import numpy as np
import pytest

from mmdiff.data import shard, space, store, tables
from mmdiff.data.recipe import Optimized, Perturbed, Proposed, Recipe

EMPTY = dict.fromkeys(Optimized().counts(), 0)
RECIPE = Recipe(
    n=8,
    shard_size=4,
    optimized=Optimized(**{**EMPTY, "bulk_shear": 8, "plates": 2}),
    perturbed=Perturbed(everywhere=7, poisson=(4,), joint=()),
    proposed=Proposed(count=3),
    seed=5,
)
# Accepted cells and rejected candidates of each shard.
ACCEPTED = (4, 3, 2, 2, 3, 0, 2)
REJECTED = (
    {},
    {"duplicate": 1},
    {},
    {"disconnected": 1, "not spanning": 1},
    {},
    {"duplicate": 3, "disconnected": 1},
    {"not mended": 1},
)
# Seconds by stage, and candidates.
TIMINGS = (
    (80.0, 0.4, 7.2, 0.4, 4),
    (40.0, 0.4, 4.0, 0.8, 4),
    (0.2, 0.2, 4.0, 0.2, 2),
    (0.4, 0.2, 8.0, 0.2, 4),
    (0.3, 0.3, 3.0, 0.3, 3),
    (0.4, 0.4, 8.0, 0.0, 4),
    (30.0, 0.3, 3.0, 0.3, 3),
)


def _manifest(number, count):
    plan = RECIPE.plan()[number]
    records = [
        {
            "id": 4 * number + i,
            "round": plan.round,
            "aim": plan.aim,
            "parent": None if number < 3 else i,
            "family": 4 * number + i if number < 3 else i,
            "split": (0, 1, 2, 0)[i],
            "residual": 1e-6 * (1 + number),
            "uncertainty": [0.001 * (1 + i), 0.0005, 0.0002],
            "trapped": 0.0 if i % 2 == 0 else 0.3,
            "wall": 0.03 + 0.01 * i,
            "gap": 1.0 if i == 3 else 0.07,
            "asked_drainable": i % 2 == 0,
        }
        for i in range(count)
    ]
    return {
        "shard": number,
        "count": count,
        "sha256": f"{number:064d}",
        "rejected": REJECTED[number],
        "records": records,
    }


@pytest.fixture(scope="session")
def contents():
    """The dataset, without the fields; its cell number 6 repeats another."""
    counts = [plan.count for plan in RECIPE.plan()]
    lost = [sum(found.values()) for found in REJECTED]
    assert [c - r for c, r in zip(counts, lost, strict=True)] == list(ACCEPTED)
    manifests = [_manifest(number, count) for number, count in enumerate(ACCEPTED)]
    manifests[0]["records"][1]["objective"] = [1.0, 0.0, 0.0]
    manifests[0]["records"][2]["target"] = [0.5, 0.2, 0.1]
    count, rng = sum(ACCEPTED), np.random.default_rng(0)
    reachable = space.reachable_bins(*RECIPE.volume_range)
    index = rng.choice(reachable, count, replace=False)
    points = space.draw_in_bins(rng, index, RECIPE.volume_range)
    rows = [4 * m["shard"] + i for m in manifests for i in range(m["count"])]
    records = [record for manifest in manifests for record in manifest["records"]]
    labels = store.Labels(
        pathlib.Path("data.zarr"),
        RECIPE.n,
        np.array(rows),
        records,
        points[:, :3].copy(),
        points[:, 3].copy(),
    )
    timings = {}
    for number, (*seconds, tried) in enumerate(TIMINGS):
        stages = dict(zip(shard.STAGES, seconds, strict=True))
        timings[number] = stages | {"candidates": tried, "labels": tried}
    cells = np.arange(count)
    kept, selected = cells != 6, np.isin(cells, [0, 3, 9])
    return tables.Contents(labels, RECIPE, manifests, timings, kept, selected)
