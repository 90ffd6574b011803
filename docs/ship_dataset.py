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

from mmdiff.data import card, dataset, report, store
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
    labels = store.read_labels(root)
    ids = [record["id"] for record in labels.records]
    rows = report.label_rows(
        labels, recipe, np.ones(len(ids), bool), np.isin(ids, chosen["selected"])
    )
    write_csv(destination / "labels.csv", rows)
    for name in ("splits.json", "targets.csv"):
        shutil.copy(source / name, destination / name)
    every = store.read_labels(old)
    ids = np.array([record["id"] for record in every.records])
    text = card.card(
        every,
        recipe,
        store.read_manifests(old),
        store.read_timings(old),
        ~np.isin(ids, chosen["duplicates"]),
        np.isin(ids, chosen["selected"]),
        machine=machine,
        size_bytes=sum(p.stat().st_size for p in root.rglob("*") if p.is_file()),
    )
    (destination / "DATASET_CARD.md").write_text(text)
    with (destination / "targets.csv").open() as file:
        count = len(list(csv.DictReader(file)))
    print(f"{len(labels.records)} cells and {count} targets in {destination}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3])
