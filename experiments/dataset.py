"""Make a dataset: every shard of every round, then labels, splits, plots and a card."""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmdiff.data import (
    finish,
    given,
    pipeline,
    proposed,
    report,
    shard,
    spot_checks,
    store,
    tables,
)
from mmdiff.data.recipe import GIVEN, PROPOSED, Recipe, from_config
from mmdiff.run import console, environment, workdir, workers


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
    # What later rounds need is asked for before the first.
    for aim, part in ((GIVEN, given), (PROPOSED, proposed)):
        if any(recipe.plan()[number].aim == aim for number in todo):
            part.check(recipe)
    if todo:
        count = min(other["workers"] or environment.cores(), len(todo))
        with workers.local_pool(count) as pool:
            pace = pool.submit(pipeline.probe, root).result()
            report.announce(recipe, root, todo, pace, count)
            with console.progress("shards", len(todo)) as advance:
                pipeline.run_rounds(
                    root,
                    pool,
                    seconds_per_label=pace,
                    workers=count,
                    on_shard=functools.partial(record, folder, recipe, advance),
                )
    close(folder, other)


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


def close(folder: pathlib.Path, other: Mapping[str, Any]) -> None:
    """Choose subset and test targets, check labels, write all of it, say the sums."""
    root = folder / "data.zarr"
    sizes = {name: other[name] for name in ("subset", "num_targets")}
    contents, targets = finish.close_dataset(root, **sizes)
    labels, kept, selected = contents.labels, contents.kept, contents.selected
    ids = np.array([record["id"] for record in labels.records])
    store.write_selection(
        root, {"duplicates": ids[~kept].tolist(), "selected": ids[selected].tolist()}
    )
    chosen = spot_checks.choose(np.flatnonzero(kept))
    with console.progress("spot checks", len(chosen)) as advance:
        checks = spot_checks.spot_check(labels, chosen, on_cell=advance)
    console.notes(report.write(folder, contents, targets, checks))
    shares = ("drainable", "coverage", "drainable coverage")
    rows = [
        [row[name] for name in ("round", "aim", "candidates", "accepted")]
        + [100 * row[name] for name in shares]
        + [row["least nu"]]
        for row in tables.by_round(contents)
    ]
    titles = ["round", "parents from", "candidates", "accepted", "drainable %"]
    console.table(rows, [*titles, "coverage %", "of these %", "least nu"])
    console.say(
        f"{kept.sum()} cells, {(~kept).sum()} repeated ones left out; "
        f"{selected.sum()} selected, {len(targets)} test targets; content "
        f"{store.dataset_hash(contents.manifests)[:16]}"
    )
