"""Answers on what can be asked: defaults, the region cells reach, a target; events."""

import asyncio
import json
from typing import Any

from mmdiff.design.serve import bodies, region
from mmdiff.design.serve import settings as requested
from mmdiff.design.serve.job import KINDS
from mmdiff.design.serve.served import answer, in_thread, served
from mmdiff.design.serve.state import State
from mmdiff.errors import InputError

# Formats that hold the whole cell in the file itself, and no links to others.
UPLOADS = (".npy", ".npz", ".vti", ".mat", ".stl", ".3mf", ".obj", ".ply")
BEAT = 15.0  # seconds between signs of life of the events


async def show_defaults(request: Any) -> Any:
    """Answer with what a job has where the page sets nothing, and with limits."""
    own = served(request)

    def shown(kind):
        values = requested.of_request(kind, {}, own.known[kind])
        return {key: requested.value_of(values, key) for key in requested.KEYS[kind]}

    return answer(
        {
            "defaults": {kind: shown(kind) for kind in KINDS},
            "upload_bytes": own.upload_bytes,
            "uploads": UPLOADS,
            "folder": str(own.state.folder),
        }
    )


async def show_region(request: Any) -> Any:
    """Answer with points and curves for a Poisson's ratio of the solid."""
    text = request.query_params.get("nu", "0.3")
    try:
        nu = float(text)
    except ValueError:
        raise InputError(f"nu={text[:40]!r} is not a number. Give one.") from None
    known = served(request).known["generate"]
    values = requested.of_request("generate", {"base.nu": nu}, known)
    return answer(await in_thread(region.region, values["base"]["nu"]))


async def check(request: Any) -> Any:
    """Answer whether cells can have a target, and what follows from it."""
    given = await bodies.read_json(request)
    values = requested.of_request("generate", given, served(request).known["generate"])
    return answer(await in_thread(region.describe, values))


async def events(request: Any) -> Any:
    """Answer with events, for as long as the page listens."""
    from starlette.responses import StreamingResponse

    state = served(request).state
    parts = _events(state, state.listen())
    return StreamingResponse(parts, media_type="text/event-stream")


async def _events(state: State, queue: asyncio.Queue):
    """Yield events as a browser's EventSource reads them."""
    try:
        yield "retry: 2000\n\n"
        while True:
            try:
                event = await asyncio.wait_for(queue.get(), BEAT)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if event is None:
                return
            kind, value = event
            yield f"event: {kind}\ndata: {json.dumps(value)}\n\n"
    finally:
        state.leave(queue)


ROUTES = {
    ("GET", "/api/about"): show_defaults,
    ("GET", "/api/region"): show_region,
    ("POST", "/api/check"): check,
    ("GET", "/api/events"): events,
}
