"""What a finished dataset says of itself: label tables, coverage, throughput.

Every number is computed from the shards and their timings; nothing is written here.
"""

import collections
import json
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff import elasticity
from mmdiff.data import space, store
from mmdiff.data.recipe import OPTIMIZED, PROPOSED, Recipe

SPLITS = ("train", "validation", "test")
STAGES = ("make", "clean", "label", "check")


def columns(constants, volume) -> dict[str, np.ndarray]:
    """Return the properties of cells by name: constants, volume, moduli."""
    names = zip(elasticity.NAMES, constants.T, strict=True)
    return {**dict(names), "V": volume, **elasticity.moduli(constants)}


def label_rows(
    labels: store.Labels, recipe: Recipe, kept: np.ndarray, selected: np.ndarray
) -> list[dict]:
    """Return one line per cell that is kept: provenance, split and properties.

    Args:
      labels: all accepted cells.
      recipe: that of the dataset.
      kept: (N,) whether a cell repeats no other.
      selected: (N,) whether a cell is in the property-uniform subset.
    """
    values = columns(labels.constants, labels.volume)
    constant = {"seed": recipe.seed, "recipe": recipe.digest(), "tol": recipe.tol}
    rows = []
    for i in np.flatnonzero(kept):
        record = labels.records[i]
        asked = {k: record[k] for k in ("objective", "target") if k in record}
        rows.append(
            {
                "id": record["id"],
                "row": int(labels.rows[i]),
                "round": record["round"],
                "aim": record["aim"],
                "asked": json.dumps(asked) if asked else "",
                "parent": record["parent"],
                "family": record["family"],
                "split": SPLITS[record["split"]],
                "selected": int(selected[i]),
                **{name: float(value[i]) for name, value in values.items()},
                **constant,
                "residual": record["residual"],
            }
        )
    return rows


def splits(labels: store.Labels, kept: np.ndarray, selected: np.ndarray) -> dict:
    """Return the ids of each split and of the property-uniform subset."""
    ids = np.array([record["id"] for record in labels.records])
    split = np.array([record["split"] for record in labels.records])
    found = {name: ids[kept & (split == i)].tolist() for i, name in enumerate(SPLITS)}
    return {**found, "selected": ids[selected].tolist()}


def by_round(
    labels: store.Labels,
    recipe: Recipe,
    manifests: Sequence[Mapping],
    kept: np.ndarray,
) -> list[dict]:
    """Return what each round brought: cells, rejections, coverage reached by then.

    Args:
      labels: all cells of the shards.
      recipe: that of the dataset.
      manifests: of all its shards.
      kept: (N,) whether a cell repeats no other; those that do count as rejected.
    """
    aims = {shard.round: shard.aim for shard in recipe.plan()}
    number = np.array([record["round"] for record in labels.records])
    nu = elasticity.moduli(labels.constants)["nu"]
    rows = []
    for r, shards in enumerate(recipe.rounds()):
        so_far = kept & (number <= r)
        filled = space.coverage(
            labels.constants[so_far], labels.volume[so_far], recipe.volume_range
        )
        rejected = collections.Counter(
            {"duplicate": int((~kept & (number == r)).sum())}
        )
        for manifest in manifests:
            if manifest["shard"] in shards:
                rejected.update(manifest["rejected"])
        rows.append(
            {
                "round": r,
                "aim": aims[r],
                "candidates": sum(recipe.plan()[i].count for i in shards),
                "accepted": int((kept & (number == r)).sum()),
                "rejected": dict(+rejected),
                "coverage": filled,
                "least nu": float(nu[so_far].min()) if so_far.any() else float("nan"),
            }
        )
    return rows


def throughput(
    timings: Mapping[int, Mapping], manifests: Sequence[Mapping], recipe: Recipe
) -> list[dict]:
    """Return seconds per candidate by kind, medians over the shards of one core.

    "overhead" is what is spent beside finite elements: beside the labels of perturbed
    cells, beside the design loop and the labels of optimized ones. Of the closing round
    it is None, as sampling and polishing are not told apart.
    """
    plan, counts = recipe.plan(), {m["shard"]: m["count"] for m in manifests}
    kinds = collections.defaultdict(list)
    for shard, timing in sorted(timings.items()):
        kinds[plan[shard].aim, plan[shard].kind].append((shard, timing))
    rows = []
    for (aim, kind), found in kinds.items():
        each = {
            s: np.median([t[s] / t["candidates"] for _, t in found]) for s in STAGES
        }
        whole = np.median([sum(t[s] for s in STAGES) for _, t in found])
        accepted = np.median([counts[shard] for shard, _ in found])
        solves = each["label"] + (each["make"] if aim == OPTIMIZED else 0.0)
        known = aim != PROPOSED and kind != "plates"
        beside = sum(each.values()) - solves
        rows.append(
            {
                "kind": kind,
                "aim": aim,
                **{stage: float(value) for stage, value in each.items()},
                "cells per hour and core": float(3600 * accepted / whole),
                "overhead": float(beside / solves) if known else None,
            }
        )
    return rows
