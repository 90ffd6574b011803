import json
import shutil
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.errors import InputError
from mmdiff.io.json import plain, write_json
from mmdiff.run import workdir


def test_metrics_are_strict_json_lines(tmp_path):
    workdir.append_metrics(tmp_path, {"step": 1, "loss": float("nan")})
    values = {"loss": jnp.float32(0.5), "best": np.array([1.0, np.inf]), "done": True}
    workdir.append_metrics(tmp_path, values)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines[0] == '{"step": 1, "loss": null}'
    assert json.loads(lines[1]) == {"loss": 0.5, "best": [1.0, None], "done": True}


def test_metrics_after_a_killed_write(tmp_path):
    workdir.append_metrics(tmp_path, {"step": 1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    workdir.append_metrics(tmp_path, {"step": 2})
    assert workdir.read_metrics(tmp_path) == [{"step": 1}, {"step": 2}]


def test_lines_that_cannot_be_read_are_dropped_with_a_note(tmp_path, capsys):
    lines = [b'{"step": 1}', b'{"step": \xff}', b"[1]", b"", b'{"step": 2}', b"{"]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(lines))
    assert workdir.read_metrics(tmp_path) == [{"step": 1}, {"step": 2}]
    said = " ".join(capsys.readouterr().out.split())
    assert "note: line 2 and 2 more of " in said and "cannot be read" in said


def test_records_count_as_they_were_written_and_in_their_run(tmp_path, capsys):
    write_json(tmp_path / "run.json", {"settings_sha256": "aa"})
    record = {"pair": 1, "ratio": np.float32(0.1), "none": float("nan")}
    workdir.append_record(tmp_path, record)
    workdir.append_metrics(tmp_path, {"pair": 2})
    (found,) = workdir.read_records(tmp_path)
    assert found == plain(record) and capsys.readouterr().out == ""
    path = tmp_path / "metrics.jsonl"
    content = path.read_bytes().splitlines()[0]
    taken = 0
    for i in range(len(content)):
        damaged = bytearray(content)
        damaged[i] ^= 1
        path.write_bytes(damaged)
        found = workdir.read_records(tmp_path)
        assert found in ([], [plain(record)])
        taken += len(found)
    assert taken <= 2  # a digit beyond the last that counts
    assert "1 records of" in capsys.readouterr().out
    path.write_bytes(content)
    write_json(tmp_path / "run.json", {"settings_sha256": "ab"})
    assert workdir.read_records(tmp_path) == []


def test_metrics_of_a_new_workdir(tmp_path):
    assert workdir.read_metrics(tmp_path) == []


def test_a_write_that_is_killed_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    write_json(path, {"a": 1})
    with monkeypatch.context() as patch:
        patch.setattr(workdir.os, "replace", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert workdir.results(tmp_path, {}) == []  # what is left of it is no result
    write_json(path, {"a": 3})
    assert [item.name for item in tmp_path.iterdir()] == ["run.json"]


def test_damaged_state_counts_as_none(tmp_path):
    (tmp_path / "config.json").write_text('{"config": {')
    (tmp_path / "run.json").write_text("[]")
    assert workdir.read_state(tmp_path) == (None, {})


def test_opening_creates_the_directory_and_its_parents(tmp_path):
    with workdir.opened(tmp_path / "a" / "b") as path:
        assert path.is_dir()
        assert (path / workdir.LOCK).exists()
    assert list(path.iterdir()) == []


def test_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError) as caught, workdir.opened(tmp_path / "out"):
        pass
    assert str(caught.value) == (
        f"workdir {tmp_path / 'out'} is a file. "
        "Choose another directory with --workdir=DIR."
    )


@pytest.mark.parametrize("name", ["log.txt", "metrics.jsonl", "index.html", ".lock"])
def test_links_out_of_the_directory_are_not_followed(tmp_path, name):
    (tmp_path / "target").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "target")
    with (
        pytest.raises(InputError, match=f"{name} is a link, and the run would write"),
        workdir.opened(tmp_path / "out"),
    ):
        pass
    assert (tmp_path / "target").read_text() == "mine"


def test_an_unwritable_place_names_the_space_and_the_flag(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "out"
    with pytest.raises(InputError) as caught, workdir.opened(path):
        pass
    message = str(caught.value)
    assert message.startswith(f"cannot write to workdir {path}: Not a directory (")
    assert message.endswith(
        "free on its disk). Choose another directory with --workdir=DIR."
    )


def test_a_full_disk_names_both_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(workdir, "NEEDED_BYTES", 10**18)
    with pytest.raises(InputError) as caught, workdir.opened(tmp_path):
        pass
    message = str(caught.value)
    assert message.startswith(f"the disk of workdir {tmp_path} has ")
    assert message.endswith(
        "free and a run needs 1000000000.0 GB. "
        "Choose another directory with --workdir=DIR."
    )


def test_a_workdir_in_use_is_refused_and_a_stale_lock_taken_over(tmp_path):
    script = (
        "import sys; from pathlib import Path; from mmdiff.run import workdir\n"
        "with workdir.opened(Path(sys.argv[1])): print('locked', flush=True); input()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(InputError) as caught, workdir.opened(tmp_path):
            pass
        assert str(caught.value) == (
            f"workdir {tmp_path} is in use by process {other.pid}. "
            "Choose another directory with --workdir=DIR."
        )
        other.kill()
    assert (tmp_path / workdir.LOCK).read_text() == f"process {other.pid}"
    with workdir.opened(tmp_path):
        assert (tmp_path / workdir.LOCK).read_text() != f"process {other.pid}"


def test_clearing_keeps_what_was_there_before_the_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "checkpoints").mkdir()
    for name in (*workdir.COMMON, "cells.npz", "checkpoints/step_1"):
        (tmp_path / name).write_text("")
    run = {"found": ["notes.txt"]}
    found = [path.name for path in workdir.results(tmp_path, run)]
    assert found == ["cells.npz", "checkpoints"]
    workdir.clear(tmp_path, run)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_counting_skips_hidden_files(tmp_path):
    (tmp_path / "a").mkdir()
    for name in (".lock", "b.txt", "a/c.txt"):
        (tmp_path / name).write_text("")
    assert workdir.count_files(tmp_path) == 2


def test_what_a_killed_run_was_about_to_write_is_swept(tmp_path):
    code = (
        "import os, sys\nfrom mmdiff.io import write\n"
        "os.replace = lambda *_: os._exit(9)\n"
        "write.write_bytes(sys.argv[1], b'half')\n"
    )
    for name in ("cells/a.npy", "data.zarr/b.json"):
        (tmp_path / name).parent.mkdir()
        line = [sys.executable, "-c", code, str(tmp_path / name)]
        assert subprocess.run(line).returncode == 9
    (tmp_path / ".own.tmp").touch()
    inner = tmp_path / "mine"  # of a run that may be at work
    inner.mkdir()
    for name in ("run.json", ".cell.npy.123.tmp"):
        (inner / name).touch()
    workdir.sweep(tmp_path)
    assert len(list(inner.iterdir())) == 2
    shutil.rmtree(inner)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    # Another machine may be writing to a dataset.
    assert sorted(path.parent.name for path in left) == ["data.zarr", tmp_path.name]
