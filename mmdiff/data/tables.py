"""Tables of a finished dataset: labels, splits, coverage by round, throughput.

Every number is computed from the shards and their timings; nothing is written here.
"""

import collections
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmdiff import elasticity
from mmdiff.data import shard, space, store
from mmdiff.data.recipe import OPTIMIZED, PROPOSED, Recipe
from mmdiff.typing import Bool, Float

SPLITS = ("train", "validation", "test")


class Contents(NamedTuple):
    """A finished dataset without its octants."""

    labels: store.Labels  # of all accepted cells
    recipe: Recipe
    manifests: Sequence[Mapping]  # of all shards
    timings: Mapping[int, Mapping]  # seconds by stage of the shards
    kept: Bool[np.ndarray, "N"]  # whether a cell repeats no other
    selected: Bool[np.ndarray, "N"]  # whether it is in the property-uniform subset


def forecast(
    recipe: Recipe, todo: Sequence[int], pace: float, workers: int
) -> list[dict]:
    """Return candidates and hours of each kind of shard in `todo`.

    The pace is the seconds of one homogenization, a worker makes one shard at a time.
    """
    plan, rows = recipe.plan(), {}
    for one in (plan[number] for number in todo):
        kind = dict(zip(("round", "aim", "kind"), one, strict=False))
        row = rows.setdefault(one[:3], kind | {"candidates": 0, "hours": 0.0})
        row["candidates"] += one.count
        row["hours"] += shard.labels_worth(recipe, one) * pace / 3600 / workers
    return list(rows.values())


def columns(
    constants: Float[np.ndarray, "N 3"], volume: Float[np.ndarray, "N"]
) -> dict[str, Float[np.ndarray, "N"]]:
    """Return the properties of cells by name: constants, volume, moduli."""
    names = zip(elasticity.NAMES, constants.T, strict=True)
    return {**dict(names), "V": volume, **elasticity.moduli(constants)}


def label_rows(contents: Contents) -> list[dict]:
    """Return a row for each cell that is kept: provenance, split and properties."""
    labels, recipe = contents.labels, contents.recipe
    values = columns(labels.constants, labels.volume)
    constant = {"seed": recipe.seed, "recipe": recipe.digest(), "tol": recipe.tol}
    rows = []
    for i in np.flatnonzero(contents.kept):
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
                "selected": int(contents.selected[i]),
                **{name: float(value[i]) for name, value in values.items()},
                **constant,
                "residual": record["residual"],
            }
        )
    return rows


def splits(contents: Contents) -> dict[str, list[int]]:
    """Return the ids of each split and of the property-uniform subset."""
    records, kept = contents.labels.records, contents.kept
    ids = np.array([record["id"] for record in records])
    split = np.array([record["split"] for record in records])
    found = {name: ids[kept & (split == i)].tolist() for i, name in enumerate(SPLITS)}
    return {**found, "selected": ids[contents.selected].tolist()}


def by_round(contents: Contents) -> list[dict]:
    """Return cells, rejections and coverage of each round.

    Cells that repeat another one count as rejected; coverage and least Poisson's ratio
    are those of all cells up to that round.
    """
    labels, recipe, manifests, _, kept, _ = contents
    plan = recipe.plan()
    number = np.array([record["round"] for record in labels.records])
    nu = elasticity.moduli(labels.constants)["nu"]
    rows = []
    for r, shards in enumerate(recipe.rounds()):
        so_far = kept & (number <= r)
        filled = space.coverage(
            labels.constants[so_far], labels.volume[so_far], recipe.volume_range
        )
        repeated = int((~kept & (number == r)).sum())
        rejected = collections.Counter({"duplicate": repeated})
        for manifest in manifests:
            if manifest["shard"] in shards:
                rejected.update(manifest["rejected"])
        rows.append(
            {
                "round": r,
                "aim": plan[shards[0]].aim,
                "candidates": sum(plan[i].count for i in shards),
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

    "overhead" is the time beside finite elements: beside the labels of perturbed
    cells, beside the design loop and the labels of optimized ones. Of the closing round
    it is None, as sampling and polishing are not told apart.
    """
    plan, counts = recipe.plan(), {m["shard"]: m["count"] for m in manifests}
    kinds = collections.defaultdict(list)
    for number, timing in sorted(timings.items()):
        kinds[plan[number].aim, plan[number].kind].append((number, timing))
    rows = []
    for (aim, kind), found in kinds.items():
        each = {
            s: np.median([t[s] / t["candidates"] for _, t in found])
            for s in shard.STAGES
        }
        whole = np.median([sum(t[s] for s in shard.STAGES) for _, t in found])
        accepted = np.median([counts[number] for number, _ in found])
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
