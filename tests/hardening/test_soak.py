"""The pieces of the soak that need no run."""

import subprocess
import sys

from hardening import runs, soak

from mmdiff.targets import table


def test_targets_of_the_list_can_be_asked_for(tmp_path):
    lines = table.check(table.read(soak.write_list(tmp_path / "list.csv", 200, 0)))
    assert len(lines) == 200 and not any(line.problem for line in lines)


def test_processes_and_their_memory_are_found():
    code = (
        "import subprocess, sys\n"
        "inner = [sys.executable, '-c', 'print(7, flush=True); input()']\n"
        "subprocess.run(inner)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as outer:
        assert outer.stdout.readline() == "7\n"  # said by the one inside
        (inner,) = runs.family(outer.pid)
        assert soak.resident([inner]) > 1e6
        outer.communicate("\n")
    assert runs.family(outer.pid) == [] and soak.resident([inner]) == 0
