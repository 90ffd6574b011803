"""The server as it runs: what it answers, and what it does with bad requests."""

import concurrent.futures
import contextlib
import io
import json
import logging
import os
import socket
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import serve_helpers
from serve_helpers import TOKEN, UPLOAD_BYTES, ask, ask_json, npy

from mmdiff import main
from mmdiff.design.serve import job as jobs
from mmdiff.design.serve import server
from mmdiff.errors import InputError
from mmdiff.run import environment, runner

SECRET = "outside of the workdir"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """State, port and folder of a server with one finished job."""
    folder = tmp_path_factory.mktemp("serve")
    (folder / "secret.txt").write_text(SECRET)
    with serve_helpers.served(folder / "work") as (state, port):
        serve_helpers.make_finished(state)
        yield state, port, folder / "work"


@pytest.fixture(autouse=True)
def nothing_else_is_written(running):
    """Whatever is asked: nothing changes outside of the workdir, nothing is left."""
    state, port, folder = running
    yield
    beside = sorted(path.name for path in folder.parent.iterdir())
    assert beside == ["secret.txt", "work"]
    assert (folder.parent / "secret.txt").read_text() == SECRET
    left = folder / "jobs" / ".uploads"
    assert not left.exists() or not list(left.iterdir())
    for line in state.list():
        if line["state"] == jobs.QUEUED:
            state.cancel(state.find(line["id"]))
    assert ask_json(port, "GET", "/api/jobs")[0] == 200  # it is alive


def test_the_printed_address_sets_a_cookie_and_drops_the_token(running):
    _, port, _ = running
    none = {"Authorization": None}
    status, headers, _ = ask(port, "GET", f"/?token={TOKEN}", headers=none)
    assert status == 303 and headers["location"] == "/"
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    with_cookie = {**none, "Cookie": cookie.partition(";")[0]}
    status, headers, body = ask(port, "GET", "/", headers=with_cookie)
    assert status == 200 and b"/static/main.js" in body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_the_page_is_whole_and_asks_no_other_server(running):
    _, port, _ = running
    page = ask(port, "GET", "/")[2].decode()
    names, seen = {"main.js", "style.css"}, {}
    while names - seen.keys():
        name = (names - seen.keys()).pop()
        status, _, body = ask(port, "GET", f"/static/{name}", headers={})
        assert status == 200, name
        seen[name] = body.decode()
        names |= {
            part.partition('"')[0] for part in seen[name].split('from "/static/')[1:]
        }
    assert {"view.js", "region.js", "compare.js"} <= seen.keys()
    for text in (page, *seen.values()):
        assert "http:" not in text and "https:" not in text and "//cdn" not in text


def test_a_finished_job_has_cells_walls_files_and_an_archive(running):
    _, port, _ = running
    status, found = ask_json(port, "GET", "/api/jobs/1")
    assert status == 200 and len(found["cells"]) == 2
    assert found["command"].endswith("--config.target=0.2,0.05,0.06")
    status, walls = ask_json(port, "GET", "/api/jobs/1/walls/1")
    assert status == 200 and walls["shape"] == [16, 16, 16]
    status, headers, body = ask(port, "GET", "/jobs/1/cell_01.stl")
    assert status == 200 and len(body) == 300_000
    assert headers["content-disposition"] == 'attachment; filename="0001_cell_01.stl"'
    status, headers, body = ask(port, "GET", "/jobs/1/index.html")
    assert "connect-src" not in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    status, _, body = ask(port, "GET", "/jobs/1/all.zip")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        assert "mmdiff_0001/cell_00.npy" in archive.namelist()


def test_cells_are_asked_for_cancelled_and_removed(running):
    state, port, folder = running
    given = {"target": "0.11,0.045,0.04", "vf": 0.3, "seed": 7}
    status, line = ask_json(port, "POST", "/api/jobs", given)
    assert status == 201 and line["title"] == "0.11,0.045,0.04, V=0.3"
    job = state.find(line["id"])
    assert job.settings["seed"] == 7 and job.settings["base"]["E"] == 1.0
    assert ask_json(port, "POST", f"/api/jobs/{job.id}/cancel", {})[0] == 200
    assert job.state == jobs.CANCELLED
    assert ask_json(port, "DELETE", f"/api/jobs/{job.id}")[0] == 200
    assert ask_json(port, "GET", f"/api/jobs/{job.id}")[0] == 404
    assert not job.folder.exists()


def test_a_file_is_kept_under_a_name_of_ours(running):
    state, port, folder = running
    body = npy(np.ones((8, 8, 8), np.uint8))
    path = "/api/files?name=..%2F..%2Fsecret.NPY&settings=%7B%22scale%22%3A2%7D"
    kind = {"Content-Type": "application/octet-stream"}
    status, _, answer = ask(port, "POST", path, body, kind)
    job = state.find(json.loads(answer)["id"])
    assert status == 201 and job.title == "../../secret.NPY"
    assert (job.folder / "input.npy").read_bytes() == body
    assert job.settings["scale"] == 2.0


def test_the_queue_has_an_end(running):
    _, port, _ = running
    given = {"target": "0.11,0.045,0.04"}
    found = [ask_json(port, "POST", "/api/jobs", given) for _ in range(4)]
    assert [status for status, _ in found] == [201, 201, 201, 429]
    assert "3 jobs are waiting already" in found[-1][1]["error"]


def test_events_tell_of_jobs_and_end_with_their_listener(running):
    state, port, _ = running
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        head = f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        sock.sendall(f"{head}Authorization: Bearer {TOKEN}\r\n\r\n".encode())
        while not state._listeners:
            time.sleep(0.01)
        state.change(state.find(1), seconds=4.5)
        text = b""
        while b"4.5" not in text:
            text += sock.recv(65536)
    assert b"event: job\ndata: {" in text
    end = time.monotonic() + 10
    while state._listeners:  # it notices with the next event
        state.change(state.find(1), seconds=4.5)
        assert time.monotonic() < end
        time.sleep(0.05)


def raw(port, data, timeout=5):
    """Return what is answered to these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(data)
        parts = []
        with contextlib.suppress(ConnectionError, TimeoutError):
            while part := sock.recv(65536):
                parts.append(part)
    return b"".join(parts)


FILE = {"Content-Type": "application/octet-stream"}
HUGE = str(10**12)
GENERATE = json.dumps({"target": "0.11,0.045,0.04"})
BAD = {
    "no token": ("GET", "/api/jobs", None, {"Authorization": None}, 401),
    "wrong token": ("GET", "/?token=abc", None, {"Authorization": None}, 401),
    "wrong bearer": ("POST", "/api/jobs", GENERATE, {"Authorization": "Bearer a"}, 401),
    "no token, a file": ("GET", "/jobs/1/a", None, {"Authorization": None}, 401),
    "foreign host": ("GET", "/api/jobs", None, {"Host": "evil.example"}, 421),
    "foreign origin": ("POST", "/api/jobs", GENERATE, {"Origin": "http://a.b"}, 403),
    "null origin": ("POST", "/api/jobs", GENERATE, {"Origin": "null"}, 403),
    "image of another site": (
        *("GET", "/jobs/1/cell_00.stl", None),
        *({"Sec-Fetch-Site": "cross-site"}, 403),
    ),
    "form": ("POST", "/api/jobs", GENERATE, {"Content-Type": "text/plain"}, 415),
    "method": ("PUT", "/api/jobs", GENERATE, {}, 405),
    "path up": ("GET", "/jobs/1/..%2F..%2F..%2Fsecret.txt", None, {}, 404),
    "path up, plain": ("GET", "/jobs/1/../../../secret.txt", None, {}, 404),
    "path up, twice": ("GET", "/jobs/1/%252e%252e%252fsecret.txt", None, {}, 404),
    "path from root": ("GET", "/jobs/1//etc/passwd", None, {}, 404),
    "path, zero byte": ("GET", "/jobs/1/cell_00.npy%00", None, {}, 404),
    "path, backslash": ("GET", "/jobs/1/..%5Csecret.txt", None, {}, 404),
    "static path up": ("GET", "/static/..%2Fapp.py", None, {}, 404),
    "own file of the job": ("GET", "/jobs/1/job.json", None, {}, 404),
    "no such job": ("GET", "/api/jobs/99", None, {}, 404),
    "huge number": ("GET", f"/api/jobs/{10**100}", None, {}, 404),
    "negative job": ("GET", "/api/jobs/-1", None, {}, 404),
    "no such cell": ("GET", "/api/jobs/1/walls/77", None, {}, 404),
    "long address": ("GET", "/api/jobs?" + "a" * 5000, None, {}, 414),
    "no JSON": ("POST", "/api/jobs", "{", {}, 400),
    "list": ("POST", "/api/jobs", "[1, 2]", {}, 400),
    "null": ("POST", "/api/jobs", "null", {}, 400),
    "deep JSON": ("POST", "/api/jobs", "[" * 60_000, {}, 400),
    "NaN": ("POST", "/api/jobs", '{"vf": NaN}', {}, 400),
    "bytes": ("POST", "/api/jobs", b"\xff\xfe\x00", {}, 400),
    "wrong type": ("POST", "/api/jobs", '{"target": 3}', {}, 400),
    "huge number in JSON": ("POST", "/api/jobs", f'{{"seed": {10**400}}}', {}, 400),
    "digits for ever": ("POST", "/api/jobs", f'{{"seed": {"9" * 9000}}}', {}, 400),
    "other key": ("POST", "/api/jobs", '{"checkpoint": "/etc/passwd"}', {}, 400),
    "target from a file": ("POST", "/api/jobs", '{"target": "secret.txt"}', {}, 400),
    "cannot be": ("POST", "/api/jobs", '{"target": "0.9,0.1,0.1"}', {}, 400),
    "many cells": ("POST", "/api/jobs", '{"num_best": 1000}', {}, 400),
    "large JSON": ("POST", "/api/check", " " * 70_000, {}, 413),
    "stated size": ("POST", "/api/jobs", "", {"Content-Length": HUGE}, 413),
    "stated size of a file": (
        *("POST", "/api/files?name=a.npy", b""),
        *({**FILE, "Content-Length": HUGE}, 413),
    ),
    "large file": (
        *("POST", "/api/files?name=a.npy", bytes(UPLOAD_BYTES + 1)),
        *(FILE, 413),
    ),
    "empty file": ("POST", "/api/files?name=a.npy", b"", FILE, 400),
    "other format": ("POST", "/api/files?name=a.exe", b"MZ", FILE, 400),
    "linking format": ("POST", "/api/files?name=a.nhdr", b"NRRD", FILE, 400),
    "no name": ("POST", "/api/files", b"a", FILE, 400),
    "name of a folder": ("POST", "/api/files?name=.npy/..", b"a", FILE, 400),
    "file, other key": (
        *("POST", "/api/files?name=a.npy&settings=%7B%22input%22%3A1%7D", b"a"),
        *(FILE, 400),
    ),
    "file, no JSON": ("POST", "/api/files?name=a.npy&settings=%7B", b"a", FILE, 400),
    "region of no number": ("GET", "/api/region?nu=x", None, {}, 400),
    "region out of range": ("GET", "/api/region?nu=9", None, {}, 400),
    "region of nan": ("GET", "/api/region?nu=nan", None, {}, 400),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_gets_a_clear_answer(running, name):
    state, port, _ = running
    method, path, body, headers, expected = BAD[name]
    before = len(state.list())
    status, known, answer = ask(port, method, path, body, headers)
    text = json.loads(answer).get("error", "")
    assert status == expected, text
    assert len(text) > 8 and "Traceback" not in text and SECRET not in text
    assert known["x-content-type-options"] == "nosniff"
    assert len(state.list()) == before


def test_what_is_no_http_is_refused(running):
    _, port, _ = running
    for data in (
        b"\x16\x03\x01\x02\x00\x01",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ):
        assert raw(port, data)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 421")
    endless = b"GET / HTTP/1.1\r\nA: " + b"a" * 200_000
    assert b"400" in raw(port, endless)[:15]


def test_two_hosts_are_none(running):
    _, port, _ = running
    host = f"Host: 127.0.0.1:{port}\r\n".encode()
    answer = raw(port, b"GET /api/jobs HTTP/1.1\r\n" + host + host + b"\r\n")
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 421")


def test_a_file_without_a_stated_size_is_cut_at_the_limit(running):
    _, port, _ = running
    head = (
        f"POST /api/files?name=a.npy HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/octet-stream\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ).encode()
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    assert raw(port, head + 16 * chunk)[:12] == b"HTTP/1.1 413"


def test_a_sender_that_leaves_half_way_leaves_nothing(running):
    _, port, folder = running
    head = (
        f"POST /api/files?name=a.npy HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/octet-stream\r\n"
        "Content-Length: 100000\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(head + bytes(5000))
        wait_until(lambda: list((folder / "jobs" / ".uploads").glob("*")))
    wait_until(lambda: not list((folder / "jobs" / ".uploads").glob("*")))


def wait_until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def resident():
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_downloads_that_are_cancelled_cost_nothing(running):
    state, port, folder = running
    big = state.find(1).folder / "big.bin"
    big.write_bytes(bytes(60_000_000))
    before = resident()
    for name in ("big.bin", "all.zip"):
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                head = f"GET /jobs/1/{name} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                sock.sendall(f"{head}Authorization: Bearer {TOKEN}\r\n\r\n".encode())
                assert sock.recv(1000)
    big.unlink()
    assert resident() - before < 60_000_000  # of 1.2 GB asked for


def test_fifty_clients_at_once_are_answered(running):
    _, port, _ = running
    paths = ("/api/jobs/1", "/jobs/1/cell_00.stl", "/jobs/1/all.zip", "/api/jobs", "/")
    before = resident() if Path("/proc/self/statm").exists() else 0

    def client(i):
        return [ask(port, "GET", paths[(i + k) % 5], timeout=60)[0] for k in range(3)]

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        found = list(pool.map(client, range(50)))
    assert {status for statuses in found for status in statuses} == {200}
    if before:
        assert resident() - before < 200_000_000


def test_an_unexpected_error_is_told_without_its_details(running, monkeypatch, capfd):
    state, port, _ = running
    monkeypatch.setattr(state, "list", lambda: 1 / 0)
    status, found = ask_json(port, "GET", "/api/jobs")
    assert status == 500
    assert found["error"] == "internal error, ZeroDivisionError. See the terminal."
    monkeypatch.undo()


def test_requests_are_noted_without_the_token(running):
    _, port, folder = running
    ask(port, "GET", f"/?token={TOKEN}", headers={"Authorization": None})
    ask(port, "GET", "/jobs/1/%0aforged")
    log = folder / "requests.log"
    wait_until(lambda: "\\nforged" in log.read_text())  # noted after the answer
    text = log.read_text()
    assert "GET / 303" in text and TOKEN not in text and "\nforged" not in text


def test_a_port_that_is_taken_is_refused(running):
    _, port, _ = running
    with pytest.raises(InputError, match=f"port {port} of 127.0.0.1 cannot be used"):
        server.bound(port)


def test_a_server_that_ended_is_started_again_in_its_workdir(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "enable_compilation_cache", lambda: None)
    served = []
    monkeypatch.setattr(server, "serve", lambda folder, *a, **k: served.append(folder))
    line = ["mmdiff", "--config=configs/serve.py", f"--workdir={tmp_path / 'serve'}"]
    for count in (1, 2):
        assert main.main(line) == runner.STOPPED
        assert len(served) == count
    run = json.loads((tmp_path / "serve" / "run.json").read_text())
    assert run["exit_reason"] == "the server was stopped" and run["attempt"] == 2


def test_what_is_no_http_behind_a_request_ends_without_a_traceback(tmp_path):
    heads = "Host: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = f"POST /api/jobs HTTP/1.1\r\n{heads}{100_000 * '1,'}".encode()
    found, log = [], logging.getLogger("uvicorn.error")
    handler = logging.Handler()
    handler.emit = found.append
    with serve_helpers.served(tmp_path) as (_, port):
        log.addHandler(handler)
        for _ in range(5):
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", port), 20) as client:
                    client.sendall(whole)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(1 << 16):
                        pass
        assert ask(port, "GET", "/api/jobs")[0] == 200
        log.removeHandler(handler)
    assert found and not any(record.exc_info for record in found)
