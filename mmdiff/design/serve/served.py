"""What every answer of the server may need, and where an answer finds it."""

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

from mmdiff.design.serve.settings import Known
from mmdiff.design.serve.state import State

UPLOADS_AT_ONCE = 2


@dataclasses.dataclass(frozen=True)
class Served:
    """The state, the settings known by kind, and what a file may have of bytes."""

    state: State
    known: Mapping[str, Known]
    upload_bytes: int
    uploading: asyncio.Semaphore = dataclasses.field(
        default_factory=lambda: asyncio.Semaphore(UPLOADS_AT_ONCE)
    )


def served(request: Any) -> Served:
    """Return it for a request."""
    return request.app.state.served


def answer(value: Any, status: int = 200) -> Any:
    """Return the response of a JSON value."""
    from starlette.responses import JSONResponse

    return JSONResponse(value, status)


async def in_thread(function: Any, *arguments: Any) -> Any:
    """Return what a function that takes its time does, while others are answered."""
    from starlette.concurrency import run_in_threadpool

    return await run_in_threadpool(function, *arguments)
