"""Who may ask what: every request passes here before the server looks at it.

The server is bound to loopback; what is left are other users of the machine and pages
of other sites in the user's own browser. Requests need the token of the server, as a
cookie that the printed address sets or as `Authorization: Bearer`; its own name as Host
(a foreign name that resolves to loopback has another); no Origin but its own; and, to
start work, a content type that no form can send.
"""

import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

JSON, BYTES = "application/json", "application/octet-stream"
METHODS = ("GET", "HEAD", "POST", "DELETE")
LONGEST = 2048  # characters of path and of query
# Pages of runs hold their script and style inside; nothing is fetched from elsewhere.
_STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: "
    "blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
OF_RUNS = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _STRICT,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Refused(Exception):
    """A request that is not answered: its status and a sentence."""

    def __init__(self, status: int, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.status = status


def cookie_name(port: int) -> str:
    """Return the name of the cookie of a server; servers of a machine share them."""
    return f"mmdiff-{port}"


def hosts(port: int) -> tuple[str, ...]:
    """Return the names that the server has."""
    return tuple(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))


def check(
    method: str, path: str, query: str, headers: Mapping[str, str], own: tuple, /
) -> None:
    """Raise Refused for a request of another site, or one that makes no sense.

    `own` are the names of the server; headers have lower-case names.
    """
    if headers.get("host") not in own:
        text = f"This server is {own[0]} and no other. Open the address it printed."
        raise Refused(421, text)
    if method not in METHODS:
        raise Refused(405, f"{method[:20]} is not answered.")
    if len(path) > LONGEST or len(query) > LONGEST:
        raise Refused(414, "The address is too long.")
    origin = headers.get("origin")
    if origin is not None and origin not in [f"http://{name}" for name in own]:
        raise Refused(403, "Pages of other sites may not use this server.")
    site = headers.get("sec-fetch-site", "none")
    landing = path == "/" and headers.get("sec-fetch-mode") == "navigate"
    if site not in ("same-origin", "none") and not landing:
        raise Refused(403, "Pages of other sites may not use this server.")
    if method == "POST":
        kind = headers.get("content-type", "").partition(";")[0].strip()
        if kind not in (JSON, BYTES):
            raise Refused(415, f"Send {JSON}, or a file as {BYTES}.")


def is_known(headers: Mapping[str, str], token: str, port: int) -> bool:
    """Whether a request carries the token."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and _same(given.strip(), token):
        return True
    pairs = (
        part.strip().partition("=") for part in headers.get("cookie", "").split(";")
    )
    return any(
        name == cookie_name(port) and _same(value, token) for name, _, value in pairs
    )


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def guarded(app: Any, *, token: str, port: int) -> Any:
    """Return an ASGI application that lets only good requests through to another."""
    own = hosts(port)

    async def guard(scope, receive, send):
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        if scope["type"] != "http":  # web sockets are not used
            return

        async def send_safely(message):
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in _HEADERS.items()
                        if name.encode() not in given
                    ),
                ]
            await send(message)

        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1").lower()
            # A name given twice is one that no list holds.
            headers[key] = (
                f"{headers[key]}; " if key in headers else ""
            ) + value.decode("latin-1")
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        try:
            check(scope["method"], path, query, headers, own)
            if path == "/" and "token" in (asked := parse_qs(query)):
                if not _same(asked["token"][-1], token):
                    raise Refused(401, _NO_TOKEN)
                await _enter(send_safely, token, port)
                return
            open_to_all = path.startswith("/static/")
            if not open_to_all and not is_known(headers, token, port):
                raise Refused(401, _NO_TOKEN)
        except Refused as error:
            await answer(send_safely, error.status, str(error))
            return
        await app(scope, receive, send_safely)

    return guard


_NO_TOKEN = "This needs the token of the server. Open the address it printed at start."


async def _enter(send, token: str, port: int) -> None:
    """Set the cookie and go on without the token in the address."""
    cookie = f"{cookie_name(port)}={token}; HttpOnly; SameSite=Strict; Path=/"
    headers = [(b"location", b"/"), (b"set-cookie", cookie.encode())]
    start = {"type": "http.response.start", "status": 303, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": b""})


async def answer(send, status: int, text: str) -> None:
    """Send an error as JSON."""
    body = json.dumps({"error": text}).encode()
    headers = [
        (b"content-type", JSON.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # what it still sends is not read
    ]
    start = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
