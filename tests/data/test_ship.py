"""What ships of a dataset: as much as there is room for, finished or not."""

import argparse
import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from data_helpers import RECORD, random_packed

from mmdiff.data import dataset, shard, space, spot_checks, store
from mmdiff.data.recipe import Optimized, Perturbed, Recipe
from mmdiff.errors import InputError

PATH = Path(__file__).resolve().parents[2] / "docs/ship_dataset.py"
EMPTY = dict.fromkeys(Optimized().counts(), 0)
RECIPE = Recipe(
    n=8,
    shard_size=40,
    optimized=Optimized(**{**EMPTY, "bulk_shear": 120}),
    perturbed=Perturbed(everywhere=0, poisson=(), joint=()),
)
FINISHED = (0, 2)


@pytest.fixture(scope="module")
def ship():
    spec = importlib.util.spec_from_file_location("ship_dataset", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A dataset of which two of three shards are finished, 80 cells in all."""
    root = tmp_path_factory.mktemp("source") / "data.zarr"
    shard.create(RECIPE, root)
    rng = np.random.default_rng(0)
    bins = rng.choice(space.reachable_bins(0.1, 0.9), (3, 40))
    for number in FINISHED:
        points = space.draw_in_bins(rng, bins[number], (0.1, 0.9))
        records = [
            {
                **RECORD,
                "id": 40 * number + i,
                "round": 0,
                "aim": "optimized",
                "parent": None,
                "family": 40 * number + i,
                "split": (0, 0, 0, 1, 2)[i % 5],
            }
            for i in range(40)
        ]
        store.write_shard(
            root,
            number,
            packed=random_packed(8, 40, number),
            constants=points[:, :3].copy(),
            volume=points[:, 3].copy(),
            records=records,
            rejected={"not mended": 2},
            timing=dict.fromkeys(shard.STAGES, 2.0) | {"candidates": 40, "labels": 40},
        )
    return root.parent


def _options(source, destination, **changes):
    options = {
        "source": source,
        "destination": destination,
        "machine": "a machine",
        "cells": 24,
        "megabytes": 1.0,
        "targets": 30,
        "checks": 0.05,
        "pictures": None,
        "partial": True,
    }
    return argparse.Namespace(**{**options, **changes})


def _check(labels, index, on_cell):
    """Return checks without finite elements: every label is right."""
    constants = labels.constants[index]
    off = np.full(constants.shape, 0.01)
    ids = [labels.records[i]["id"] for i in index]
    thin = np.zeros(len(ids))
    return spot_checks.SpotChecks(ids, constants, off, constants, thin, 1.0)


def test_a_part_of_what_is_finished_ships(ship, source, tmp_path, monkeypatch):
    monkeypatch.setattr(spot_checks, "spot_check", _check)
    ship.main(_options(source, tmp_path / "cells"))
    data, whole = dataset.load_dataset(tmp_path / "cells"), dataset.load_dataset(source)
    assert np.bincount(data.info["split"]).tolist() == [20, 2, 2]
    np.testing.assert_array_equal(data.info["selected"], data.info["split"] == 0)
    ids = [record["id"] for record in whole.info["records"]]
    rows = [ids.index(record["id"]) for record in data.info["records"]]
    for got, want in zip(data[:3], whole[:3], strict=True):
        np.testing.assert_array_equal(got, want[rows])
    with (tmp_path / "cells/targets.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 30
    card = (tmp_path / "cells/DATASET_CARD.md").read_text()
    assert "80 unit cells with cubic symmetry" in card
    assert "**This folder holds 24 of them**" in card
    assert "4 cells, evenly chosen" in card and "1 shards were not finished" in card
    assert not list(source.glob("*.csv")) and not (source / "selection.json").exists()


def test_no_more_ships_than_there_is_room_for(ship, source, tmp_path, monkeypatch):
    monkeypatch.setattr(spot_checks, "spot_check", _check)
    sizes = []
    for megabytes in (1.0, 0.006):
        folder = tmp_path / str(megabytes)
        ship.main(_options(source, folder, cells=60, megabytes=megabytes))
        sizes.append(len(dataset.load_dataset(folder).packed))
        assert ship.wheel_bytes(folder / "data.zarr") < 1e6 * megabytes
    # 50 were asked for and there are 48 training cells; a few of the others.
    assert sizes[0] == 48 + 5 + 5 and 10 < sizes[1] < 50


def test_unfinished_dataset_ships_only_if_asked_to(ship, source, tmp_path):
    with pytest.raises(InputError, match="1 shards of .* are not finished"):
        ship.main(_options(source, tmp_path, partial=False))
