"""Metrics of a model: error, validity, diversity, novelty, coverage, surface.

As in arXiv 2401.13570: the range error of its Eq. 3 over all samples and for the best
of each target, and the similarity of two cells of its Eq. 4, which is the share of
voxels that agree (`voxels.agreement`, a shift by half a period aside). The measure of
roughness is the share of solid and of void in features of one voxel
(`thickness.thin_shares`), the least that a printer of that voxel can make.
"""

from collections.abc import Mapping, Sequence
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
# Published results: mean error, best of four, valid share, in percent, and seconds per
# cell. arXiv 2401.13570 in its two versions (the time of the second on an RTX 3090),
# and MIND (SIGGRAPH 2025), whose targets are tensors without a volume.
PUBLISHED = {
    "paper v1": (2.55, 1.74, None, 3.0),
    "paper v2": (3.08, 1.30, 97.35, 0.42),
    "MIND": (1.27, 0.29, 99.2, 0.15),
}


def similarity_within(octants: Sequence[UInt8[np.ndarray, "n n n"]]) -> float:
    """Return the mean similarity of all pairs, NaN where there is none."""
    pairs = [
        agreement(octant, pack(octants[i + 1 :]), half_shift=True)
        for i, octant in enumerate(octants[:-1])
    ]
    return float(np.concatenate(pairs).mean()) if pairs else float("nan")


def surface(
    octants: Sequence[UInt8[np.ndarray, "n n n"]] | UInt8[np.ndarray, "N n n n"],
) -> dict[str, float]:
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
    """Return the record of one target.

    Args:
      target: target of the cells.
      cells: the cells, refined.
      sampled: the good cells among the first samples, as sampled; those drawn in place
        of bad or far ones do not count.
      refused: how many of the first samples were no good.
      known: training octants, see `voxels.pack`.
    """
    return {
        **request(target),
        "sampled": len(sampled) + refused,
        "raw": [
            {
                "raw_error": cell.error,
                "raw_relative": cell.relative_error,
                **surface([cell.octant]),
            }
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
    filled = [record for record in records if record["cells"]]
    summary = {}
    for name in ("raw_error", "raw_relative", "error", "relative"):
        part = "raw" if name.startswith("raw") else "cells"
        lists = [[cell[name] for cell in r[part]] for r in records if r[part]]
        values = np.concatenate(lists) if lists else np.full(1, np.nan)
        summary[f"{name}_mean"] = float(values.mean())
        summary[f"{name}_median"] = float(np.median(values))
        summary[f"{name}_best"] = float(
            np.mean([min(each) for each in lists] or np.nan)
        )
    cells = [cell for record in filled for cell in record["cells"]]
    within = [r["within"] for r in filled if r["within"] is not None]
    off = [
        abs(cell["volume"] - record["V"])
        for record in filled
        if record["V"] is not None
        for cell in record["cells"]
    ]
    for part, prefix in (("raw", "raw_"), ("cells", "")):
        for name in SURFACE:
            shares = [cell[name] for record in records for cell in record[part]]
            summary[f"{prefix}{name}"] = float(np.mean(shares or np.nan))
    return {
        **summary,
        "valid": sum(len(record["raw"]) for record in records)
        / sum(record["sampled"] for record in records),
        "answered": len(filled) / len(records),
        "reached": sum(
            min(cell["error"] for cell in record["cells"]) <= GOAL for record in filled
        )
        / len(records),
        "volume_off": float(np.mean(off or np.nan)),
        "volume_off_median": float(np.median(off or np.nan)),
        "within": float(np.nanmean(within)) if within else float("nan"),
        "nearest": float(np.mean([cell["nearest"] for cell in cells] or np.nan)),
        "evaluations": sum(r["evaluations"] for r in records) / max(len(cells), 1),
        "seconds": sum(r["seconds"] for r in records) / max(len(cells), 1),
    }


def new_bins(
    records: Sequence[Mapping],
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
) -> tuple[int, int]:
    """Return how many bins of property space the cells fill, and how many anew.

    Args:
      records: see `measure`.
      constants: of the training cells.
      volume: of the training cells.
    """
    cells = [cell for record in records for cell in record["cells"]]
    if not cells:
        return 0, 0
    got = np.array([cell["constants"] for cell in cells])
    filled = np.unique(space.bin_index(got, np.array([c["volume"] for c in cells])))
    return len(filled), len(np.setdiff1d(filled, space.bin_index(constants, volume)))


GROUPS_HEADER = (
    "targets",
    "number",
    "raw mean / median / best %",
    "delivered mean / median / best %",
    "rel mean / median / best %",
    "best within 0.1 %",
    "V off, mean / median",
    "thin %: raw, delivered",
    "pits %: raw, delivered",
)


def groups(
    records: Sequence[Mapping],
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
) -> list[list[str]]:
    """Return rows of `GROUPS_HEADER`: targets in filled and in empty bins, and all.

    Bins are those of property space (`mmdiff.data.space`), filled by training cells;
    targets that leave constants or the volume free have none and count among all.

    Args:
      records: see `measure`.
      constants: of the training cells.
      volume: of the training cells.
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

    return [
        name,
        str(len(records)),
        spread("raw_error"),
        spread("error"),
        spread("relative"),
        f"{100 * summary['reached']:.0f} %",
        f"{summary['volume_off']:.3f} / {summary['volume_off_median']:.3f}",
        *(percent(f"raw_{key}", key, digits=1, between=", ") for key in SURFACE),
    ]


HEADER = ("", "mean %", "best of each %", "mean rel %", "valid %", "s per cell")


def comparison(summary: Mapping[str, float], polished: bool) -> list[list[str]]:
    """Return the rows of the table beside published results, columns `HEADER`."""

    def row(name, *values):
        digits = (2, 2, 2, 1, 2)
        pairs = zip(values, digits, strict=True)
        return [name, *("" if v is None else f"{v:.{d}f}" for v, d in pairs)]

    rows = [
        row(name, mean, best, None, valid, seconds)
        for name, (mean, best, valid, seconds) in PUBLISHED.items()
    ]
    kinds = (("raw", "raw_"), ("polished", "")) if polished else (("raw", "raw_"),)
    for name, prefix in kinds:
        last = name == kinds[-1][0]
        rows.append(
            row(
                f"mmdiff, {name}",
                *(
                    100 * summary[f"{prefix}{key}"]
                    for key in ("error_mean", "error_best", "relative_mean")
                ),
                100 * summary["valid"],
                summary["seconds"] if last else None,
            )
        )
    return rows
