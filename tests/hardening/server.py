"""The web page's server under many clients and malformed requests.

The command itself serves, with a token; clients send what no browser would: bytes at
random, requests with parts cut out or repeated, paths that lead outside, bodies that
are no JSON, huge or of other things. Each is answered with a refusal or dropped. Now
and then a client asks as a browser does, and must get its answer.
"""

import re
import signal
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from hardening import runs, soak
from hardening.fuzz import mutated

CLIENTS = 50
SECONDS = 30.0  # for an answer
PATHS = (
    *("/", "/static/app.js", "/api/jobs", "/api/about", "/api/region", "/api/check"),
    *("/api/files", "/api/jobs/1", "/api/jobs/1/cancel", "/api/jobs/1/walls/0"),
    *("/../../etc/passwd", "/static/..%2f..%2fetc%2fpasswd", "/api/jobs/../../x"),
    *("/api/jobs/99999999999999999999", "/api/jobs/-1", "/%00", "/" + 9000 * "a"),
    "/api/files?name=../../outside.npy",
)
BODIES = (
    *(b"", b"{", b"[]", b"null", b'"a"', b"\xff\xfe", b'{"target": {}}', 9000 * b"["),
    *(b'{"target": "/etc/passwd"}', b'{"seed": 1e999}', b'{"seed": NaN}'),
    *(b'{"num_samples": 1000000000}', b'{"target": "0.1,0.05,0.04", "workers": 99}'),
    b'{"target": "' + 100_000 * b"1," + b'"}',
)
KINDS = ("application/json", "text/html", "")
ROUTES = (
    *(("POST", "/api/jobs"), ("POST", "/api/check"), ("POST", "/api/files?name=a.npy")),
    *(("POST", "/api/files?name=../../outside.npy"), ("POST", "/api/jobs/1/cancel")),
    *(("GET", "/api/region?nu=nan"), ("GET", "/api/jobs/99999999999999999999")),
    *(("DELETE", "/api/jobs/1"), ("GET", "/api/jobs/1/walls/99999999999999999999")),
)
METHODS = ("GET", "POST", "DELETE", "PUT", "OPTIONS", "TRACE", "get", "X" * 300, "")


def request(number: int, port: int, token: str) -> bytes:
    """Return the bytes of a malformed request."""
    rng = np.random.default_rng(number)

    def one(values):
        return values[int(rng.integers(len(values)))]

    if rng.random() < 0.1:
        return rng.bytes(int(rng.integers(1, 2000)))
    # Half of the requests pass the guard, for what is behind it to be asked.
    passes = rng.random() < 0.5
    host, body = f"127.0.0.1:{port}", one(BODIES)
    method, path = (one(METHODS), one(PATHS))
    length, key, kind, origin, place = (
        len(body),
        token,
        KINDS[0],
        f"http://{host}",
        host,
    )
    if passes:
        method, path = one(ROUTES)
    else:
        length = one((len(body), 0, -1, 10**12, "a"))
        key = one((token, token[:-1], "", "x" * 5000))
        kind, place = one(KINDS), one((host, "example.org", ""))
        origin = one((origin, "http://example.org", "null"))
    version = "1.1" if passes else one(("1.1", "1.0", "9.9", "a"))
    lines = [
        f"{method} {path} HTTP/{version}",
        f"Host: {place}",
        f"Authorization: Bearer {key}",
        f"Content-Type: {kind}",
        f"Content-Length: {length}",
        f"Origin: {origin}",
        "Connection: close",
    ]
    if not passes and rng.random() < 0.2:
        lines[4] = "Transfer-Encoding: chunked"
    whole = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    return whole if passes or rng.random() < 0.5 else mutated(whole, rng)


def send(content: bytes, port: int) -> str:
    """Send bytes; returns the status, or how there was none."""
    try:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            client.sendall(content)
            client.shutdown(socket.SHUT_WR)
            found = client.recv(64)
            while client.recv(1 << 16):
                pass
    except TimeoutError:
        return "no answer"
    except OSError:
        return "dropped"
    match = re.match(rb"HTTP/1\.[01] (\d+)", found)
    return match[1].decode() if match else "dropped"


def polite(port: int, token: str) -> str:
    """Ask as the page does; returns the status."""
    text = f"GET /api/jobs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    text += f"Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    return send(text.encode(), port)


def attack(port: int, token: str, numbers: range, on_done) -> Counter:
    """Send requests from `CLIENTS` clients at once; returns the answers by status."""
    lock, found = threading.Lock(), Counter()

    def one(number):
        if number % 50 == 0:
            status = f"polite {polite(port, token)}"
        else:
            status = send(request(number, port, token), port)
        with lock:
            found[status] += 1
            on_done(sum(found.values()))

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(one, numbers))
    return found


def under_attack(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Serve and attack; returns what was seen."""
    place, log, begin = folder / "serve", folder / "serve.log", time.monotonic()
    place.mkdir(exist_ok=True)
    log.write_bytes(b"")
    line = ["mmdiff", f"--config={runs.ROOT / 'configs' / 'serve.py'}"]
    line += [f"--workdir={place / 'out'}", "--config.port=0", "--config.workers=1"]
    process, memory = runs.start(line, log), []

    def started():
        text = log.read_text("utf-8")
        return re.search(r"open http://127\.0\.0\.1:(\d+)/\?token=(\S+)", text)

    def on_done(done):
        if done % max(count // 10, 1) == 0:
            memory.append(round(soak.resident([process.pid]) / 1e6))

    try:
        runs.wait_for(lambda: process.ended() or started())
        port, token = started().groups()
        before = _outside(folder)
        found = attack(int(port), token, range(seed, seed + count), on_done)
        alive = process.ended() is None and polite(int(port), token) == "200"
        process.kill(signal.SIGINT)
        code = process.ended(wait=True).code
    finally:
        process.kill()
    return {
        "requests": count,
        "clients": CLIENTS,
        "answers": dict(sorted(found.items())),
        "alive": alive,
        "code": code,
        "megabytes": memory,
        "outside": sorted(_outside(folder) - before)[:5],
        "tracebacks": log.read_text("utf-8", "replace").count("Traceback"),
        "seconds": round(time.monotonic() - begin),
    }


def _outside(folder: Path) -> set[str]:
    """Return the files beside the workdir, and above it."""
    places = (folder / "serve", folder, folder.parent)
    found = {str(path) for place in places for path in place.iterdir()}
    return found - {str(folder / "results.json")}


def measure(results: Any, count: int, seed: int, folder: Path, only=()) -> None:
    """Send `count` requests."""
    runs.load()
    key = f"{count} {seed}"
    if not results.has("server", key):
        results.add("server", key, under_attack(count, seed, folder))
