"""Datasets through the command line: killed, damaged, resumed, described."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mmdiff import main
from mmdiff.data import dataset, select, store
from mmdiff.errors import DataError

OPTIONS = (
    "n=16 shard_size=4 subset=6 num_targets=8 optimized.bulk_shear=0"
    " optimized.plates=4 optimized.lattices=8"
    " perturbed.everywhere=8 perturbed.poisson=(8,) perturbed.joint=(8,)"
    " perturbed.amplitude=(0.1,0.4) perturbed.length=(1.0,2.0) test=0.3"
).split()


def _argv(folder, *more):
    argv = ["mmdiff", "--config=configs/dataset.py", f"--workdir={folder}"]
    return [*argv, *(f"--config.{option}" for option in [*OPTIONS, *more])]


def _start(folder, tmp_path, *more):
    """Start the command in a process of its own, which claims cores of its own."""
    command = [sys.executable, "-m", "mmdiff.main", *_argv(folder, *more)[1:]]
    return subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _run(folder, tmp_path, *more):
    with _start(folder, tmp_path, *more) as process:
        text, _ = process.communicate(timeout=600)
        return process.returncode, text


def _hash(folder):
    return store.dataset_hash(store.read_manifests(folder / "data.zarr"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An undisturbed run of one worker, and what it printed."""
    folder = tmp_path_factory.mktemp("dataset") / "out"
    code, text = _run(folder, tmp_path_factory.mktemp("cores"), "workers=1")
    assert code == 0, text
    return folder, text


@pytest.mark.slow
def test_files_and_what_they_say(made):
    folder, text = made
    packed, constants, volume, info = dataset.load_dataset(folder)
    assert len(packed) > 20
    with (folder / "labels.csv").open() as file:
        labels = list(csv.DictReader(file))
    assert [int(row["id"]) for row in labels] == [r["id"] for r in info["records"]]
    np.testing.assert_allclose(
        [float(row["C11"]) for row in labels], constants[:, 0], rtol=1e-6
    )
    splits = json.loads((folder / "splits.json").read_text())
    names = ("train", "validation", "test")
    assert sum(len(splits[name]) for name in names) == len(packed)
    assert set(splits["selected"]) <= set(splits["train"])
    assert len(splits["selected"]) == min(6, (info["split"] == select.TRAIN).sum())
    with (folder / "targets.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 8
    card = (folder / "DATASET_CARD.md").read_text()
    assert f"{len(packed)} unit cells with cubic symmetry" in card
    assert "1 cells, evenly chosen, were homogenized once more on 16 and 32" in card
    assert _hash(folder) in card
    for name in ("properties", "space", "coverage", "quality", "sheet", "auxetic"):
        assert (folder / f"{name}.png").stat().st_size > 2000
    # What it will take is said before it starts, with the machine.
    start = text.index("36 candidates of 32^3 samples in 9 shards: about")
    assert start < text.index("36 candidates") + 1 < text.index("parents from")
    assert "per homogenization, measured" in text
    metrics = (folder / "metrics.jsonl").read_text().splitlines()
    assert len(metrics) == 9 and json.loads(metrics[0])["accepted"] <= 4


@pytest.mark.slow
def test_killed_three_times_and_by_two_workers_gives_the_same(made, tmp_path):
    folder = tmp_path / "out"
    manifests = folder / "data.zarr" / "manifests"
    for wanted in (1, 4, 6):
        deadline = time.monotonic() + 300
        with _start(folder, tmp_path, "workers=2") as process:
            while len(list(manifests.glob("*.json"))) < wanted:
                assert process.poll() is None, process.stdout.read()
                assert time.monotonic() < deadline
                time.sleep(0.002)
            workers = _children(process.pid)
            os.kill(process.pid, signal.SIGKILL)
        # Workers notice that their parent is gone and end, too.
        assert workers
        while any(os.path.exists(f"/proc/{pid}") for pid in workers):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert not (folder / "DATASET_CARD.md").exists()
    finished = {p: p.stat().st_mtime_ns for p in manifests.glob("*.json")}
    code, text = _run(folder, tmp_path, "workers=2")
    assert code == 0, text
    assert "resuming" in text
    assert all(p.stat().st_mtime_ns == t for p, t in finished.items())
    assert len(finished) < len(list(manifests.glob("*.json"))) == 9
    assert _hash(folder) == _hash(made[0])
    same = [(f / "labels.csv").read_text() for f in (folder, made[0])]
    assert same[0] == same[1]


def _children(parent):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                status = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(status[1]) == parent:
            found.append(int(pid))
    return found


@pytest.mark.slow
def test_flipped_byte_is_named_and_only_its_shard_is_made_again(made, tmp_path):
    folder, _ = made
    before = _hash(folder)
    manifests = sorted((folder / "data.zarr" / "manifests").glob("*.json"))
    times = [p.stat().st_mtime_ns for p in manifests]
    file = folder / "data.zarr/field/c/1/0"
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match="field/c/1/0 fails its checksum; 3 of"):
        dataset.load_dataset(folder)
    code, text = _run(folder, tmp_path, "workers=1")
    assert code == 0, text
    assert "is not whole: going on with it" in text
    assert "field/c/1/0 fails its checksum" in text
    again = [p.stat().st_mtime_ns for p in manifests]
    assert [i for i, (a, b) in enumerate(zip(times, again, strict=True)) if a != b] == [
        1
    ]
    assert _hash(folder) == before
    code, text = _run(folder, tmp_path, "workers=1")
    assert code == 0 and "already done" in text


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("workers=-1", "workers=-1 is too small. Set --config.workers to 0 or more"),
        ("volume_range=(0.5,0.2)", r"\(0.5, 0.2\) must be .*--config.volume_range"),
        ("n=9", "n=9: octants need a multiple of 4 .*--config.n=12"),
    ],
)
def test_bad_recipes_are_refused(option, words, tmp_path, capsys):
    assert main.main(_argv(tmp_path / "out", option)) == 2
    assert re.search(words, capsys.readouterr().err)


def test_weights_for_the_last_round_are_asked_for_before_the_first(tmp_path, capsys):
    options = ("proposed.count=4", f"proposed.weights={tmp_path}/nowhere.npz")
    out = tmp_path / "out"
    assert main.main(_argv(out, *options)) == 3
    assert "no checkpoint at" in capsys.readouterr().err
    assert not list((out / "data.zarr/manifests").iterdir())
