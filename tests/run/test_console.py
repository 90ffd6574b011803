import math
import os
import subprocess
import sys

import numpy as np
import pytest

from mmdiff.run import console


def test_table_is_aligned_and_leaves_blanks():
    rows = [["asked", 0.11, None], ["cell 0", np.float32(0.1234567), 3]]
    assert console.format_table(rows, ["", "C11", "pieces"]) == [
        "           C11  pieces",
        "asked     0.11",
        "cell 0  0.1235       3",
    ]


def test_short_rows_and_not_a_number():
    lines = console.format_table([["a"], ["b", math.nan]], ["name", "value"])
    assert lines == ["name  value", "a", "b       nan"]


def test_everything_said_goes_to_the_log(tmp_path, capsys):
    log = tmp_path / "log.txt"
    with console.logging_to(log):
        console.say("hello")
        console.note("slow")
        console.error("broken")
    console.say("after")
    captured = capsys.readouterr()
    assert captured.out == "hello\nnote: slow\nafter\n"
    assert captured.err == "error: broken\n"
    assert log.read_text() == "hello\nnote: slow\nerror: broken\n"


def test_what_is_said_is_returned_with_its_flags(tmp_path, capsys):
    def spell(text):
        return text.replace("`tol`", "--config.tol")

    assert console.note("see `tol`") == "see `tol`"
    with console.logging_to(tmp_path / "log.txt", spell):
        assert console.say("set `tol`") == "set --config.tol"
        assert console.note("see `tol`") == "see --config.tol"
        console.error("`tol` is 0")
    captured = capsys.readouterr()
    assert captured.out.endswith("set --config.tol\nnote: see --config.tol\n")
    assert captured.err == "error: --config.tol is 0\n"
    log = (tmp_path / "log.txt").read_text()
    assert log == captured.out.partition("\n")[2] + captured.err


def test_a_reader_that_leaves_stops_nothing(tmp_path):
    code = (
        "import pathlib, sys\n"
        "from mmdiff.run import console\n"
        "with console.logging_to(pathlib.Path(sys.argv[1])):\n"
        "    console.say('first')\n"
        "    console.table([['a', 1]], ['', 'x'])\n"
        "    console.say('last')\n"
    )
    read, write = os.pipe()
    os.close(read)  # as `| head` does when it has enough
    log = tmp_path / "log.txt"
    done = subprocess.run(
        [sys.executable, "-c", code, log], stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert done.returncode == 0 and done.stderr == b""
    assert log.read_text() == "first\n   x\na  1\nlast\n"


def test_summary_is_the_last_table_and_what_follows(tmp_path):
    assert console.summary() == ""
    with console.logging_to(tmp_path / "log.txt"):
        console.table([["a", 1]], ["", "x"])
        console.say("first")
        assert console.summary() == "   x\na  1\nfirst"
        console.table([["b", 2]], ["", "y"])
        console.say("best: b")
        assert console.summary() == "   y\nb  2\nbest: b"
    assert console.summary() == ""


def test_progress_without_a_terminal_prints_plain_lines(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(console, "PLAIN_INTERVAL", 0.0)
    with (
        console.logging_to(tmp_path / "log.txt"),
        console.progress("steps", total=2) as advance,
    ):
        advance(info="loss 1")
        advance()
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["steps: 1/2 after 0 s loss 1", "steps: 2/2 after 0 s"]
    assert "steps: done in 0.0 s" in (tmp_path / "log.txt").read_text()


def test_short_loops_are_silent_without_a_terminal(capsys):
    with console.progress("steps", total=2) as advance:
        advance(2)
    assert capsys.readouterr().out == ""


def test_on_a_terminal_the_text_is_the_same(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with console.logging_to(tmp_path / "log.txt"):
        console.table([["cell 0", 0.5]], ["", "V [1]"])
        with console.progress("steps", total=1) as advance:
            advance()
    expected = ["        V [1]", "cell 0    0.5"]
    assert (tmp_path / "log.txt").read_text().splitlines()[:2] == expected
    printed = capsys.readouterr().out
    assert all(line in printed for line in expected)


def test_progress_passes_errors_on():
    with pytest.raises(ZeroDivisionError), console.progress("steps", total=1):
        raise ZeroDivisionError
