"""The report of an evaluation: metrics, tables, pictures, and its summary in words."""

import collections
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff.design.evaluate import figures, metrics
from mmdiff.io import plots
from mmdiff.io.json import markdown
from mmdiff.io.report import Report
from mmdiff.io.write import write_bytes
from mmdiff.typing import Float

CONVENTIONS = {
    "error": "range error as in arXiv 2401.13570, Eq. 3, of the surface of connected "
    "cells: constants of two grids, extrapolated",
    "voxel_error": "the same of the binary cell of 128^3 voxels, one element each, as "
    "measured there",
    "uncertainty": "mean of the half widths of the intervals that hold the constants, "
    "over the ranges of that error",
    "solves": "finite-element solutions from the sample to the delivered cell",
    "published": "the numbers of others are their own, on their own targets",
}


def report(
    records: Sequence[Mapping],
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
    *,
    polished: bool = True,
) -> Report:
    """Return the report of an evaluation, of cells that were refined (`polished`).

    The records are those of `metrics.measure`, with "infeasible", "known" (see
    `targets.table`), "refused" and "seconds" each; constants and volume those of the
    training cells.
    """
    summary = metrics.summarize(records)
    filled, fresh = metrics.new_bins(records, constants, volume)
    summary |= {"bins": filled, "new_bins": fresh}
    summary["infeasible"] = sum(record["infeasible"] for record in records)
    refused = collections.Counter()
    for record in records:
        refused.update(record["refused"])
    summary["refused"] = dict(refused)
    tables = {
        "Beside published results": metrics.comparison(summary, polished),
        "By what is known of the target": metrics.groups(records, constants, volume),
    }
    draw = {
        "table.md": lambda path: _write_tables(path, tables.values()),
        "parity.png": lambda path: _draw_parity(path, records),
        "error_hist.png": lambda path: figures.error_histogram(path, records),
        "novelty.png": lambda path: figures.similarities(path, records),
        "coverage.png": lambda path: figures.coverage(path, records, constants, volume),
    }
    if not any(record["cells"] for record in records):
        del draw["parity.png"]
    return Report(
        title=f"mmdiff: evaluation on {len(records)} targets",
        values={"summary": summary, "targets": records},
        conventions=CONVENTIONS,
        tables=tables,
        files=draw,
        notes=_messages(summary),
        json="metrics.json",
    )


def _messages(summary: Mapping[str, float]) -> list[str]:
    """Return the summary of an evaluation in sentences."""

    def percent(name, digits=1):
        return f"{100 * summary[name]:.{digits}f}"

    refused = ", ".join(f"{count} {why}" for why, count in summary["refused"].items())
    return [
        f"similarity {percent('within')} % between the cells of a target, "
        f"{percent('nearest')} % to the nearest training cell; {summary['new_bins']} "
        f"of {summary['bins']} bins of property space filled have no training cell; "
        f"{summary['solves_median']:.0f} finite-element solutions and "
        f"{summary['seconds_median']:.1f} s per cell (medians); "
        f"{percent('answered', 0)} % of targets got a valid cell, "
        f"{percent('reached', 0)} % one within "
        f"{100 * metrics.GOAL:g} % of range; medians {percent('raw_error_median', 3)} "
        f"% raw, {percent('error_median', 3)} % delivered; volumes "
        f"{summary['volume_off']:.4f} off in the mean.",
        f"printable: {percent('raw_printable')} % raw, {percent('printable')} % "
        f"delivered; refused on the way: {refused or 'none'}.",
    ]


def _write_tables(path, tables) -> None:
    texts = [markdown([*rows[0]], [[*row.values()] for row in rows]) for rows in tables]
    write_bytes(path, "\n".join(texts).encode())


def _draw_parity(path, records) -> bool:
    pairs = [
        ([r["C11"], r["C12"], r["C44"], r["V"]], [*c["constants"], c["volume"]])
        for r in records
        for c in r["cells"]
    ]  # None where the target is free becomes NaN, and no point
    asked, got = (np.array(side, float) for side in zip(*pairs, strict=True))
    return plots.parity(path, asked, got)
