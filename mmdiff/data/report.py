"""The report of a dataset: a forecast before it is made, then card, tables and plots.

Every number in the card comes from the dataset itself.
"""

import collections
import json
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mmdiff.data import figures, shard, space, store, tables
from mmdiff.data.recipe import OPTIMIZED, PROPOSED, Recipe
from mmdiff.errors import InputError
from mmdiff.io import plots
from mmdiff.io.json import write_csv, write_json
from mmdiff.io.report import NO_PLOTS
from mmdiff.run import console, environment

# On disk at 64^3: an octant, packed, and its record; the surface grows with n^2.
BYTES_PER_OCTANT, BYTES_PER_RECORD = 1100, 350
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


def announce(
    recipe: Recipe, root: pathlib.Path, todo: Sequence[int], pace: float, workers: int
) -> None:
    """Say size, time and disk space of a dataset; see `tables.forecast`."""
    rows = tables.forecast(recipe, todo, pace, workers)
    console.table([list(row.values()) for row in rows], list(rows[0]))
    hours, count = (sum(row[name] for row in rows) for name in ("hours", "candidates"))
    size = count * (BYTES_PER_OCTANT * (recipe.n / 32) ** 2 + BYTES_PER_RECORD)
    console.say(
        f"{count} candidates of {2 * recipe.n}^3 voxels in {len(todo)} shards: about "
        f"{hours:.2g} h with {workers} worker{'s' if workers > 1 else ''} on "
        f"{environment.device_line()} ({pace:.3g} s per homogenization, measured), at "
        f"most {size / 1e6:.3g} MB on disk."
    )
    free = shutil.disk_usage(root).free
    if free < size:
        raise InputError(
            f"{root.parent} has {free / 1e6:.3g} MB free and this dataset may take "
            f"{size / 1e6:.3g} MB. Choose another --workdir or ask for fewer "
            "candidates, such as `perturbed.everywhere=1000`."
        )


def write(
    folder: pathlib.Path,
    contents: tables.Contents,
    targets: Sequence[Mapping[str, float]],
) -> list[str]:
    """Write tables, plots and card; return what a missing package left out."""
    labels, kept = contents.labels, contents.kept
    write_csv(folder / "labels.csv", tables.label_rows(contents))
    write_csv(folder / "targets.csv", targets)
    write_json(folder / "splits.json", tables.splits(contents))
    size = sum(p.stat().st_size for p in labels.root.rglob("*") if p.is_file())
    text = card(contents, machine=environment.device_line(), size_bytes=size)
    (folder / "DATASET_CARD.md").write_text(text)
    cells = labels.constants[kept], labels.volume[kept]
    drawn = [
        plots.property_scatter(folder / "properties.png", *cells),
        figures.tensor_space(folder / "space.png", *cells),
        figures.coverage(folder / "coverage.png", tables.by_round(contents), *cells),
        figures.sheet(folder / "sheet.png", labels, kept),
    ]
    return [] if all(drawn) else [NO_PLOTS]


def card(contents: tables.Contents, *, machine: str, size_bytes: int) -> str:
    """Return the text of the card, of a dataset made on a machine."""
    labels, recipe, manifests, timings, kept, selected = contents
    values = tables.columns(labels.constants[kept], labels.volume[kept])
    records = [labels.records[i] for i in np.flatnonzero(kept)]
    aims = collections.Counter(record["aim"] for record in records)
    splits = collections.Counter(tables.SPLITS[r["split"]] for r in records)
    rounds = tables.by_round(contents)
    rejected = collections.Counter()
    for row in rounds:
        rejected.update(row["rejected"])
    seconds = sum(timing[s] for timing in timings.values() for s in shard.STAGES)
    return _TEMPLATE.format(
        cells=len(records),
        edge=2 * recipe.n,
        n=recipe.n,
        megabytes=size_bytes / 1e6,
        optimized=aims[OPTIMIZED],
        perturbed=len(records) - aims[OPTIMIZED] - aims[PROPOSED],
        proposed=aims[PROPOSED],
        void=recipe.void,
        tol=recipe.tol,
        residual=max(record["residual"] for record in records),
        properties=_table(
            [name, v.min(), np.median(v), v.max()] for name, v in values.items()
        ),
        reachable=len(space.reachable_bins(*recipe.volume_range)),
        rounds=_table(
            [
                *(r[key] for key in ("round", "aim", "candidates", "accepted")),
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
                *(t[key] for key in ("aim", "kind", *shard.STAGES)),
                round(t["cells per hour and core"]),
                "" if t["overhead"] is None else f"{100 * t['overhead']:.0f} %",
            ]
            for t in tables.throughput(timings, manifests, recipe)
        ),
        families=len({record["family"] for record in records}),
        **{name: splits[name] for name in tables.SPLITS},
        selected=int(selected.sum()),
        digest=store.dataset_hash(manifests),
        recipe=recipe.digest(),
        settings=json.dumps(recipe.to_dict(), indent=1),
    )


def _table(rows: Iterable[Iterable]) -> str:
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(value) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
