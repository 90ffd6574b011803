"""Slurm: what is submitted, after what, and that the jobs then make a dataset."""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mmdiff.data import dataset, pipeline, store
from mmdiff.run import environment, workers

ROOT = Path(__file__).resolve().parents[2]
# Round 0: a shard of optimized cells and one of plates. Round 1: a perturbed one.
SMALL = (
    "n=8 shard_size=4 optimized.bulk_shear=4 optimized.poisson=0 optimized.plates=4 "
    "optimized.lattices=0 "
    "optimized.steps=6 optimized.radius=1.2 perturbed.everywhere=4 "
    "perturbed.poisson=() perturbed.joint=() perturbed.amplitude=(0.1,0.4) "
    "perturbed.length=(1.0,2.0) num_targets=4 subset=4"
).split()
# Runs what it is given at once, for every number of the array, and hands out an id.
AT_ONCE = """
import os, pathlib, subprocess, sys

log = pathlib.Path(__file__).with_name("log")
given = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
for number in given.get("array", "").split(","):
    env = {**os.environ, "SLURM_ARRAY_TASK_ID": number}
    subprocess.run(["sh", "-c", given["wrap"]], env=env, stdout=2, check=True)
with log.open("a") as file:
    file.write("job\\n")
print(f"{100 + len(log.read_text().splitlines())};cluster")
"""
needs_shebang = pytest.mark.skipif(
    sys.platform == "win32", reason="the stand-in for sbatch is a script"
)


@pytest.fixture(scope="module")
def slurm():
    spec = importlib.util.spec_from_file_location("slurm", ROOT / "launch" / "slurm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _command(folder, *options):
    config = [f"--config.{option}" for option in (*SMALL, *options)]
    return ["--config=configs/dataset.py", f"--workdir={folder}", *config]


def _sbatch(folder, text):
    """Write a stand-in for sbatch and return a PATH that finds it first."""
    script = folder / "bin" / "sbatch"
    script.parent.mkdir()
    script.write_text(text)
    script.chmod(0o755)
    return f"{script.parent}{os.pathsep}{os.environ['PATH']}"


def _calls(text):
    """Return the options of each printed call of sbatch, `--name=value` by name."""
    calls = [shlex.split(line) for line in text.splitlines()]
    assert all(call[0] == "sbatch" for call in calls)
    return [dict(word[2:].partition("=")[::2] for word in call[1:]) for call in calls]


def _shards(call):
    """Return the shards that an array makes."""
    *_, flag, _, base = shlex.split(call["wrap"])
    assert flag == "--task"
    return [int(base) + int(number) for number in call["array"].split(",")]


def test_dry_run_prints_an_array_per_round_and_a_closing_job(slurm, tmp_path, capsys):
    command = _command(tmp_path / "out")
    options = "--partition=gpu --comment='two words'"
    assert slurm.submit(["--dry_run", f"--sbatch={options}", *command]) == 0
    first, second, close = _calls(capsys.readouterr().out)
    for call in (first, second, close):
        assert "parsable" in call and call["partition"] == "gpu"
        assert call["comment"] == "two words"
    assert (first["job-name"], first["array"]) == ("mmdiff-round-0", "0,1")
    assert (second["job-name"], second["array"]) == ("mmdiff-round-1", "2")
    assert "dependency" not in first
    assert second["dependency"] == "afterok:<mmdiff-round-0>"
    assert close["dependency"] == "afterok:<mmdiff-round-1>"
    # A job whose predecessor failed must not wait in the queue for ever.
    assert second["kill-on-invalid-dep"] == close["kill-on-invalid-dep"] == "yes"
    root = (tmp_path / "out" / "data.zarr").resolve()
    script = [sys.executable, str(ROOT / "launch" / "slurm.py")]
    assert shlex.split(first["wrap"]) == [*script, "--task", str(root), "0"]
    assert "array" not in close
    assert shlex.split(close["wrap"]) == [
        sys.executable, "-m", "mmdiff.main", *command
    ]  # fmt: skip
    assert store.missing(root) == [0, 1, 2]


def test_arrays_hold_missing_shards_only(slurm, tmp_path, capsys):
    command = ["--dry_run", *_command(tmp_path)]
    assert slurm.submit(command) == 0
    root = tmp_path / "data.zarr"
    store.manifest_path(root, 1).write_text("{}")
    capsys.readouterr()
    assert slurm.submit(command) == 0
    calls = _calls(capsys.readouterr().out)
    assert [call.get("array") for call in calls] == ["0", "2", None]
    for shard in (0, 2):
        store.manifest_path(root, shard).write_text("{}")
    assert slurm.submit(command) == 0
    (close,) = _calls(capsys.readouterr().out)
    assert close["job-name"] == "mmdiff-close" and "dependency" not in close


def test_task_numbers_stay_below_the_limit_of_slurm(slurm, tmp_path, capsys):
    options = ("shard_size=1", "perturbed.everywhere=2100")
    assert slurm.submit(["--dry_run", *_command(tmp_path, *options)]) == 0
    *arrays, close = _calls(capsys.readouterr().out)
    found = [_shards(call) for call in arrays]
    # Shards 0 to 7 are round 0.
    ends = [(0, 8), (8, 1000), (1000, 2000), (2000, 2108)]
    assert found == [list(range(*pair)) for pair in ends]
    names = [call["job-name"] for call in arrays]
    assert names == ["mmdiff-round-0"] + 3 * ["mmdiff-round-1"]
    for call in arrays:
        # Slurm's MaxArraySize is 1001 by default, and numbers are smaller than that.
        assert max(map(int, call["array"].split(","))) < 1001
    assert close["dependency"] == "afterok:<mmdiff-round-1>"


def test_task_counts_from_its_base(slurm, monkeypatch):
    made = []
    monkeypatch.setattr(pipeline, "shard_unit", lambda *args: made.append(args))
    # This process keeps its cores, its environment and its cache.
    monkeypatch.setattr(workers, "claim_core", lambda: made.append("core"))
    monkeypatch.setattr(environment, "silence_xla", lambda: None)
    monkeypatch.setattr(environment, "enable_compilation_cache", lambda: None)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    slurm.task("data.zarr", "2000")
    assert made == ["core", ("data.zarr", 2007)]


def _refused(slurm, capsys, code, *words):
    """Return a function that runs a command, which must fail and say these words."""

    def run(*argv):
        assert slurm.submit(list(argv)) == code
        printed = capsys.readouterr().err
        assert printed.startswith("error: ")
        for word in words:
            assert word in printed

    return run


def test_without_slurm(slurm, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    run = _refused(slurm, capsys, 2, "there is no sbatch on this machine", "--dry_run")
    run(*_command(tmp_path / "out"))


@needs_shebang
def test_what_slurm_says_is_handed_on(slurm, tmp_path, monkeypatch, capsys):
    text = "#!/bin/sh\necho 'invalid partition' >&2\nexit 1\n"
    monkeypatch.setenv("PATH", _sbatch(tmp_path, text))
    run = _refused(slurm, capsys, 2, "refused the job: invalid partition. Correct")
    run(*_command(tmp_path / "out"))


def test_other_experiments(slurm, tmp_path, capsys):
    run = _refused(slurm, capsys, 2, "not generate", "--config=configs/dataset.py")
    run("--dry_run", "--config=configs/generate.py", f"--workdir={tmp_path / 'out'}")
    assert not (tmp_path / "out" / "data.zarr").exists()


def test_recipes_that_cannot_be_made(slurm, tmp_path, capsys):
    run = _refused(slurm, capsys, 2, "Set --config.optimized.steps to 6 or more")
    run("--dry_run", *_command(tmp_path, "optimized.steps=5"))


def test_options_with_an_open_quote(slurm, tmp_path, capsys):
    run = _refused(slurm, capsys, 2, "--sbatch=--comment='x cannot be read")
    run("--dry_run", "--sbatch=--comment='x", *_command(tmp_path))


def test_overwrite_would_delete_what_the_jobs_made(slurm, tmp_path, capsys):
    run = _refused(slurm, capsys, 2, "--overwrite", "choose another --workdir")
    run("--dry_run", "--overwrite", *_command(tmp_path))


def test_workdir_that_is_a_file(slurm, tmp_path, capsys):
    path = tmp_path / "out"
    path.touch()
    _refused(slurm, capsys, 2, f"workdir {path} is a file")(
        "--dry_run", *_command(path)
    )


def test_dataset_of_another_recipe(slurm, tmp_path, capsys):
    assert slurm.submit(["--dry_run", *_command(tmp_path)]) == 0
    run = _refused(slurm, capsys, 3, "holds another dataset", "Choose another --work")
    run("--dry_run", *_command(tmp_path, "seed=1"))


@pytest.mark.slow
@needs_shebang
def test_jobs_make_a_dataset_and_are_not_submitted_twice(tmp_path):
    # A directory for locks of cores that no other process of this machine knows.
    (tmp_path / "tmp").mkdir()
    path = _sbatch(tmp_path, f"#!{sys.executable}\n{AT_ONCE}")
    env = {**os.environ, "PATH": path, "TMPDIR": str(tmp_path / "tmp")}
    out = tmp_path / "out"
    call = [sys.executable, "launch/slurm.py", *_command(out)]

    def run():
        done = subprocess.run(call, cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return _calls(done.stdout)

    first, second, close = run()
    assert (first["array"], second["array"]) == ("0,1", "2")
    # Slurm names the cluster after the id.
    assert second["dependency"] == "afterok:101"
    assert close["dependency"] == "afterok:102"
    assert store.missing(out / "data.zarr") == []
    octants, *_ = dataset.load_dataset(out)
    assert len((out / "labels.csv").read_text().splitlines()) == 1 + len(octants)
    assert "unit cells with cubic symmetry" in (out / "DATASET_CARD.md").read_text()
    (close,) = run()
    assert close["job-name"] == "mmdiff-close" and "dependency" not in close
