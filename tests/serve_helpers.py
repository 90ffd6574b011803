"""A server of the page on loopback, with jobs that need no workers."""

import contextlib
import http.client
import io
import json
import threading
import time
from pathlib import Path

import numpy as np
from design_helpers import wave

from mmdiff import main
from mmdiff.design.serve import job as jobs
from mmdiff.design.serve import server
from mmdiff.design.serve.app import make_app
from mmdiff.design.serve.guard import guarded
from mmdiff.design.serve.settings import Known
from mmdiff.design.serve.state import State
from mmdiff.io.json import write_json
from mmdiff.io.viewer import viewer

TOKEN = "the-token-of-the-tests"
UPLOAD_BYTES = 200_000
C = np.diag([0.2, 0.2, 0.2, 0.06, 0.06, 0.06]) + 0.05 * np.pad(
    1 - np.eye(3), [(0, 3), (0, 3)]
)


def known():
    """Settings of the configs, as the experiment finds them."""
    found = {}
    for kind in ("generate", "homogenize"):
        loaded = main.load_config(f"configs/{kind}.py")
        found[kind] = Known(loaded.config.to_dict(), loaded.ranges)
    return found


def cell(number):
    """What properties.json says of a cell, as far as the page reads it."""
    return {
        "file": f"cell_{number:02d}.npy",
        **{"C": C.tolist(), "C11": 0.2, "C12": 0.05, "C44": 0.06, "K": 0.1, "G": 0.06},
        **{"E": 0.18, "nu": 0.2, "Zener": 0.8, "volume": 0.5, "error": 0.001},
        "printability": {"wall": 0.5, "gap": 0.6, "trapped": 0.0},
    }


def make_finished(state, cells=2):
    """Return a finished job with files, as if workers had been at it."""
    given = {"target": "0.2,0.05,0.06"}
    settings = {**known()["generate"].values, **given}
    job = state.submit("generate", "0.2,0.05,0.06, V=0.3", settings, given)
    state.next_job()
    write_finished(job.folder, cells)
    state.change(job, state=jobs.FINISHED, seconds=12.3)
    return job


def write_finished(folder, cells=2):
    """Write the files of a finished run."""
    found = [cell(i) for i in range(cells)]
    write_json(folder / "properties.json", {"cells": found, "target": {}})
    shown = [(f"cell {i}", np.ones((16, 16, 16)), wave(8)) for i in range(cells)]
    (folder / "index.html").write_text(viewer(shown))
    for i in range(cells):
        np.save(folder / f"cell_{i:02d}.npy", np.ones((4, 4, 4), np.uint8))
        (folder / f"cell_{i:02d}.stl").write_bytes(bytes(300_000))


@contextlib.contextmanager
def served(folder: Path, most_waiting=3, port=0):
    """Yield the state and the port of a server as it is in use, but without workers."""
    state = State(folder / "jobs", most_waiting=most_waiting)
    listening = server.bound(port)
    port = listening.getsockname()[1]
    app = make_app(state, known(), upload_bytes=UPLOAD_BYTES)
    app = guarded(app, token=TOKEN, port=port)
    with server.request_log(folder / "requests.log") as note:
        running = server.make_server(server.logged(app, note), state)
        thread = threading.Thread(target=running.run, args=([listening],))
        thread.start()
        while not running.started:
            time.sleep(0.01)
        try:
            yield state, port
        finally:
            running.should_exit = True
            thread.join()
            listening.close()


def ask(port, method, path, body=None, headers=(), timeout=20):
    """Return status, headers and body of an answer; headers of None are left out."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    known_headers = {"Authorization": f"Bearer {TOKEN}", **dict(headers)}
    if method == "POST":
        known_headers = {"Content-Type": "application/json", **known_headers}
    given = {k: v for k, v in known_headers.items() if v is not None}
    try:
        connection.request(method, path, body, given)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, response.read()
    finally:
        connection.close()


def ask_json(port, method, path, value=None, **options):
    """Return status and JSON of an answer."""
    body = None if value is None else json.dumps(value)
    status, _, body = ask(port, method, path, body, **options)
    return status, json.loads(body)


def npy(array):
    """Return the bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
