"""Metrics of a model: error, validity, diversity, novelty, coverage, printability.

As in arXiv 2401.13570: the range error of its Eq. 3, and the similarity of two cells of
its Eq. 4, the share of voxels that agree (`voxels.agreement`, a shift by half a period
aside). Errors are of the surface, and beside it of its binary cell, as measured there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff import elasticity
from mmdiff.cells.voxels import agreement, pack
from mmdiff.data import space
from mmdiff.design.generate.cell import Cell
from mmdiff.elasticity import PAPER_RANGES
from mmdiff.targets import target as targets
from mmdiff.targets.target import Target
from mmdiff.typing import Float, UInt8

GOAL = 1e-3  # range error of the best cell at which a target counts as reached
ERRORS = ("error", "relative", "voxel_error", "voxel_relative")
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
    flaw: Callable[[Cell], str],
) -> dict:
    """Return the record of one target from its refined cells and its first samples.

    Of these `sampled` are the good ones, as sampled, and `refused` the number of
    others; those drawn in place of bad or far ones do not count. `flaw` says what keeps
    a cell from being printed.
    """
    return {
        **request(target),
        "sampled": len(sampled) + refused,
        "raw": [
            {f"raw_{name}": value for name, value in _errors(target, cell).items()}
            | {"flaw": flaw(cell)}
            for cell in sampled
        ],
        "within": similarity_within([cell.octant for cell in cells]),
        "cells": [
            {
                **_errors(target, cell),
                "uncertainty": float((cell.uncertainty / PAPER_RANGES).mean()),
                "constants": cell.constants.tolist(),
                "volume": cell.volume,
                "polish_steps": len(cell.history) - 1,
                "solves": cell.solves,
                "flaw": flaw(cell),
            }
            for cell in cells
        ],
    }


def nearest(
    octant: UInt8[np.ndarray, "n n n"], known: UInt8[np.ndarray, "N b"]
) -> float:
    """Return the similarity to the nearest of many octants, packed by `voxels.pack`."""
    return float(agreement(octant, known, half_shift=True).max())


def _errors(target, cell) -> dict[str, float]:
    """Return `ERRORS`, of the surface and of its binary cell."""
    values = [
        measured(target, constants)
        for constants in (cell.constants, cell.as_voxels)
        for measured in (targets.error, targets.relative_error)
    ]
    return dict(zip(ERRORS, map(float, values), strict=True))


def summarize(records: Sequence[Mapping]) -> dict[str, float]:
    """Return the means over all targets, fractions throughout.

    Errors are over refined cells, raw ones over the good first samples, "best" over the
    best of each target that has any, "valid" over all first samples; "answered" is the
    share of all targets with a valid cell, "reached" that with one nearer than GOAL;
    "volume_off" is the mean distance from the volumes of the targets; "printable" is
    the share of refined cells without a flaw, "raw_printable" that of first samples.
    """

    def mean(values):
        return float(np.mean(values or np.nan))

    def median(values):
        return float(np.median(values or np.nan))

    summary = {}
    for part, prefix in (("raw", "raw_"), ("cells", "")):
        for name in (prefix + error for error in ERRORS):
            lists = [[cell[name] for cell in r[part]] for r in records if r[part]]
            summary[f"{name}_mean"] = mean(sum(lists, []))
            summary[f"{name}_median"] = median(sum(lists, []))
            summary[f"{name}_best"] = mean([min(each) for each in lists])
        sound = [not cell["flaw"] for record in records for cell in record[part]]
        summary[f"{prefix}printable"] = mean(sound)
    pairs = [(record, cell) for record in records for cell in record["cells"]]
    off = [abs(c["volume"] - r["V"]) for r, c in pairs if r["V"] is not None]
    within = [r["within"] for r in records if r["cells"] and r["within"] is not None]
    answered = [record for record in records if record["cells"]]
    best = [min(c["error"] for c in r["cells"]) for r in answered]
    valid = sum(len(record["raw"]) for record in records)
    return {
        **summary,
        "uncertainty": mean([cell["uncertainty"] for _, cell in pairs]),
        "valid": valid / sum(record["sampled"] for record in records),
        "answered": len(best) / len(records),
        "reached": sum(error <= GOAL for error in best) / len(records),
        "volume_off": mean(off),
        "volume_off_median": median(off),
        "within": float(np.nanmean(within)) if within else float("nan"),
        "nearest": mean([cell["nearest"] for _, cell in pairs]),
        "solves_median": median([cell["solves"] for _, cell in pairs]),
        "seconds": sum(r["seconds"] for r in records) / max(len(pairs), 1),
        "seconds_median": median([r["seconds"] / len(r["cells"]) for r in answered]),
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
    """Return the rows of a table: targets near known cells, others, and all.

    A list may say of which targets a cell within 1 % is known. Of other lists targets
    in bins of property space (`mmdiff.data.space`) that training cells fill are told
    from those in empty ones; those that leave constants or the volume free have none
    and count among all.
    """
    known = [record["known"] for record in records]
    asked = np.array([[*map(r.get, elasticity.NAMES), r["V"]] for r in records], float)
    has_bin = ~np.isnan(asked).any(1) & [told is None for told in known]
    bins = np.full(len(records), -1)
    bins[has_bin] = space.bin_index(asked[has_bin, :3], asked[has_bin, 3])
    filled = np.isin(bins, space.bin_index(constants, volume))
    kinds = {
        "a cell is known": np.array([told is True for told in known]),
        "none is known": np.array([told is False for told in known]),
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
        "as voxels mean / median / best %": spread("voxel_error"),
        "rel mean / median / best %": spread("relative"),
        "+- %": percent("uncertainty"),
        "best within 0.1 %": f"{100 * summary['reached']:.0f} %",
        "V off, mean / median": "{volume_off:.3f} / {volume_off_median:.3f}".format(
            **summary
        ),
        "printable %: raw, delivered": percent(
            "raw_printable", "printable", digits=0, between=", "
        ),
        "solves, s per cell": "{solves_median:.0f}, {seconds_median:.1f}".format(
            **summary
        ),
    }


def comparison(summary: Mapping[str, float], polished: bool) -> list[dict[str, str]]:
    """Return the rows of the table beside published results.

    Published errors are of binary cells of 128^3 voxels: the rows "as voxels" are
    measured like them, the others on the surface.
    """

    def row(name, *values):
        found = zip(COLUMNS.items(), values, strict=True)
        texts = {key: "" if v is None else form.format(v) for (key, form), v in found}
        return {"": name, **texts}

    rows = [row(name, *values) for name, values in PUBLISHED.items()]
    kinds = [("raw", "raw_"), ("polished", "")][: 1 + polished]
    for name, prefix in kinds:
        seconds = summary["seconds"] if prefix == kinds[-1][1] else None
        for measured, part in (("", ""), (", as voxels", "voxel_")):
            keys = ("error_mean", "error_best", "relative_mean")
            errors = [100 * summary[f"{prefix}{part}{key}"] for key in keys]
            label = f"mmdiff, {name}{measured}"
            rows.append(row(label, *errors, 100 * summary["valid"], seconds))
    return rows
