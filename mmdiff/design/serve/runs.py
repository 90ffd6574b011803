"""A job from its settings to its files, with what is found told as it is found.

Each is a run of its experiment in a workdir of its own. Its tasks are done by worker
processes; a verified cell is told when it comes back, before the others are done.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from mmdiff.cells import prepare
from mmdiff.design.generate import apart, batch, pipeline, properties
from mmdiff.design.generate.cell import Cell
from mmdiff.design.homogenize import batch as homogenizing
from mmdiff.design.homogenize import geometry, solution
from mmdiff.design.serve import settings as requested
from mmdiff.design.serve.job import Job
from mmdiff.design.serve.state import State
from mmdiff.errors import InputError
from mmdiff.io import material_cards, viewer
from mmdiff.io.json import plain
from mmdiff.io.report import write
from mmdiff.io.write import write_bytes
from mmdiff.run import console
from mmdiff.run.workers import Run
from mmdiff.targets import feasibility
from mmdiff.targets.orthotropic import OrthotropicTarget
from mmdiff.targets.target import AnyTarget

# Where on the way to the files each task begins and ends, about, and what it is.
STAGES = {
    "ready": (0.0, 0.02, "compiling"),
    "draw": (0.02, 0.40, "drawing samples"),
    "check": (0.40, 0.45, "checking samples by finite elements"),
    "refine": (0.45, 0.88, "moving surfaces until they meet the target"),
    "fit": (0.88, 0.92, "moving cells on to nine constants"),
    "finish": (0.92, 0.95, "measuring cells"),
    "files": (0.95, 1.0, "writing files"),
}


def generate(state: State, job: Job, run: Run) -> None:
    """Generate cells and write what configs/generate.py writes, and material cards."""
    start = time.monotonic()
    values = job.settings
    asked = requested.target_of(values)
    feasibility.check_feasible(
        asked, nu=values["base"]["nu"], allow_infeasible=values["allow_infeasible"]
    )
    chosen = batch.settings_of(values)

    def units(tasks):
        return run([("cells", values["checkpoint"], chosen, *task) for task in tasks])

    text = "starting; programs that are new are compiled, for a minute or so"
    state.change(job, progress={"share": 0.0, "text": text})
    hear = make_listener(state, job, asked, chosen)
    watched_units = functools.partial(watched, units, hear)
    make = batch.make_maker(values, watched_units)
    cells, counts, found = make(asked, jax.random.key(values["seed"]), start)
    if not cells:
        raise InputError(pipeline.no_cell(counts))
    console.notes(write(job.folder, found, apart.files_by(watched_units)))
    for i, cell in enumerate(cells):
        name, tensor = properties.name_of(i), values["base"]["E"] * cell.tensor
        for suffix, card in (
            ("inp", material_cards.abaqus),
            ("mac", material_cards.ansys),
        ):
            text = card(name, tensor).encode()
            write_bytes(job.folder / f"{name}.{suffix}", text)


def homogenize(state: State, job: Job, run: Run) -> None:
    """Homogenize the file of a job and write what configs/homogenize.py writes."""
    text = "homogenizing by finite elements"
    state.change(job, progress={"share": 0.0, "text": text})
    source = job.folder / job.source
    for _ in run([("file", source, job.folder, _file_settings(job.settings))]):
        pass


RUNS = {"generate": generate, "homogenize": homogenize}


def watched(
    run: Run, hear: Callable[[tuple, int, int, Any], None], units: Sequence[tuple]
) -> Iterator[tuple[int, Any]]:
    """Return `run(units)`; `hear(unit, done, total, result)` is called of each result.

    They have begun when it returns.
    """
    places = run(units)

    def results():
        for done, (place, result) in enumerate(places, start=1):
            hear(units[place], done, len(units), result)
            yield place, result

    return results()


def make_listener(
    state: State, job: Job, asked: AnyTarget, chosen: pipeline.Settings
) -> Callable[[tuple, int, int, Any], None]:
    """Return what tells of the results of tasks: how far, samples, verified cells."""
    final = "refine" if chosen.polish_steps else "finish"
    if isinstance(asked, OrthotropicTarget):
        final = "fit"

    def hear(unit, done, total, result):
        kind = unit[0]
        if kind == "check" and result is not None:
            sample = [*map(float, result.constants[:3]), result.volume]
            job.samples.append(sample)
            state.tell("sample", {"job": job.id, "sample": sample})
        if kind == final and not chosen.printing.flaw(result):
            values = of_cell(asked, result, job.settings)
            job.cells.append(values)
            state.tell("cell", {"job": job.id, "cell": values})
        begin, end, text = STAGES[kind]
        share = begin + (end - begin) * done / total
        if share > job.progress.get("share", 0.0) or kind == "draw":
            progress = {"share": share, "text": f"{text}: {done} of {total}"}
            state.change(job, progress=progress)

    return hear


def of_cell(asked: AnyTarget, cell: Cell, values: dict[str, Any]) -> dict[str, Any]:
    """Return what properties.json says of a cell, and the cell for the 3D view."""
    known = {"base_E": values["base"]["E"], "cell_size_mm": values["cell_size_mm"]}
    (found,) = properties.values(asked, [cell], known)["cells"]
    shown = viewer.pack("", cell.octant, cell.psi)
    return plain({**found, "view": shown})


def _file_settings(values: dict[str, Any]) -> homogenizing.Settings:
    """Return the settings of a homogenize job as the library takes them."""
    names = [field.name for field in dataclasses.fields(prepare.Options)]
    chosen = {
        name: values[name] for name in names if name != "voxel" or any(values[name])
    }
    solver = values["solver"]
    return homogenizing.Settings(
        raw={"voxels": values["mesh_voxels"]},
        key=values["key"],
        index=values["index"],
        options=prepare.Options(**chosen),
        material=solution.Material(
            **values["base"], void=solver["void"], penal=solver["penal"]
        ),
        solver=solution.Solver(solver["tol"], solver["maxiter"], solver["dtype"]),
        fields=solution.choose_fields(values["fields"]),
        meshes=True,
        geometry=geometry.Geometry(
            geometry=values["geometry"],
            refine=values["refine"],
            cell_size_mm=values["cell_size_mm"],
        ),
    )
