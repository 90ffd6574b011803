"""One run in one workdir: files, resuming, refusing, and every exit code."""

import errno
import json
import signal
import subprocess
import sys
from dataclasses import replace

import jax
import pytest

from mmdiff.errors import DataError, InputError, MemoryLimitError
from mmdiff.run import console, environment, runner


@pytest.fixture(autouse=True)
def no_compilation_cache(monkeypatch):
    # The cache is a setting of the whole process: later tests must not see it.
    monkeypatch.setattr(environment, "enable_compilation_cache", lambda: None)


@pytest.fixture
def job(tmp_path):
    """Return a job that writes a table and one file."""
    folder = tmp_path / "out"

    def run():
        console.table([["cell 0", 0.11]], ["", "C11"])
        console.say("best: cell 0")
        (folder / "cell_00.npy").write_text("")

    config = {"seed": 3, "batch": 16, "solver": {"tol": 1e-5}}
    settings = {"experiment": "toy", "config": config}
    return runner.Job("configs/toy.py", settings, folder, run, argv=("mmdiff",))


def failing(job, error):
    def run():
        raise error

    return replace(job, run=run)


def changed(job, **values):
    config = {**job.settings["config"], **values}
    return replace(job, settings={**job.settings, "config": config})


def state(job):
    return json.loads((job.workdir / "run.json").read_text())


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda path: path.unlink(), "cell_00.npy is missing"),
        (lambda path: path.write_text(""), "cell_00.npy is damaged"),
        (lambda path: path.write_text("Cell"), "cell_00.npy is damaged"),
        (
            lambda path: (path.parent / ".manifest.json").unlink(),
            ".manifest.json is missing",
        ),
        (
            lambda path: (path.parent / ".manifest.json").write_bytes(b"{\xff"),
            ".manifest.json is damaged",
        ),
    ],
)
def test_finished_run_that_was_damaged_is_run_again(job, capsys, damage, said):
    file = job.workdir / "cell_00.npy"

    def run():
        file.write_text("cell")

    job = replace(job, run=run)
    assert runner.execute(job) == 0
    damage(file)
    capsys.readouterr()
    assert runner.execute(job) == 0
    out = capsys.readouterr().out
    assert f"is not whole: going on with it\n  {said}\n" in out
    assert "note:" not in out and file.read_text() == "cell"
    assert runner.execute(job) == 0
    assert "already done" in capsys.readouterr().out


def test_what_a_run_does_not_make_again_is_told(job, capsys):
    sample = job.workdir / "sample.png"

    def once():
        if not (job.workdir / "state").exists():
            (job.workdir / "state").mkdir()
            sample.write_text("picture")

    assert runner.execute(replace(job, run=once)) == 0
    sample.write_text("")
    # What is for resuming alone has checks of its own.
    (job.workdir / "state" / "more").touch()
    assert runner.execute(replace(job, run=once)) == 0
    said = capsys.readouterr().out
    assert (
        "note: sample.png is damaged and is made by a whole run only. Pass --overwrite "
        "for that." in said
    )
    (job.workdir / "state" / "more").unlink()
    assert runner.execute(replace(job, run=once)) == 0
    assert "already done" in capsys.readouterr().out


def test_common_files_and_last_lines(job, capsys):
    assert runner.execute(job) == 0
    names = {path.name for path in job.workdir.iterdir()}
    assert names == {
        ".manifest.json",
        "cell_00.npy",
        "config.json",
        "index.html",
        "log.txt",
        "metrics.jsonl",
        "run.json",
    }
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("configs/toy.py on ")
    assert lines[1:4] == ["         C11", "cell 0  0.11", "best: cell 0"]
    assert lines[4].startswith("compile time: ")
    index = job.workdir / "index.html"
    assert lines[5:] == [f"6 files in {job.workdir}/ - open {index}"]
    assert (job.workdir / "log.txt").read_text().splitlines() == lines
    page = index.read_text()
    assert all(name in page for name in names - {"index.html", ".manifest.json"})


def test_settings_that_the_user_changed_are_told(job, capsys):
    assert runner.execute(replace(job, changed={"vf": 0.3, "base.E": 2.0})) == 0
    said = "settings changed: vf=0.3, base.E=2.0"
    assert said in capsys.readouterr().out.splitlines()
    assert said in (job.workdir / "log.txt").read_text()


def test_run_json_tells_what_a_run_needs_to_be_repeated(job):
    runner.execute(job)
    run = state(job)
    assert run["exit_reason"] == "finished"
    assert run["exit_code"] == 0
    assert run["seed"] == 3
    assert run["command"] == ["mmdiff"]
    assert run["versions"]["jax"] == jax.__version__
    assert run["devices"]
    assert run["wall_seconds"] >= run["compile_seconds"] >= 0
    assert json.loads((job.workdir / "config.json").read_text()) == job.settings


def test_an_index_of_the_experiment_stays(job):
    def run():
        (job.workdir / "index.html").write_text("mine")

    assert runner.execute(replace(job, run=run)) == 0
    assert (job.workdir / "index.html").read_text() == "mine"


def test_a_finished_run_is_not_repeated(job, capsys):
    runner.execute(job)
    started = state(job)["started"]
    capsys.readouterr()
    assert runner.execute(failing(job, AssertionError("ran again"))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        f"already done: configs/toy.py finished in {job.workdir} (started {started}, "
    )
    assert lines[0].endswith("Pass --overwrite to run it again.")
    assert lines[1:4] == ["         C11", "cell 0  0.11", "best: cell 0"]
    assert lines[4].startswith("6 files in ")


def test_other_settings_are_refused_with_both_values(job):
    runner.execute(job)
    other = changed(job, seed=4, solver={"tol": 1e-3})
    with pytest.raises(InputError) as caught:
        runner.execute(other)
    assert str(caught.value) == (
        f"workdir {job.workdir} holds another run: config.seed is 3 there and 4 here; "
        "config.solver.tol is 1e-05 there and 0.001 here. Choose another --workdir, or "
        "pass --overwrite to replace it."
    )
    assert json.loads((job.workdir / "config.json").read_text()) == job.settings


def bound(job, **digests):
    """Return a job whose inputs have these digests."""
    config = {**job.settings["config"], **dict.fromkeys(digests, "file")}
    return replace(job, settings={**job.settings, "config": config, "inputs": digests})


def test_a_run_is_bound_to_the_content_of_its_inputs(job, capsys):
    first = bound(job, checkpoint="aa", targets="bb")
    first = replace(first, may_change=frozenset({"inputs.targets"}))
    assert runner.execute(first) == 0
    mark = state(job)["settings_sha256"]
    other = bound(first, checkpoint="ab", targets="bb")
    with pytest.raises(InputError) as caught:
        runner.execute(other)
    assert "the content of config.checkpoint=file has changed since. " in str(
        caught.value
    )
    # A list may be edited; a file that is gone is no other one.
    for digests, runs in (({"targets": "bc"}, 1), ({"checkpoint": None}, 0)):
        done = []
        known = {"checkpoint": "aa", "targets": "bc"} | digests
        again = replace(bound(first, **known), run=lambda: done.append(1))  # noqa: B023
        assert runner.execute(again) == 0 and len(done) == runs
        assert state(job)["settings_sha256"] == mark
    with pytest.raises(InputError, match="has changed since"):
        runner.execute(other)
    assert runner.execute(replace(other, overwrite=True)) == 0
    assert state(job)["settings_sha256"] != mark


DAMAGE = [None, b"", b'{"exp', b"[]", b'{"a": "\xff"}']


@pytest.mark.parametrize("content", DAMAGE)
@pytest.mark.parametrize("finished", [True, False])
def test_results_without_a_readable_config_are_refused(job, content, finished):
    def stopped():
        (job.workdir / "part").write_text("half")
        raise KeyboardInterrupt

    job.workdir.mkdir()
    (job.workdir / "notes.txt").write_text("mine")
    runner.execute(job if finished else replace(job, run=stopped))
    config = job.workdir / "config.json"
    config.unlink() if content is None else config.write_bytes(content)
    before = sorted(job.workdir.iterdir())
    for other in (job, changed(job, seed=4)):
        with pytest.raises(InputError) as caught:
            runner.execute(other)
        assert "but no config.json that can be read" in str(caught.value)
        assert "or pass --overwrite to replace it." in str(caught.value)
    assert sorted(job.workdir.iterdir()) == before
    again = replace(changed(job, seed=4), run=lambda: None, overwrite=True)
    assert runner.execute(again) == 0
    left = {path.name for path in job.workdir.iterdir()}
    assert "notes.txt" in left and not left & {"part", "cell_00.npy"}


def test_nothing_is_deleted_of_a_run_of_which_nothing_is_known(job):
    runner.execute(job)
    for name in ("config.json", "run.json"):
        (job.workdir / name).unlink()
    for overwrite in (False, True):
        with pytest.raises(InputError, match="--workdir, or delete that one."):
            runner.execute(replace(job, overwrite=overwrite))
    assert (job.workdir / "cell_00.npy").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a": "\xff"}', b"{}"])
def test_a_damaged_record_of_a_run_makes_it_go_on(job, capsys, content):
    runner.execute(job)
    (job.workdir / "run.json").write_bytes(content)
    capsys.readouterr()
    assert runner.execute(job) == 0
    assert capsys.readouterr().out.startswith("resuming the run")
    # Its results are known as its own.
    (job.workdir / "cell_00.npy").unlink()
    assert runner.execute(job) == 0
    assert "cell_00.npy is missing" in capsys.readouterr().out


def test_a_run_goes_on_with_keys_that_may_change(job, capsys):
    runner.execute(job)
    further = replace(changed(job, steps=9), may_change=frozenset({"steps"}))
    runs = []
    assert runner.execute(replace(further, run=lambda: runs.append(1))) == 0
    assert runs == [1]
    assert capsys.readouterr().out.count("resuming the run in") == 1
    assert state(job)["attempt"] == 2
    assert json.loads((job.workdir / "config.json").read_text()) == further.settings
    assert runner.execute(failing(further, AssertionError("ran again"))) == 0
    with pytest.raises(InputError, match="there and 4 here. Choose"):
        runner.execute(changed(further, seed=4, steps=10))


def test_many_differences_are_counted(job):
    runner.execute(job)
    with pytest.raises(InputError, match=r"; 2 more keys differ\. Choose"):
        runner.execute(changed(job, a=1, b=2, c=3, d=4, e=5, f=6))


def test_another_experiment_is_refused(job):
    runner.execute(job)
    other = replace(job, settings={**job.settings, "experiment": "train"})
    with pytest.raises(InputError, match="it is of toy, this one is of train"):
        runner.execute(other)


def test_overwrite_replaces_the_run_and_nothing_else(job):
    job.workdir.mkdir()
    (job.workdir / "notes.txt").write_text("mine")
    runner.execute(job)
    other = replace(changed(job, seed=4), run=lambda: None, overwrite=True)
    assert runner.execute(other) == 0
    assert state(job)["seed"] == 4
    assert (job.workdir / "notes.txt").read_text() == "mine"
    assert not (job.workdir / "cell_00.npy").exists()


def test_a_mistake_before_the_first_file_can_be_mended(job):
    assert runner.execute(failing(job, InputError("bad target"))) == 2
    assert runner.execute(changed(job, seed=4)) == 0
    assert state(job)["seed"] == 4


def test_metrics_are_worth_protecting(job):
    def stopped():
        (job.workdir / "metrics.jsonl").write_text('{"step": 1}\n')
        raise InputError("later")

    assert runner.execute(replace(job, run=stopped)) == 2
    with pytest.raises(InputError, match="config.seed is 3 there and 4 here"):
        runner.execute(changed(job, seed=4))


def test_an_unfinished_run_is_resumed(job, capsys):
    temporary = job.workdir / ".part.77.tmp"  # as a killed process leaves it

    def stopped():
        (job.workdir / "part").write_text("half")
        temporary.touch()
        raise KeyboardInterrupt

    def rest():
        assert not temporary.exists()
        assert (job.workdir / "part").read_text() == "half"
        (job.workdir / "part").write_text("whole")

    assert runner.execute(replace(job, run=stopped)) == 130
    error = capsys.readouterr().err
    assert error == "error: interrupted. The same command resumes the run.\n"
    with pytest.raises(InputError, match="config.seed is 3 there and 4 here"):
        runner.execute(changed(job, seed=4))
    assert runner.execute(replace(job, run=rest)) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"resuming the run in {job.workdir}\n")
    assert (job.workdir / "part").read_text() == "whole"
    assert state(job)["attempt"] == 2


def test_a_run_that_was_stopped_in_good_order_has_a_code_of_its_own(job, capsys):
    def stopped():
        (job.workdir / "part").write_text("half")
        return "stopped at step 3 of 6"

    assert runner.execute(replace(job, run=stopped)) == runner.STOPPED == 5
    assert capsys.readouterr().out.splitlines()[-1].startswith("6 files in ")
    assert state(job)["exit_reason"] == "stopped at step 3 of 6"
    assert state(job)["exit_code"] == 5
    assert runner.execute(job) == 0
    assert capsys.readouterr().out.startswith("resuming the run")
    assert state(job)["exit_reason"] == "finished"


def test_the_number_of_workers_makes_no_other_run(job, capsys):
    def stopped():
        (job.workdir / "part").write_text("half")
        raise KeyboardInterrupt

    def rest():
        assert (job.workdir / "part").read_text() == "half"

    assert runner.execute(replace(changed(job, workers=2), run=stopped)) == 130
    assert runner.execute(replace(changed(job, workers=1), run=rest)) == 0
    assert runner.execute(changed(job, workers=3)) == 0
    assert "already done" in capsys.readouterr().out


FAILURES = [
    (InputError("bad target. Mend it."), 2, "bad target. Mend it."),
    (DataError("no checkpoint. Train."), 3, "no checkpoint. Train."),
    (MemoryLimitError("needs 11 GB."), 4, "needs 11 GB."),
    (
        MemoryError("cannot allocate"),
        4,
        "ran out of memory (MemoryError: cannot allocate). Try --config.batch=8.",
    ),
    (
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating"),
        4,
        "ran out of memory (JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory). "
        "Try --config.batch=8.",
    ),
    (
        SystemExit(7),
        1,
        "internal error, SystemExit: 7. The traceback is in {folder}/log.txt: please "
        "report it.",
    ),
    (
        KeyError("mass"),
        1,
        "internal error, KeyError: mass. The traceback is in {folder}/log.txt: "
        "please report it.",
    ),
    (
        FileNotFoundError(errno.ENOENT, "No such file", "elsewhere"),
        1,
        "internal error, FileNotFoundError: [Errno 2] No such file: 'elsewhere'. The "
        "traceback is in {folder}/log.txt: please report it.",
    ),
]


@pytest.mark.parametrize(("error", "code", "message"), FAILURES, ids=repr)
def test_failures_have_one_line_and_a_code(job, capsys, error, code, message):
    assert runner.execute(failing(job, error)) == code
    expected = f"error: {message.format(folder=job.workdir)}\n"
    assert capsys.readouterr().err == expected
    log = (job.workdir / "log.txt").read_text()
    assert "Traceback (most recent call last)" in log
    assert log.endswith(expected)
    assert state(job)["exit_code"] == code
    assert state(job)["exit_reason"].startswith(type(error).__name__)


def test_a_full_disk_names_directory_space_and_flag(job, capsys):
    error = OSError(errno.ENOSPC, "No space left on device")
    assert runner.execute(failing(job, error)) == 2
    message = capsys.readouterr().err
    assert message.startswith(
        f"error: cannot write to workdir {job.workdir}: No space left on device ("
    )
    assert message.endswith(
        "free on its disk). Choose another directory with --workdir=DIR.\n"
    )


def test_debug_prints_the_traceback_too(job, capsys):
    job = replace(failing(job, InputError("bad target")), debug=True)
    assert runner.execute(job) == 2
    message = capsys.readouterr().err
    assert message.startswith("Traceback (most recent call last)")
    assert message.endswith("\nerror: bad target\n")


SCRIPT = """
import signal, sys, time
from pathlib import Path
from mmdiff.run import runner
# A shell that starts the tests in the background makes SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
folder = Path(sys.argv[1])
def run():
    (folder / "part").write_text("half")
    print("begun", flush=True)
    time.sleep(60)
settings = {"experiment": "toy", "config": {"seed": 3}}
sys.exit(runner.execute(runner.Job("configs/toy.py", settings, folder, run)))
"""


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGKILL, "")]
)
def test_stopped_process_is_resumed(job, capsys, number, reason):
    job = replace(job, settings={"experiment": "toy", "config": {"seed": 3}})
    command = [sys.executable, "-c", SCRIPT, str(job.workdir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.stdout.readline().strip() not in ("begun", ""):
            pass
        process.send_signal(number)
        code = process.wait(20)
    assert code == (130 if number == signal.SIGINT else -number)
    assert state(job)["exit_reason"].startswith(reason or "running")
    assert runner.execute(job) == 0
    assert capsys.readouterr().out.startswith(f"resuming the run in {job.workdir}\n")


CONFIG = {
    "resize": 0,
    "vf": 0.3,
    "min_E": 0.0,
    "base": {"E": 1.0, "nu": 0.3},
    "solver": {"tol": 1e-5, "maxiter": 500},
    "train": {"tol": 1e-3},
}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Pass `resize=64`.", "Pass --config.resize=64."),
        ("Pass `resize=64` `nu=0.3`.", "Pass --config.resize=64 --config.base.nu=0.3."),
        ("`maxiter=2000` or `dtype`", "--config.solver.maxiter=2000 or `dtype`"),
        ("`solver.tol=0.1`, not `tol`", "--config.solver.tol=0.1, not `tol`"),
        ("`volume`, `base=2`", "--config.vf, --config.base.E=2"),
        ("`min_young=0.1,0.2`", "--config.min_E=0.1,0.2"),
        ("`--help`, `a b`, --config.vf=1", "`--help`, `a b`, --config.vf=1"),
    ],
)
def test_arguments_become_flags_of_the_config(text, expected):
    assert runner.with_flags(text, {"config": CONFIG}) == expected


def test_arguments_of_a_name_that_the_config_has_keep_it():
    settings = {"config": {"volume": 0.3, "vf": 1.0}}
    assert runner.with_flags("`volume=0.2`", settings) == "--config.volume=0.2"


def test_what_a_run_says_and_refuses_names_flags(job, capsys):
    def run():
        assert console.note("see `tol`") == "see --config.solver.tol"
        raise InputError("Pass `batch=8`.")

    assert runner.execute(replace(job, run=run)) == 2
    assert capsys.readouterr().err == "error: Pass --config.batch=8.\n"
    log = (job.workdir / "log.txt").read_text()
    assert "note: see --config.solver.tol\n" in log
    assert "Pass --config.batch=8." in log
