"""Copy a finished dataset into few large shards, with its tables, card and targets.

    python docs/ship_dataset.py out/data mmdiff/assets/cells64 "two cores of ..."

What is copied is the dataset of `configs/dataset.py` without repeated cells; the card
and the labels are made anew for the copy, from the shards and timings of the original.
"""

import csv
import json
import pathlib
import shutil
import sys

import numpy as np

from mmdiff.data import dataset, report, store, tables
from mmdiff.data.recipe import Recipe
from mmdiff.io.json import write_csv


def main(source: pathlib.Path, destination: pathlib.Path, machine: str) -> None:
    """Write data.zarr, labels.csv, splits.json, targets.csv and the card."""
    root = destination / "data.zarr"
    if root.exists():
        shutil.rmtree(root)
    destination.mkdir(parents=True, exist_ok=True)
    dataset.compact(source, root)
    layout = store.read_layout(root)
    recipe = Recipe.from_dict(layout["recipe"])
    old = source / "data.zarr"
    chosen = json.loads((old / "selection.json").read_text())
    copied = _contents(root, recipe, chosen | {"duplicates": []})
    write_csv(destination / "labels.csv", tables.label_rows(copied))
    for name in ("splits.json", "targets.csv"):
        shutil.copy(source / name, destination / name)
    text = report.card(
        _contents(old, recipe, chosen),
        machine=machine,
        size_bytes=report.disk_usage(root),
    )
    (destination / "DATASET_CARD.md").write_text(text)
    with (destination / "targets.csv").open() as file:
        count = len(list(csv.DictReader(file)))
    print(f"{len(copied.kept)} cells and {count} targets in {destination}")


def _contents(root, recipe: Recipe, chosen: dict[str, list[int]]) -> tables.Contents:
    """Return a dataset with the choices that were made of its cells."""
    labels = store.read_labels(root)
    ids = np.array([record["id"] for record in labels.records])
    return tables.Contents(
        labels,
        recipe,
        store.read_manifests(root),
        store.read_timings(root),
        ~np.isin(ids, chosen["duplicates"]),
        np.isin(ids, chosen["selected"]),
    )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3])
