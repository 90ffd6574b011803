"""The server process: socket, token, log of requests, and an orderly end."""

import contextlib
import dataclasses
import importlib.util
import logging
import logging.handlers
import pathlib
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmdiff.design.serve import driver
from mmdiff.design.serve.app import make_app
from mmdiff.design.serve.guard import guarded
from mmdiff.design.serve.settings import Known
from mmdiff.design.serve.state import State
from mmdiff.errors import InputError
from mmdiff.run import console

MOST_CONNECTIONS = 256
LOG_BYTES = 2_000_000  # of requests.log, and of the one before


@dataclasses.dataclass(frozen=True)
class Limits:
    """What requests may take; the memory of a file is beyond that of a worker."""

    upload_bytes: int = 64_000_000
    memory_bytes: int = 8_000_000_000
    most_waiting: int = 8


def serve(
    folder: pathlib.Path,
    known: Mapping[str, Known],
    *,
    port: int = 8765,
    workers: int = 0,
    limits: Limits = Limits(),
) -> None:
    """Serve the page until the process is interrupted; jobs lie in `folder/jobs`.

    Args:
      folder: workdir.
      known: settings and ranges of generate and homogenize.
      port: of 127.0.0.1, 0 for any that is free.
      workers: processes that compute, 0 for one on each core.
      limits: of requests.

    Raises:
      InputError: the port is taken, or starlette and uvicorn are missing.
    """
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise InputError(
            "the page needs starlette and uvicorn. Install them with pip install "
            "'mmdiff[web]'."
        )
    listening = bound(port)
    port = listening.getsockname()[1]
    state = State(folder / "jobs", most_waiting=limits.most_waiting)
    shutil.rmtree(state.folder / ".uploads", ignore_errors=True)
    token = secrets.token_urlsafe(24)
    app = make_app(state, known, upload_bytes=limits.upload_bytes)
    app = guarded(app, token=token, port=port)
    console.say(f"open http://127.0.0.1:{port}/?token={token}")
    console.say("Ctrl-C ends the server; what it made stays and is there again.")
    thread = driver.start(
        state,
        checkpoint=known["generate"].values["checkpoint"],
        memory_bytes=limits.memory_bytes,
        processes=workers,
    )
    try:
        with request_log(folder / "requests.log") as note:
            make_server(logged(app, note), state).run(sockets=[listening])
    finally:
        state.close()
        thread.join()
        listening.close()


def make_server(app: Any, state: State) -> Any:
    """Return a uvicorn server of an ASGI application, whose end closes the state.

    Else the events would go on for ever.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets=None):
            state.close()
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="off",
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=2,
        )
    )


def bound(port: int) -> socket.socket:
    """Return a socket of 127.0.0.1 on this port, 0 for any that is free.

    Raises:
      InputError: if it is taken.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen()  # from now on whoever asks waits, until it is answered
    except OSError as error:
        listening.close()
        raise InputError(
            f"port {port} of 127.0.0.1 cannot be used ({error.strerror}). Pass "
            "`port=0` for one that is free."
        ) from error
    return listening


@contextlib.contextmanager
def request_log(path: pathlib.Path) -> Iterator[Callable[[str], None]]:
    """Yield what writes a line to a file that does not grow beyond `LOG_BYTES`."""
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log = logging.Logger("mmdiff.requests")
    log.addHandler(handler)
    with contextlib.closing(handler):
        yield log.info


def logged(app: Any, note: Callable[[str], None]) -> Any:
    """Return an ASGI application that notes each request of another.

    Only method, path, status and time: the query may hold the token. A client that goes
    on with what is no HTTP gets no answer: uvicorn has closed its connection.
    """
    import h11  # what uvicorn speaks HTTP with

    async def noting(scope, receive, send):
        begun, status = time.monotonic(), 0

        async def send_noted(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with contextlib.suppress(h11.LocalProtocolError):
                await app(scope, receive, send_noted)
        finally:
            if scope["type"] == "http":
                took = 1000 * (time.monotonic() - begun)
                place = ascii(scope["path"][:200])[1:-1]
                note(f"{scope['method']} {place} {status} {took:.0f} ms")

    return noting
