"""Tables of a dataset: labels, splits, coverage by round, walls, throughput.

Every number is computed from the finished shards and their timings; nothing is written
here.
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
PRINTED = ("trapped", "wall", "gap", "asked_drainable")  # what printers ask, in records
_OFF = tuple(f"{name} uncertainty" for name in elasticity.NAMES)
# Edges of the histogram of walls and gaps, in edges of the cell.
THICKNESS = (0.0, 0.03, 0.035, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, np.inf)


class Contents(NamedTuple):
    """The finished shards of a dataset, without its fields."""

    labels: store.Labels  # of all accepted cells
    recipe: Recipe
    manifests: Sequence[Mapping]  # of the finished shards
    timings: Mapping[int, Mapping]  # seconds by stage of these shards
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
                **dict(zip(_OFF, record["uncertainty"], strict=True)),
                **{name: record[name] for name in PRINTED},
                **constant,
                "residual": record["residual"],
            }
        )
    return rows


def splits(contents: Contents) -> dict[str, list[int]]:
    """Return the ids of each split and of the property-uniform subset."""
    records, kept = contents.labels.records, contents.kept
    ids = np.array([record["id"] for record in records])
    split = contents.labels.split
    found = {name: ids[kept & (split == i)].tolist() for i, name in enumerate(SPLITS)}
    return {**found, "selected": ids[contents.selected].tolist()}


def by_round(contents: Contents) -> list[dict]:
    """Return cells, rejections and coverage of each round that has a finished shard.

    Cells that repeat another one count as rejected. The drainable share is that of the
    round's cells; coverage, of all cells or drainable ones, and the least Poisson's
    ratio are those of all cells up to that round.
    """
    labels, recipe, manifests, _, kept, _ = contents
    plan = recipe.plan()
    number = np.array([record["round"] for record in labels.records], int)
    nu = elasticity.moduli(labels.constants)["nu"]
    finished = {manifest["shard"]: manifest for manifest in manifests}
    rows = []

    def covered(cells):
        parts = labels.constants[cells], labels.volume[cells]
        return space.coverage(*parts, recipe.volume_range)

    for r, planned in enumerate(recipe.rounds()):
        shards = [shard for shard in planned if shard in finished]
        if not shards:
            continue
        own, so_far = kept & (number == r), kept & (number <= r)
        repeated = int((~kept & (number == r)).sum())
        rejected = collections.Counter({"duplicate": repeated})
        for one in shards:
            rejected.update(finished[one]["rejected"])
        rows.append(
            {
                "round": r,
                "aim": ", ".join(dict.fromkeys(plan[i].aim for i in shards)),
                "candidates": sum(plan[i].count for i in shards),
                "accepted": int(own.sum()),
                "rejected": dict(+rejected),
                "drainable": _mean(labels.drainable[own]),
                "coverage": covered(so_far),
                "drainable coverage": covered(so_far & labels.drainable),
                "least nu": float(nu[so_far].min()) if so_far.any() else float("nan"),
            }
        )
    return rows


def _mean(values) -> float:
    return float(values.mean()) if len(values) else float("nan")


def thickness(contents: Contents) -> list[dict]:
    """Return how many cells have their least wall, and gap, between two lengths.

    They are in edges of the cell; the last line counts those that have none, too.
    """
    kept = np.flatnonzero(contents.kept)
    walls, gaps = (
        np.histogram([contents.labels.records[i][name] for i in kept], THICKNESS)[0]
        for name in ("wall", "gap")
    )
    columns = THICKNESS[:-1], THICKNESS[1:], walls.tolist(), gaps.tolist()
    names = ("from", "to", "walls", "gaps")
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def deviation(
    off: Float[np.ndarray, "k 3"], constants: Float[np.ndarray, "k 3"]
) -> dict[str, Float[np.ndarray, "k"]]:
    """Return how large deviations of C11, C12, C44 are, in per cent, by two measures.

    Of the range: the mean of their sizes, each in its range (`elasticity.range_error`).
    Of C: their norm over that of the constants.
    """
    norms = [np.linalg.norm(part, axis=-1) for part in (off, constants)]
    share = np.divide(*norms)
    return {
        "% of range": 100 * elasticity.range_error(off, np.zeros(3)),
        "% of the norm of C": 100 * share,
    }


def spread(values: Mapping[str, Float[np.ndarray, "k"]]) -> list[dict]:
    """Return median, 90th percentile and most of some values by name."""
    return [
        {
            "measure": name,
            "median": float(np.median(value)),
            "90 %": float(np.quantile(value, 0.9)),
            "most": float(value.max()),
        }
        for name, value in values.items()
    ]


def uncertainties(contents: Contents) -> dict[str, Float[np.ndarray, "k"]]:
    """Return the uncertainty of the labels by the measures of `deviation`."""
    labels, kept = contents.labels, contents.kept
    stated = np.array([record["uncertainty"] for record in labels.records])
    return deviation(stated[kept], labels.constants[kept])


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
        known = aim != PROPOSED and kind not in ("plates", "lattices")
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
