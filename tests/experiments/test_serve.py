"""The command starts a server, makes a cell, ends with Ctrl-C, and knows it again."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time

import pytest
from serve_helpers import ask

CONFIG = "configs/serve.py"


@contextlib.contextmanager
def command(folder):
    """Yield process, port and token of the command."""
    line = [sys.executable, "-m", "mmdiff.main", f"--config={CONFIG}"]
    line += [f"--workdir={folder}", "--config.port=0", "--config.workers=1"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        found = None
        while found is None:
            text = process.stdout.readline()
            assert text, "the command ended"
            found = re.search(r"open http://127\.0\.0\.1:(\d+)/\?token=(\S+)", text)
        yield process, int(found[1]), found[2]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.long
def test_a_cell_is_made_and_there_after_a_restart(tmp_path):
    def asked(method, path, value=None):
        body = None if value is None else json.dumps(value)
        headers = {"Authorization": f"Bearer {token}"}
        status, _, text = ask(port, method, path, body, headers, timeout=60)
        assert status in (200, 201), text
        return json.loads(text)

    given = {"target": "0.11,0.045,0.04", "num_best": 1, "num_samples": 2}
    given["polish_steps"] = 0
    with command(tmp_path / "serve") as (_, port, token):
        asked("POST", "/api/jobs", given)
        end = time.monotonic() + 900
        while (found := asked("GET", "/api/jobs/1"))["state"] in ("queued", "running"):
            assert time.monotonic() < end
            time.sleep(0.5)
        assert found["state"] == "finished", found["message"]
        assert len(found["cells"]) == 1 and found["cells"][0]["view"]
        names = {file["name"] for file in found["files"]}
        assert {f"cell_00.{kind}" for kind in ("stl", "3mf", "inp", "mac")} <= names
        # Ctrl-C with one at work.
        asked("POST", "/api/jobs", {**given, "num_samples": 64})
    with command(tmp_path / "serve") as (_, port, token):
        lines = asked("GET", "/api/jobs")["jobs"]
        assert [(x["id"], x["state"]) for x in lines] == [
            (2, "cancelled"),
            (1, "finished"),
        ]
        assert asked("GET", "/api/jobs/1")["cells"] == found["cells"]
