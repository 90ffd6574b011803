"""Metrics of a model: error, validity, diversity, novelty, coverage, surface.

As in arXiv 2401.13570: the range error of its Eq. 3, and the similarity of two cells of
its Eq. 4, the share of voxels that agree (`voxels.agreement`, a shift by half a period
aside). Roughness is the share of solid and of void in features of one voxel.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff import elasticity
from mmdiff.cells.thickness import thin_shares
from mmdiff.cells.voxels import agreement, pack
from mmdiff.data import space
from mmdiff.design.generate.cell import Cell
from mmdiff.targets.target import Target
from mmdiff.typing import Float, UInt8

GOAL = 1e-3  # range error of the best cell at which a target counts as reached
SURFACE = ("thin", "pits")  # shares of solid and of void in features of one voxel
COLUMNS = {  # of the table beside published results, and their formats
    "mean %": "{:.2f}",
    "best of each %": "{:.2f}",
    "mean rel %": "{:.2f}",
    "valid %": "{:.1f}",
    "s per cell": "{:.2f}",
}
# Published results under these, the best of four: arXiv 2401.13570 in its two
# versions (the time of the second on an RTX 3090), and MIND (SIGGRAPH 2025), whose
# targets are tensors without a volume.
PUBLISHED = {
    "paper v1": (2.55, 1.74, None, None, 3.0),
    "paper v2": (3.08, 1.30, None, 97.35, 0.42),
    "MIND": (1.27, 0.29, None, 99.2, 0.15),
}


def similarity_within(octants: Sequence[UInt8[np.ndarray, "n n n"]]) -> float:
    """Return the mean similarity of all pairs, NaN where there is none."""
    pairs = [
        agreement(octant, pack(octants[i + 1 :]), half_shift=True)
        for i, octant in enumerate(octants[:-1])
    ]
    return float(np.concatenate(pairs).mean()) if pairs else float("nan")


def surface(octants: Iterable[UInt8[np.ndarray, "n n n"]]) -> dict[str, float]:
    """Return the means of `SURFACE` over octants."""
    means = np.mean([thin_shares(octant) for octant in octants], axis=0)
    return dict(zip(SURFACE, means.tolist(), strict=True))


def request(target: Target) -> dict[str, Any]:
    """Return the part of a record that says what its target is."""
    return {
        "asked": dict(target.asked),
        **dict(zip(elasticity.NAMES, target.constants, strict=True)),
        "V": target.volume,
    }


def measure(
    target: Target,
    cells: Sequence[Cell],
    sampled: Sequence[Cell],
    refused: int,
    known: UInt8[np.ndarray, "N b"],
) -> dict:
    """Return the record of one target from its refined cells and its first samples.

    Of these `sampled` are the good ones, as sampled, and `refused` the number of
    others; those drawn in place of bad or far ones do not count. `known` are the
    training octants, see `voxels.pack`.
    """
    return {
        **request(target),
        "sampled": len(sampled) + refused,
        "raw": [
            {"raw_error": cell.error, "raw_relative": cell.relative_error}
            | surface([cell.octant])
            for cell in sampled
        ],
        "within": similarity_within([cell.octant for cell in cells]),
        "cells": [
            {
                "error": cell.error,
                "relative": cell.relative_error,
                "constants": cell.constants.tolist(),
                "volume": cell.volume,
                "polish_steps": len(cell.history) - 1,
                "nearest": float(agreement(cell.octant, known, half_shift=True).max()),
                **surface([cell.octant]),
            }
            for cell in cells
        ],
    }


def summarize(records: Sequence[Mapping]) -> dict[str, float]:
    """Return the means over all targets, fractions throughout.

    Errors are over refined cells, raw ones over the good first samples, "best" over the
    best of each target that has any, "valid" over all first samples; "answered" is the
    share of all targets with a valid cell, "reached" that with one nearer than GOAL;
    "volume_off" is the mean distance from the volumes of the targets; "thin" and "pits"
    are means over refined cells, "raw_thin" and "raw_pits" over first samples.
    """

    def mean(values):
        return float(np.mean(values or np.nan))

    summary = {}
    for name in ("raw_error", "raw_relative", "error", "relative"):
        part = "raw" if name.startswith("raw") else "cells"
        lists = [[cell[name] for cell in r[part]] for r in records if r[part]]
        values = sum(lists, [])
        summary[f"{name}_mean"] = mean(values)
        summary[f"{name}_median"] = float(np.median(values or np.nan))
        summary[f"{name}_best"] = mean([min(each) for each in lists])
    for part, prefix in (("raw", "raw_"), ("cells", "")):
        for name in SURFACE:
            shares = [cell[name] for record in records for cell in record[part]]
            summary[f"{prefix}{name}"] = mean(shares)
    pairs = [(record, cell) for record in records for cell in record["cells"]]
    off = [abs(c["volume"] - r["V"]) for r, c in pairs if r["V"] is not None]
    within = [r["within"] for r in records if r["cells"] and r["within"] is not None]
    best = [min(c["error"] for c in r["cells"]) for r in records if r["cells"]]
    valid = sum(len(record["raw"]) for record in records)
    return {
        **summary,
        "valid": valid / sum(record["sampled"] for record in records),
        "answered": len(best) / len(records),
        "reached": sum(error <= GOAL for error in best) / len(records),
        "volume_off": mean(off),
        "volume_off_median": float(np.median(off or np.nan)),
        "within": float(np.nanmean(within)) if within else float("nan"),
        "nearest": mean([cell["nearest"] for _, cell in pairs]),
        "evaluations": sum(r["evaluations"] for r in records) / max(len(pairs), 1),
        "seconds": sum(r["seconds"] for r in records) / max(len(pairs), 1),
    }


def new_bins(
    records: Sequence[Mapping],
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
) -> tuple[int, int]:
    """Return how many bins of property space the cells fill, and how many anew.

    `constants` and `volume` are those of the training cells.
    """
    cells = [[*c["constants"], c["volume"]] for r in records for c in r["cells"]]
    got = np.array(cells).reshape(-1, 4)
    filled = np.unique(space.bin_index(got[:, :3], got[:, 3]))
    return len(filled), len(np.setdiff1d(filled, space.bin_index(constants, volume)))


def groups(
    records: Sequence[Mapping],
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
) -> list[dict[str, str]]:
    """Return the rows of a table: targets in filled and in empty bins, and all.

    Bins are those of property space (`mmdiff.data.space`), filled by training cells;
    targets that leave constants or the volume free have none and count among all.
    """
    asked = np.array([[*map(r.get, elasticity.NAMES), r["V"]] for r in records], float)
    has_bin = ~np.isnan(asked).any(1)
    bins = np.full(len(records), -1)
    bins[has_bin] = space.bin_index(asked[has_bin, :3], asked[has_bin, 3])
    filled = np.isin(bins, space.bin_index(constants, volume))
    kinds = {
        "in filled bins": has_bin & filled,
        "in empty bins": has_bin & ~filled,
        "all": np.ones(len(records), bool),
    }
    return [
        _group(name, [records[i] for i in np.flatnonzero(chosen)])
        for name, chosen in kinds.items()
        if chosen.any()
    ]


def _group(name, records):
    summary = summarize(records)

    def percent(*keys, digits=2, between=" / "):
        return between.join(f"{100 * summary[key]:.{digits}f}" for key in keys)

    def spread(key):
        return percent(*(f"{key}_{kind}" for kind in ("mean", "median", "best")))

    return {
        "targets": name,
        "number": str(len(records)),
        "raw mean / median / best %": spread("raw_error"),
        "delivered mean / median / best %": spread("error"),
        "rel mean / median / best %": spread("relative"),
        "best within 0.1 %": f"{100 * summary['reached']:.0f} %",
        "V off, mean / median": "{volume_off:.3f} / {volume_off_median:.3f}".format(
            **summary
        ),
        "thin %: raw, delivered": percent("raw_thin", "thin", digits=1, between=", "),
        "pits %: raw, delivered": percent("raw_pits", "pits", digits=1, between=", "),
    }


def comparison(summary: Mapping[str, float], polished: bool) -> list[dict[str, str]]:
    """Return the rows of the table beside published results."""

    def row(name, *values):
        found = zip(COLUMNS.items(), values, strict=True)
        texts = {key: "" if v is None else form.format(v) for (key, form), v in found}
        return {"": name, **texts}

    rows = [row(name, *values) for name, values in PUBLISHED.items()]
    kinds = [("raw", "raw_"), ("polished", "")][: 1 + polished]
    for name, prefix in kinds:
        keys = ("error_mean", "error_best", "relative_mean")
        errors = [100 * summary[f"{prefix}{key}"] for key in keys]
        seconds = summary["seconds"] if prefix == kinds[-1][1] else None
        rows.append(row(f"mmdiff, {name}", *errors, 100 * summary["valid"], seconds))
    return rows
