"""What the server answers: the routes, the files of the page, and refusals."""

import pathlib
from collections.abc import Mapping
from typing import Any

from mmdiff.design.serve import about_jobs, about_targets
from mmdiff.design.serve.guard import Refused
from mmdiff.design.serve.served import Served
from mmdiff.design.serve.settings import Known
from mmdiff.design.serve.state import BusyError, State
from mmdiff.errors import InputError
from mmdiff.io import viewer

WEB = pathlib.Path(__file__).parent / "web"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}


def make_app(state: State, known: Mapping[str, Known], *, upload_bytes: int) -> Any:
    """Return the ASGI application, to be guarded; the settings known are by kind."""
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    pages = _static()

    async def static(request):
        name = request.path_params.get("name", "index.html")
        if name not in pages:
            raise Refused(404, "There is no such file.")
        return Response(pages[name], media_type=_TYPES[pathlib.Path(name).suffix])

    async def refuse(request, error):
        status = getattr(error, "status", 429 if isinstance(error, BusyError) else 400)
        # What else of the request arrives is not read.
        return JSONResponse({"error": str(error)}, status, {"connection": "close"})

    async def no_such(request, error):
        return JSONResponse({"error": error.detail}, error.status_code)

    async def gone(request, error):
        return Response(status_code=400)

    async def fail(request, error):
        text = f"internal error, {type(error).__name__}. See the terminal."
        return JSONResponse({"error": text}, 500)

    routes = {**about_targets.ROUTES, **about_jobs.ROUTES}
    app = Starlette(
        routes=[
            Route("/", static, methods=["GET"]),
            Route("/static/{name}", static, methods=["GET"]),
            *(
                Route(path, endpoint, methods=[method])
                for (method, path), endpoint in routes.items()
            ),
        ],
        exception_handlers={
            InputError: refuse,
            Refused: refuse,
            HTTPException: no_such,
            ClientDisconnect: gone,
            Exception: fail,
        },
    )
    app.state.served = Served(state, known, upload_bytes)
    return app


def _static() -> dict[str, bytes]:
    """Return the files of the page by name."""
    found = {path.name: path.read_bytes() for path in WEB.iterdir() if path.is_file()}
    return {**found, "view.js": viewer.view_module().encode()}
