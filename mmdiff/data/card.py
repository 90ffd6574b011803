"""The card of a dataset in Markdown, every number in it from the dataset itself."""

import collections
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mmdiff.data import report, space, store
from mmdiff.data.recipe import OPTIMIZED, Recipe

_TEMPLATE = """# Dataset card

{cells} binary unit cells of {edge}^3 voxels with cubic symmetry, stored as octants of
{n}^3 voxels with their homogenized elastic constants ({megabytes:.1f} MB):
{optimized} by topology optimization (plate lattices included), {perturbed} by smooth
random deformation of earlier cells, {proposed} proposed by a trained model for empty
parts of the space.

Base material E = 1, nu = 0.3; Voigt order 11 22 33 23 13 12, engineering shear; void
stiffness {void:g}; trilinear elements, one per voxel; relative residual {tol:g}
(largest of the stored cells {residual:.1e}). Every cell is one periodic piece and
spans all axes.

## Properties

| property | min | median | max |
|---|---|---|---|
{properties}

## Rounds

Coverage is the share of {reachable} bins that hold a cell: all bins of a fixed grid
(ten along V and along the shares that K, C44 and (C11 - C12) / 2 have of their
bounds) whose centre some microstructure can reach (`mmdiff.data.space`). Many of them
need structures far finer than voxels, so it cannot become 1.

| round | parents | candidates | accepted | coverage after it | least nu |
|---|---|---|---|---|---|
{rounds}

| of {candidates} candidates rejected because | number |
|---|---|
{rejected}

## Time

{hours:.2f} core hours, compilation included, on
{machine}.
Medians over shards, one core: seconds per candidate by stage, and what is spent beside
finite elements (for optimized cells: beside the design loop and the labels).

| round | kind | make | clean | label | check | accepted per hour and core | beside |
|---|---|---|---|---|---|---|---|
{times}

## Splits

By family (a perturbed cell stays with the optimized one it comes from; {families}
families): {train} train, {validation} validation, {test} test. {selected} training
cells form a property-uniform subset (`selected`): every bin of the grid above gives
as nearly the same number as it can.

`targets.csv` lists test targets, each filled bin as likely as any other and a quarter
in empty bins beside filled ones, with the distance to the nearest training cell (mean
of |difference| / range over C11, C12, C44, V). Its order is random: its first lines
are a smaller test.

## Files

`mmdiff.data.dataset.load_dataset(path)` reads it. The arrays `octant`, `constants` and
`volume` of `data.zarr` are plain zarr v3; `labels.csv` has the row, provenance and
properties of each cell. SHA-256 of the content: `{digest}`.

Recipe {recipe}:

```json
{settings}
```
"""


def card(
    labels: store.Labels,
    recipe: Recipe,
    manifests: Sequence[Mapping],
    timings: Mapping[int, Mapping],
    kept: np.ndarray,
    selected: np.ndarray,
    *,
    machine: str,
    size_bytes: int,
) -> str:
    """Return the text of the card.

    Args:
      labels: all accepted cells.
      recipe: that of the dataset.
      manifests: of all its shards.
      timings: seconds by stage of the shards.
      kept: (N,) whether a cell repeats no other.
      selected: (N,) whether a cell is in the property-uniform subset.
      machine: what it was made on, in words.
      size_bytes: what `data.zarr` takes on disk.
    """
    values = report.columns(labels.constants[kept], labels.volume[kept])
    records = [labels.records[i] for i in np.flatnonzero(kept)]
    aims = collections.Counter(record["aim"] for record in records)
    splits = collections.Counter(report.SPLITS[r["split"]] for r in records)
    rounds = report.by_round(labels, recipe, manifests, kept)
    rejected = collections.Counter()
    for row in rounds:
        rejected.update(row["rejected"])
    seconds = sum(timing[s] for timing in timings.values() for s in report.STAGES)
    proposed = aims.pop("proposed", 0)
    return _TEMPLATE.format(
        cells=len(records),
        edge=2 * recipe.n,
        n=recipe.n,
        megabytes=size_bytes / 1e6,
        optimized=aims[OPTIMIZED],
        perturbed=sum(aims.values()) - aims[OPTIMIZED],
        proposed=proposed,
        void=recipe.void,
        tol=recipe.tol,
        residual=max(record["residual"] for record in records),
        properties=_table(
            [name, v.min(), np.median(v), v.max()] for name, v in values.items()
        ),
        reachable=len(space.reachable_bins(*recipe.volume_range)),
        rounds=_table(
            [
                r["round"],
                r["aim"],
                r["candidates"],
                r["accepted"],
                f"{100 * r['coverage']:.2f} %",
                r["least nu"],
            ]
            for r in rounds
        ),
        candidates=sum(row["candidates"] for row in rounds),
        rejected=_table(sorted(rejected.items())),
        hours=seconds / 3600,
        machine=machine,
        times=_table(
            [
                t["aim"],
                t["kind"],
                *(t[stage] for stage in report.STAGES),
                round(t["cells per hour and core"]),
                "" if t["overhead"] is None else f"{100 * t['overhead']:.0f} %",
            ]
            for t in report.throughput(timings, manifests, recipe)
        ),
        families=len({record["family"] for record in records}),
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        selected=int(selected.sum()),
        digest=store.dataset_hash(manifests),
        recipe=recipe.digest(),
        settings=json.dumps(recipe.to_dict(), indent=1),
    )


def _table(rows: Iterable[Iterable]) -> str:
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows)


def _cell(value) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
