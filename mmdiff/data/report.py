"""The report of a dataset: a forecast before it is made, then card, tables and plots.

Every number in the card comes from the dataset itself.
"""

import collections
import json
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mmdiff.cells import printable
from mmdiff.cells.symmetry import num_independent
from mmdiff.data import figures, finish, shard, space, spot_checks, store, tables
from mmdiff.data.recipe import GIVEN, OPTIMIZED, PROPOSED, Recipe
from mmdiff.data.spot_checks import SpotChecks
from mmdiff.errors import InputError
from mmdiff.fem import accuracy
from mmdiff.io import plots
from mmdiff.io.json import card_head, write_csv, write_json
from mmdiff.io.report import NO_PLOTS
from mmdiff.io.write import write_bytes
from mmdiff.run import console, environment

# On disk at 64^3: a field, packed, and its record; the surface grows with n^2.
BYTES_PER_FIELD, BYTES_PER_RECORD = 4000, 500
# What the card says of the cells of a round's aim; all others are deformed.
_MADE = {
    GIVEN: "of an earlier dataset, mended and labelled anew",
    OPTIMIZED: "by topology optimization, lattices of plates and struts included",
    PROPOSED: "proposed by a trained model for empty parts of the space",
}
_DEFORMED = "by smooth random deformation of earlier cells"
_TEMPLATE = """# Dataset card

{cells} unit cells with cubic symmetry and the elastic constants of their
surfaces{size}: {made}.
Each is a level-set field: distances from the surface on {n}^3 samples of the octant, of
which the {independent} independent ones are stored in 8 bits.
{extract}
Base material E = 1, nu = 0.3; Voigt order 11 22 33 23 13 12, engineering shear; void
stiffness {void:g}. A constant is the limit of two grids of trilinear elements that have
the modulus of their solid share (`mmdiff.fem.accuracy`), each solved until a step
changes it by less than {gain:g} of it, or to a relative residual of {tol:g} (largest of
the stored cells {residual:.1e}). Every cell is one periodic piece and spans all axes.
{drainable:.1f} % are drainable: no void of theirs is closed in, all of it runs on
through the repeated cell.

## Properties

Volume fractions from {V[0]:.3f} to {V[1]:.3f}, Poisson's ratios along <100> from
{nu[0]:.3f} to {nu[1]:.3f}.

| property | min | median | max |
|---|---|---|---|
{properties}

## Labels

What each record states as the uncertainty of its constants, over all cells:

| uncertainty | median | 90 % | most |
|---|---|---|---|
{uncertainty}

% of range is the mean over C11, C12, C44, each in its range in arXiv 2401.13570.
{checks}
## Walls and gaps

Least thickness of solid and void in edges of the cell (but for {share:g} % of the
surface), number of cells; none counts to the last line:

| from | to | walls | gaps |
|---|---|---|---|
{thickness}

## Rounds

Coverage is the share of {reachable} bins that hold a cell: all bins of a fixed grid
(ten along V and along the shares that K, C44 and (C11 - C12) / 2 have of their
bounds) whose centre some microstructure can reach (`mmdiff.data.space`). Many of them
need structures far finer than the samples, so it cannot become 1. Coverage, that of the
drainable cells alone, and the least Poisson's ratio are those of all cells up to and
with the round. {unfinished}

| round | parents | candidates | accepted | drainable | coverage | of these | least nu |
|---|---|---|---|---|---|---|---|
{rounds}

| of {candidates} candidates rejected because | number |
|---|---|
{rejected}

## Time

{hours:.2f} core hours, compilation included, on
{machine}.
Medians over shards, one core: seconds per candidate by stage, and what is spent beside
finite elements (for optimized cells: beside the design loop and the labels).

| round | kind | {stages} | accepted per hour and core | beside |
|---|---|{rules}---|---|
{times}

## Splits

By family (a perturbed cell stays with the optimized one it comes from; {families}
families): {train} train, {validation} validation, {test} test. {selected} training
cells form a property-uniform subset (`selected`): every bin of the grid above gives
as nearly the same number as it can.

`targets.csv` lists test targets, each filled bin as likely as any other and a quarter
in empty bins beside filled ones (`inside` is 0), with the distance to the nearest
training cell (mean of |difference| / range over C11, C12, C44, V). `known` is 1 if a
training cell is within {known:g} % in C11, C12, C44 alone. The order is random: the
first 200 lines are the small test.

## Files

`mm.load_dataset(path)` reads it. The arrays `field`, `constants` and `volume` of
`data.zarr` are plain zarr v3; the manifests beside them have a record of each row that
counts. SHA-256 of the content: `{digest}`.

Recipe {recipe}:

```json
{settings}
```
"""
_CHECKS = """
{count} cells, evenly chosen, were homogenized once more on {elements} and {double}
elements along the octant. So much are the labels off:

| off | median | 90 % | most |
|---|---|---|---|
{rows}

{within:.1f} % of the constants are within their stated uncertainty. Of the voxels of
these cells, one for each sample, {thin:.2g} % are in features one voxel thick.
"""
_EXTRACT = """
**This folder holds {count} of them** ({megabytes:.1f} MB): {train} training cells,
property-uniform, {validation} of validation and {test} of test; SHA-256 of its content
`{digest}`. All else in this card is said of the whole dataset.
"""


def announce(
    recipe: Recipe, root: pathlib.Path, todo: Sequence[int], pace: float, workers: int
) -> None:
    """Say size, time and disk space of a dataset; see `tables.forecast`."""
    rows = tables.forecast(recipe, todo, pace, workers)
    console.table([list(row.values()) for row in rows], list(rows[0]))
    hours, count = (sum(row[name] for row in rows) for name in ("hours", "candidates"))
    size = count * (BYTES_PER_FIELD * (recipe.n / 32) ** 2 + BYTES_PER_RECORD)
    console.say(
        f"{count} candidates of {2 * recipe.n}^3 samples in {len(todo)} shards: about "
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
    checks: SpotChecks | None = None,
) -> list[str]:
    """Write tables, plots and card; return what a missing package left out."""
    labels, kept = contents.labels, contents.kept
    write_csv(folder / "labels.csv", tables.label_rows(contents))
    write_csv(folder / "targets.csv", targets)
    write_json(folder / "splits.json", tables.splits(contents))
    size = disk_usage(labels.root)
    options = {"machine": environment.device_line(), "size_bytes": size}
    text = card(contents, **options, checks=checks)
    write_bytes(folder / "DATASET_CARD.md", text.encode())
    cells = labels.constants[kept], labels.volume[kept]
    drawn = [plots.property_scatter(folder / "properties.png", *cells)]
    drawn.append(draw(folder, contents))
    return [] if all(drawn) else [NO_PLOTS]


def draw(folder: pathlib.Path, contents: tables.Contents) -> bool:
    """Draw space, coverage, quality and two sheets of cells; return if all of it is."""
    folder.mkdir(parents=True, exist_ok=True)
    labels, kept = contents.labels, contents.kept
    cells = labels.constants[kept], labels.volume[kept]
    records = [labels.records[i] for i in np.flatnonzero(kept)]
    walls, gaps = np.array([[r["wall"], r["gap"]] for r in records]).T
    off = tables.uncertainties(contents)
    seed = contents.recipe.seed
    return all(
        [
            figures.tensor_space(folder / "space.png", *cells),
            figures.coverage(
                folder / "coverage.png", tables.by_round(contents), *cells
            ),
            figures.quality(folder / "quality.png", walls, gaps, off),
            figures.random_sheet(folder / "sheet.png", labels, kept, seed=seed),
            figures.auxetic_sheet(folder / "auxetic.png", labels, kept),
        ]
    )


def disk_usage(folder: pathlib.Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def card(
    contents: tables.Contents,
    *,
    machine: str,
    size_bytes: int,
    checks: SpotChecks | None = None,
    extract: store.Labels | None = None,
) -> str:
    """Return the text of the card of a dataset.

    Args:
      contents: of all cells.
      machine: on which it was made.
      size_bytes: of the files in the folder of the card.
      checks: of some labels, None for none.
      extract: the cells in that folder, None for all.
    """
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
    size, part = f" ({size_bytes / 1e6:.1f} MB)", ""
    if extract is not None:
        size, part = "", _extract_text(extract, size_bytes)
    missing = len(recipe.plan()) - len(manifests)
    head = card_head("mmdiff unit cells", "elasticity", "level-set")
    return head + _TEMPLATE.format(
        cells=len(records),
        n=recipe.n,
        independent=num_independent(recipe.n),
        size=size,
        extract=part,
        made=_made(aims),
        drainable=100 * labels.drainable[kept].mean(),
        V=(values["V"].min(), values["V"].max()),
        nu=(values["nu"].min(), values["nu"].max()),
        uncertainty=_table(
            row.values() for row in tables.spread(tables.uncertainties(contents))
        ),
        checks="" if checks is None else _checks_text(checks, recipe),
        share=100 * printable.SHARE,
        thickness=_table(row.values() for row in tables.thickness(contents)),
        unfinished=f"{missing} shards were not finished." if missing else "",
        void=recipe.void,
        tol=recipe.tol,
        gain=accuracy.GAIN,
        residual=max(record["residual"] for record in records),
        properties=_table(
            [name, v.min(), np.median(v), v.max()] for name, v in values.items()
        ),
        reachable=len(space.reachable_bins(*recipe.volume_range)),
        rounds=_table(
            [
                *(r[key] for key in ("round", "aim", "candidates", "accepted")),
                _percent(r["drainable"], 1),
                _percent(r["coverage"], 2),
                _percent(r["drainable coverage"], 2),
                r["least nu"],
            ]
            for r in rounds
        ),
        candidates=sum(row["candidates"] for row in rounds),
        rejected=_table(sorted(rejected.items())),
        hours=seconds / 3600,
        machine=machine,
        stages=" | ".join(shard.STAGES),
        rules="---|" * len(shard.STAGES),
        times=_table(
            [
                *(t[key] for key in ("aim", "kind", *shard.STAGES)),
                round(t["cells per hour and core"]),
                "" if t["overhead"] is None else _percent(t["overhead"], 0),
            ]
            for t in tables.throughput(timings, manifests, recipe)
        ),
        families=len({record["family"] for record in records}),
        **{name: splits[name] for name in tables.SPLITS},
        selected=int(selected.sum()),
        known=100 * finish.KNOWN,
        digest=store.dataset_hash(manifests),
        recipe=recipe.digest(),
        settings=json.dumps(recipe.to_dict(), indent=1),
    )


def _made(aims: Mapping[str, int]) -> str:
    """Return how many cells were made how."""
    deformed = sum(count for aim, count in aims.items() if aim not in _MADE)
    counts = [(aims[aim], how) for aim, how in _MADE.items()]
    counts.insert(-1, (deformed, _DEFORMED))
    return ", ".join(f"{count} {how}" for count, how in counts if count)


def _checks_text(checks: SpotChecks, recipe: Recipe) -> str:
    return _CHECKS.format(
        count=len(checks.ids),
        elements=recipe.n,
        double=2 * recipe.n,
        rows=_table(row.values() for row in spot_checks.summary(checks)),
        within=100 * spot_checks.within(checks),
        thin=100 * checks.thin.mean(),
    )


def _extract_text(labels: store.Labels, size_bytes: int) -> str:
    counts = np.bincount(labels.split, minlength=len(tables.SPLITS)).tolist()
    return _EXTRACT.format(
        count=len(labels.records),
        megabytes=size_bytes / 1e6,
        **dict(zip(tables.SPLITS, counts, strict=True)),
        digest=store.dataset_hash(store.read_manifests(labels.root)),
    )


def _percent(share: float, digits: int) -> str:
    return "" if np.isnan(share) else f"{100 * share:.{digits}f} %"


def _table(rows: Iterable[Iterable]) -> str:
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(value) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
