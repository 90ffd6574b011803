"""Make a dataset: every shard of every round, then labels, splits, plots and a card."""

import pathlib
import shutil

import numpy as np
from ml_collections import ConfigDict

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.data import card, figures, finish, pipeline, report, store
from mmdiff.data import shard as generate
from mmdiff.data.recipe import Recipe, from_config
from mmdiff.errors import InputError
from mmdiff.io import plots, render
from mmdiff.io.json import write_csv, write_json
from mmdiff.run import console, environment, workdir

SHEET = 16  # cells in the contact sheet
# On disk at 64^3: an octant, packed, and its record; the surface grows with n^2.
BYTES_PER_OCTANT, BYTES_PER_RECORD = 1100, 350


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Make or finish the dataset in `folder`.

    Raises:
      InputError: if the recipe makes no sense.
      DataError: if another dataset is there, or a round yields nothing.
      MemoryLimitError: if a worker was killed.
    """
    recipe, other = from_config(config.to_dict())
    if other["workers"] < 0:
        raise InputError(
            f"workers={other['workers']} cannot run. Give how many processes to use, "
            "or --config.workers=0 for one on every core."
        )
    root = folder / "data.zarr"
    generate.create(recipe, root)
    for shard, message in store.damaged(root).items():
        what = message.partition(" Rerun")[0]
        console.note(f"{what} Shard {shard} is made again.")
        store.forget(root, shard)
    todo = store.missing(root)
    if todo:
        workers = min(other["workers"] or environment.cores(), len(todo))
        with pipeline.local_pool(workers) as pool:
            pace = pool.submit(pipeline.probe, root).result()
            announce(recipe, root, todo, pace, workers)
            make(recipe, root, pool, folder, pace, workers, len(todo))
    close(root, folder, recipe, other)


def intact(folder: pathlib.Path) -> bool:
    """Whether a finished dataset is still whole; a rerun mends one that is not."""
    root = folder / "data.zarr"
    return (root / "layout.json").exists() and not (
        store.missing(root) or store.damaged(root)
    )


def announce(recipe, root, todo: list[int], pace: float, workers: int) -> None:
    """Say what is to be made, how long it will take here and what it will occupy.

    Raises:
      InputError: if the disk is too small.
    """
    plan = recipe.plan()
    rows, total = [], 0.0
    for kind in dict.fromkeys((s.round, s.aim, s.kind) for s in plan):
        shards = [plan[i] for i in todo if plan[i][:3] == kind]
        hours = sum(generate.labels_worth(recipe, s) for s in shards) * pace / 3600
        total += hours / workers
        count = sum(s.count for s in shards)
        rows.append([kind[0], kind[1], kind[2], count, hours / workers])
    console.table(rows, ["round", "aim", "kind", "candidates", "hours"])
    count = sum(plan[i].count for i in todo)
    size = count * (BYTES_PER_OCTANT * (recipe.n / 32) ** 2 + BYTES_PER_RECORD)
    console.say(
        f"{count} candidates of {2 * recipe.n}^3 voxels in {len(todo)} shards: about "
        f"{total:.2g} h with {workers} worker{'s' if workers > 1 else ''} on "
        f"{environment.device_line()} ({pace:.3g} s per homogenization, measured), at "
        f"most {size / 1e6:.3g} MB on disk."
    )
    free = shutil.disk_usage(root).free
    if free < size:
        raise InputError(
            f"{root.parent} has {free / 1e6:.3g} MB free and this dataset may take "
            f"{size / 1e6:.3g} MB. Choose another --workdir or ask for fewer "
            "candidates, such as --config.perturbed.everywhere=1000."
        )


def make(recipe, root, pool, folder, pace, workers, count) -> None:
    """Make all missing shards, with progress, an estimate of the rest and metrics."""
    plan = recipe.plan()
    with console.progress("shards", count) as advance:

        def on_shard(progress: pipeline.Progress) -> None:
            shard = plan[progress.shard]
            manifest = store.read_manifests(root, [progress.shard])[0]
            workdir.append_metrics(
                folder,
                {
                    "shard": progress.shard,
                    "round": shard.round,
                    "kind": shard.kind,
                    "accepted": manifest["count"],
                    "rejected": manifest["rejected"],
                    "seconds": store.read_timing(root, progress.shard),
                },
            )
            left = progress.seconds_left / 60
            advance(info=f"round {shard.round} ({shard.kind}), {left:.0f} min left")

        pipeline.run_rounds(
            recipe,
            root,
            pool,
            seconds_per_label=pace,
            workers=workers,
            on_shard=on_shard,
        )


def close(root: pathlib.Path, folder: pathlib.Path, recipe: Recipe, other) -> None:
    """Write selection, labels, splits, targets, plots and the card."""
    labels = store.read_labels(root)
    manifests, timings = store.read_manifests(root), store.read_timings(root)
    closing = finish.close(
        labels, recipe, subset=other["subset"], num_targets=other["num_targets"]
    )
    kept, selected, asked = closing
    ids = np.array([r["id"] for r in labels.records])
    store.write_selection(
        root, {"duplicates": ids[~kept].tolist(), "selected": ids[selected].tolist()}
    )
    describe(folder, root, labels, recipe, manifests, timings, kept, selected)
    write_csv(folder / "targets.csv", asked)
    rounds = report.by_round(labels, recipe, manifests, kept)
    console.table(
        [
            [r["round"], r["aim"], r["candidates"], r["accepted"],
             100 * r["coverage"], r["least nu"]]
            for r in rounds
        ],
        ["round", "parents from", "candidates", "accepted", "coverage %", "least nu"],
    )  # fmt: skip
    console.say(
        f"{kept.sum()} cells, {(~kept).sum()} repeated ones left out; "
        f"{selected.sum()} selected, {len(asked)} test targets; content "
        f"{store.dataset_hash(manifests)[:16]}"
    )


def describe(folder, root, labels, recipe, manifests, timings, kept, selected) -> None:
    """Write the tables, plots and the card that describe a dataset into a folder."""
    rows = report.label_rows(labels, recipe, kept, selected)
    write_csv(folder / "labels.csv", rows)
    write_json(folder / "splits.json", report.splits(labels, kept, selected))
    text = card.card(
        labels,
        recipe,
        manifests,
        timings,
        kept,
        selected,
        machine=environment.device_line(),
        size_bytes=sum(p.stat().st_size for p in root.rglob("*") if p.is_file()),
    )
    (folder / "DATASET_CARD.md").write_text(text)
    constants, volume = labels.constants[kept], labels.volume[kept]
    plots.property_scatter(folder / "properties.png", constants, volume)
    figures.tensor_space(folder / "space.png", constants, volume)
    rounds = report.by_round(labels, recipe, manifests, kept)
    figures.coverage(folder / "coverage.png", rounds, constants, volume)
    chosen = sheet_cells(labels, kept)
    images = [
        render.render(octant_to_cell(octant), size=256)
        for octant in labels.octants(chosen)
    ]
    captions = [
        f"V {labels.volume[i]:.2f}  nu {value:.2f}"
        for i, value in zip(
            chosen, report.columns(labels.constants, labels.volume)["nu"][chosen],
            strict=True,
        )
    ]  # fmt: skip
    plots.contact_sheet(folder / "sheet.png", images, captions)


def sheet_cells(labels: store.Labels, kept: np.ndarray) -> np.ndarray:
    """Return cells spread evenly over Poisson's ratio, most negative first."""
    able = np.flatnonzero(kept)
    nu = report.columns(labels.constants, labels.volume)["nu"][able]
    count = min(SHEET, len(able))
    wanted = np.linspace(nu.min(), nu.max(), count)
    order, found = np.argsort(nu), []
    for value in wanted:
        near = order[np.argsort(abs(nu[order] - value), kind="stable")]
        found.append(next(i for i in near if i not in found))
    return able[found]
