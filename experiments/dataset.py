"""Make a dataset: every shard of every round, then labels, splits, plots and a card."""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmdiff.data import finish, pipeline, report, shard, store, tables
from mmdiff.data.recipe import Recipe, from_config
from mmdiff.run import console, environment, workdir


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Make or finish the dataset in `folder`."""
    recipe, other = from_config(config.to_dict())
    root = folder / "data.zarr"
    shard.create(recipe, root)
    for number, message in store.damaged(root).items():
        what = message.partition(" Rerun")[0]
        console.note(f"{what} Shard {number} is made again.")
        store.forget(root, number)
    todo = store.missing(root)
    if todo:
        workers = min(other["workers"] or environment.cores(), len(todo))
        with pipeline.local_pool(workers) as pool:
            pace = pool.submit(pipeline.probe, root).result()
            report.announce(recipe, root, todo, pace, workers)
            with console.progress("shards", len(todo)) as advance:
                pipeline.run_rounds(
                    root,
                    pool,
                    seconds_per_label=pace,
                    workers=workers,
                    on_shard=functools.partial(record, folder, recipe, advance),
                )
    close(folder, recipe, other)


def intact(folder: pathlib.Path) -> bool:
    """Whether a finished dataset is still whole; a rerun mends one that is not."""
    root = folder / "data.zarr"
    return (root / "layout.json").exists() and not (
        store.missing(root) or store.damaged(root)
    )


def record(
    folder: pathlib.Path, recipe: Recipe, advance, number: int, seconds_left: float
) -> None:
    """Append a finished shard to the metrics, and show how much is left."""
    root, made = folder / "data.zarr", recipe.plan()[number]
    (manifest,) = store.read_manifests(root, [number])
    known = {"shard": number, "round": made.round, "kind": made.kind}
    known |= {"accepted": manifest["count"], "rejected": manifest["rejected"]}
    known["seconds"] = store.read_timing(root, number)
    workdir.append_metrics(folder, known)
    left = f"{seconds_left / 60:.0f} min left"
    advance(info=f"round {made.round} ({made.kind}), {left}")


def close(folder: pathlib.Path, recipe: Recipe, other: Mapping[str, Any]) -> None:
    """Choose subset and test targets, write them and the report, and say the sums."""
    root = folder / "data.zarr"
    labels = store.read_labels(root)
    kept, selected, targets = finish.close(
        labels, recipe, subset=other["subset"], num_targets=other["num_targets"]
    )
    ids = np.array([record["id"] for record in labels.records])
    store.write_selection(
        root, {"duplicates": ids[~kept].tolist(), "selected": ids[selected].tolist()}
    )
    manifests, timings = store.read_manifests(root), store.read_timings(root)
    contents = tables.Contents(labels, recipe, manifests, timings, kept, selected)
    console.notes(report.write(folder, contents, targets))
    names = ("round", "aim", "candidates", "accepted", "coverage", "least nu")
    rows = [[row[name] for name in names] for row in tables.by_round(contents)]
    console.table(
        [[*row[:4], 100 * row[4], row[5]] for row in rows],
        ["round", "parents from", "candidates", "accepted", "coverage %", "least nu"],
    )
    console.say(
        f"{kept.sum()} cells, {(~kept).sum()} repeated ones left out; "
        f"{selected.sum()} selected, {len(targets)} test targets; content "
        f"{store.dataset_hash(manifests)[:16]}"
    )
