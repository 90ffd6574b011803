"""Answers on jobs: the list, new ones, what came out, files, cancelling, removing."""

import pathlib
from collections.abc import Mapping
from typing import Any

from mmdiff.design.serve import archive, bodies, guard, region, results
from mmdiff.design.serve import settings as requested
from mmdiff.design.serve.about_targets import UPLOADS
from mmdiff.design.serve.guard import Refused
from mmdiff.design.serve.job import Job
from mmdiff.design.serve.served import answer, in_thread, served
from mmdiff.design.serve.state import BusyError, State
from mmdiff.errors import InputError
from mmdiff.run import runner, workdir

# Shown by the browser; all others are saved.
_SHOWN = {
    ".html": "text/html; charset=utf-8",
    ".png": "image/png",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".csv": "text/plain; charset=utf-8",
}


async def list_jobs(request: Any) -> Any:
    """Answer with a line for each job, the latest first."""
    return answer({"jobs": served(request).state.list()})


async def submit(request: Any) -> Any:
    """Queue cells for a target."""
    own, given = served(request), await bodies.read_json(request)
    values = requested.of_request("generate", given, own.known["generate"])
    found = await in_thread(region.describe, values)
    if not found["ok"]:
        raise InputError(found["message"])
    _check_disk(own.state)
    job = own.state.submit("generate", _title(values), values, given)
    return answer(job.line(), 201)


async def upload(request: Any) -> Any:
    """Queue a file, the body of the request, to be homogenized."""
    own, query = served(request), request.query_params
    given = bodies.parse(query.get("settings", "{}"))
    values = requested.of_request("homogenize", given, own.known["homogenize"])
    name = query.get("name", "")[:200]
    suffix = pathlib.PurePosixPath(name).suffix.lower()
    if suffix not in UPLOADS:
        raise InputError(
            f"{name!r} has an unknown format. Send one of {', '.join(UPLOADS)}."
        )
    own.state.check_room()
    _check_disk(own.state)
    if own.uploading.locked():
        raise BusyError("Other files arrive already. Send this one when they are in.")
    async with own.uploading:
        folder = own.state.folder / ".uploads"
        path = await bodies.save(request, folder, suffix, own.upload_bytes)
    try:
        job = own.state.submit("homogenize", name, values, given, path)
    finally:
        path.unlink(missing_ok=True)  # where there was no room in the end
    return answer(job.line(), 201)


async def show(request: Any) -> Any:
    """Answer with all about a job."""
    job, own = _job(request), served(request)
    found = await in_thread(results.detail, job)
    source = {"input": str(job.folder / job.source)} if job.source else {}
    values, defaults = {**job.settings, **source}, own.known[job.kind].values
    line = runner.command(job.kind, values, defaults)
    if job.kind == "generate":
        described = await in_thread(region.describe, job.settings)
        found["asked"] = described["quantities"]
    return answer({**found, "command": line})


async def walls(request: Any) -> Any:
    """Answer with the thickness of the walls of a cell."""
    found = await in_thread(results.detail, _job(request))
    place = request.path_params["cell"]
    if place >= len(found["cells"]) or not found["cells"][place].get("view"):
        raise Refused(404, "There is no such cell.")
    return answer(await in_thread(results.walls, found["cells"][place]["view"]))


async def cancel(request: Any) -> Any:
    """End a job that waits or is at work."""
    job = _job(request)
    served(request).state.cancel(job)
    return answer(job.line())


async def remove(request: Any) -> Any:
    """Delete a job that is over, and its files."""
    job = _job(request)
    await in_thread(served(request).state.remove, job)
    return answer({"id": job.id})


async def send_file(request: Any) -> Any:
    """Answer with a file of a job."""
    from starlette.responses import FileResponse

    job, name = _job(request), request.path_params["name"]
    found = results.files(job).get(name)
    if found is None:
        raise Refused(404, "There is no such file.")
    suffix = pathlib.Path(name).suffix
    kind = _SHOWN.get(suffix, guard.BYTES)
    how = "inline" if suffix in _SHOWN else "attachment"
    headers = {"content-disposition": f'{how}; filename="{job.id:04d}_{name}"'}
    if suffix == ".html":
        headers["content-security-policy"] = guard.OF_RUNS
    return FileResponse(found.path, media_type=kind, headers=headers)


async def send_all(request: Any) -> Any:
    """Answer with all files of a job in an archive."""
    from starlette.responses import StreamingResponse

    job = _job(request)
    paths = [pathlib.Path(entry.path) for entry in results.files(job).values()]
    name = f"mmdiff_{job.id:04d}"
    headers = {"content-disposition": f'attachment; filename="{name}.zip"'}
    parts = archive.stream(name, paths)
    return StreamingResponse(parts, media_type="application/zip", headers=headers)


ROUTES = {
    ("GET", "/api/jobs"): list_jobs,
    ("POST", "/api/jobs"): submit,
    ("POST", "/api/files"): upload,
    ("GET", "/api/jobs/{id:int}"): show,
    ("DELETE", "/api/jobs/{id:int}"): remove,
    ("POST", "/api/jobs/{id:int}/cancel"): cancel,
    ("GET", "/api/jobs/{id:int}/walls/{cell:int}"): walls,
    ("GET", "/jobs/{id:int}/all.zip"): send_all,
    ("GET", "/jobs/{id:int}/{name}"): send_file,
}


def _job(request: Any) -> Job:
    job = served(request).state.find(request.path_params["id"])
    if job is None:
        raise Refused(404, "There is no such job.")
    return job


def _title(values: Mapping[str, Any]) -> str:
    """Return what was asked on one line."""
    text = " ".join(values["target"].split())
    text = text if len(text) < 60 else f"{text[:57]}..."
    return f"{text}, V={values['vf']:g}" if values["vf"] else text


def _check_disk(state: State) -> None:
    free = workdir.free_bytes(state.folder)
    if free is not None and free < 4 * workdir.NEEDED_BYTES:
        raise Refused(
            507,
            f"The disk of the server has {free / 1e6:.0f} MB free. Delete some of what "
            "was made.",
        )
