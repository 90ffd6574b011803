"""Several processes: who leads, who follows, and what is said where none are found."""

import os
import subprocess
import sys

import pytest

from mmdiff import main
from mmdiff.errors import DataError, InputError
from mmdiff.run import distributed
from mmdiff.run.runner import Job


def _job(folder, run):
    settings = {"experiment": "train", "config": {"seed": 0}}
    return Job("configs/train.py", settings, folder, run, distributed=True)


@pytest.fixture
def shared(monkeypatch):
    """The values that the leader shares; a follower is told to go on."""
    values = []
    monkeypatch.setattr(distributed, "_share", lambda v: values.append(v) or True)
    return values


def test_the_leader_tells_the_others_to_begin_and_to_end(tmp_path, shared, monkeypatch):
    monkeypatch.setattr(distributed, "join", lambda: 0)
    order = []
    job = _job(tmp_path / "out", lambda: order.append(list(shared)))
    assert distributed.execute(job) == 0
    assert order == [[True]] and shared == [True, True]
    assert (tmp_path / "out/run.json").is_file()
    # Done already: the others are told that there is nothing to do.
    shared.clear()
    assert distributed.execute(job) == 0 and shared == [False]
    assert len(order) == 1


def test_a_leader_that_is_refused_lets_the_others_go(tmp_path, shared, monkeypatch):
    monkeypatch.setattr(distributed, "join", lambda: 0)
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="is a file"):
        distributed.execute(_job(tmp_path / "out", lambda: None))
    assert shared == [False]


def test_a_leader_that_fails_waits_for_no_one(tmp_path, shared, monkeypatch):
    monkeypatch.setattr(distributed, "join", lambda: 0)

    def fail():
        raise DataError("broken")

    assert distributed.execute(_job(tmp_path / "out", fail)) == 3
    assert shared == [True]


def test_a_follower_works_in_silence_and_writes_nothing(
    tmp_path, shared, monkeypatch, capsys
):
    monkeypatch.setattr(distributed, "join", lambda: 1)
    assert distributed.execute(_job(tmp_path / "out", lambda: print("said"))) == 0
    assert capsys.readouterr().out == "" and not (tmp_path / "out").exists()
    assert shared == [False, False]

    def fail():
        raise DataError("broken here")

    assert distributed.execute(_job(tmp_path / "out", fail)) == 3
    assert "broken here" in capsys.readouterr().err


def test_a_follower_of_nothing_does_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "join", lambda: 1)
    monkeypatch.setattr(distributed, "_share", lambda value: False)
    job = _job(tmp_path, lambda: pytest.fail("was called"))
    assert distributed.execute(job) == 0


def test_other_experiments_are_refused(tmp_path, capsys):
    argv = ["mmdiff", "--distributed", f"--workdir={tmp_path / 'out'}"]
    assert main.main([*argv, "--config=configs/generate.py"]) == 2
    assert "configs/generate.py runs in one process. Leave" in capsys.readouterr().err


def test_no_cluster_is_one_line(tmp_path):
    # Another process: JAX must not have begun in the one that joins.
    found = ("SLURM_", "OMPI_", "KUBERNETES", "JAX_COORD", "TPU")
    env = {k: v for k, v in os.environ.items() if not k.startswith(found)}
    argv = ["--distributed", "--config=configs/train.py", f"--workdir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "mmdiff.main", *argv],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: --distributed finds no other processes: ")
    assert done.stderr.count("\n") == 1 and list(tmp_path.iterdir()) == []
