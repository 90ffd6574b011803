"""Bodies of requests, never more of them in memory than is allowed."""

import asyncio
import json
import pathlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

from mmdiff.design.serve.guard import Refused

TEXT_BYTES = 65_536  # of JSON
PATIENCE = 30.0  # seconds without a byte


async def read_json(request: Any) -> Any:
    """Return the JSON of a request; Refused where it is none, or too large."""
    parts = [part async for part in _parts(request, TEXT_BYTES)]
    return parse(b"".join(parts))


def parse(text: bytes | str) -> Any:
    """Return JSON; NaN and infinity, which are none, are Refused with the rest."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The request is not JSON ({error}).") from error


def _no_number(name):
    raise ValueError(f"{name} is no number")


async def save(request: Any, folder: pathlib.Path, suffix: str, most: int) -> Any:
    """Write the body of a request to a new file in the folder and return its path.

    Nothing is left of one that is too large or not whole.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"{secrets.token_hex(8)}{suffix}"
    try:
        with path.open("wb") as file:
            async for part in _parts(request, most):
                file.write(part)
        if not path.stat().st_size:
            raise Refused(400, "The file is empty.")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


async def _parts(request: Any, most: int) -> AsyncIterator[bytes]:
    """Yield what arrives; Refused for more than `most` bytes, stated or sent."""
    too_large = Refused(413, f"The request has more than {most:,} bytes.")
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and (len(stated) > 18 or int(stated) > most):
        raise too_large
    stream, size = request.stream(), 0
    while True:
        try:
            part = await asyncio.wait_for(anext(stream), PATIENCE)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            text = f"Nothing arrived for {PATIENCE:g} s."
            raise Refused(408, text) from error
        size += len(part)
        if size > most:
            raise too_large
        yield part
