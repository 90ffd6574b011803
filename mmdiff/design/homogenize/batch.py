"""Homogenization of voxel files: of one cell, of many in a file, of a folder of files.

Cells of a dataset are surfaces: their voxels are twice as fine as their samples. One
cell has its results in the folder given; of several, each has a folder below it, and a
table and a page hold all of them. An interrupted run goes on with the cells that lack
results, or whose file is no longer the one that these were computed from.
"""

import dataclasses
import functools
import itertools
import json
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmdiff import places
from mmdiff.cells import images, prepare, surface
from mmdiff.data import dataset
from mmdiff.design.homogenize import characterize, remarks, report, solution
from mmdiff.design.homogenize.geometry import Geometry
from mmdiff.errors import InputError
from mmdiff.io import page, plots, read, write
from mmdiff.io import report as reports
from mmdiff.io.json import write_csv
from mmdiff.run import console, inputs, manifest, workdir
from mmdiff.typing import Float

TABLE = "properties.csv"  # of all cells


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How cells are read (see `io.read`) and homogenized, and which fields are written.

    `raw` holds shape, dtype, order and bits of .raw files, and the voxels of surfaces.
    With `meshes` voxels are meshed, too.
    """

    raw: dict[str, Any] = dataclasses.field(default_factory=dict)
    key: str = ""
    index: str = ""
    options: prepare.Options = prepare.Options()
    material: solution.Material = solution.Material()
    solver: solution.Solver = solution.Solver()
    fields: Sequence[str] = ()
    geometry: Geometry = Geometry()
    meshes: bool = False


class Cell(NamedTuple):
    """A cell of a file, what is known of it, and where results go.

    `read()` returns the voxels as the file holds them, and the field of the octant or
    None: those of a dataset are made when they are needed.
    """

    label: str
    read: Callable[[], tuple[np.ndarray, Float[np.ndarray, "n n n"] | None]]
    info: dict[str, Any]
    folder: pathlib.Path


def homogenize(
    source: pathlib.Path, folder: pathlib.Path, settings: Settings
) -> tuple[list[dict], list[tuple[str, str]]]:
    """Homogenize a voxel file, a folder of them or a dataset, and write the reports.

    Returns:
      the properties of each cell, and name and reason of those that were left out.

    Raises:
      InputError: nothing could be read or homogenized.
    """
    found, left_out = [], []

    def attempt(label, call, *arguments):
        """One bad file or cell does not stop the others."""
        try:
            return call(*arguments, settings)
        except InputError as error:
            reason = console.note(f"left out: {error}").removeprefix("left out: ")
            left_out.append((label, reason))

    if source.is_dir() and not dataset.is_dataset(source):
        paths = read.find(source)
        if not paths:
            raise InputError(
                f"folder {source} holds no voxel file. Known are "
                f"{', '.join(read.SUFFIXES)}."
            )
        stems = [path.stem for path in paths]
        # Where stems repeat folders have the names of the files.
        names = [p.stem if stems.count(p.stem) == 1 else p.name for p in paths]
        names = places.safe_names(names, (*workdir.COMMON, workdir.LOCK, TABLE))
        files = (
            attempt(path.name, _read, path, folder / name) or ()
            for path, name in zip(paths, names, strict=True)
        )
        cells = itertools.chain.from_iterable(files)
    else:
        cells = _read(source, folder, settings)
        if len(cells) == 1:
            return [homogenize_cell(cells[0], folder, settings)], []
    for cell in cells:
        values = attempt(cell.label, homogenize_cell, cell, folder)
        found += [values] if values else []
    if not found:
        raise InputError(
            f"none of {len(left_out)} cells could be homogenized. {left_out[0][1]}"
        )
    _write_summary(source, folder, found, left_out)
    return found, left_out


def homogenize_cell(cell: Cell, log: pathlib.Path, settings: Settings) -> dict:
    """Write the report of a cell, unless it is there; return the cell's properties.

    The metrics in the workdir `log` get a line.
    """
    stored, content = _stored(cell.folder), cell.info["content"]
    if stored and (stored["file"], stored["input"]["content"]) == (cell.label, content):
        return stored
    options, solver, material = settings.options, settings.solver, settings.material
    if cell.info["format"] == "dataset":
        if options.boundary != "periodic" or options.phases:
            raise InputError(
                f"{cell.label} is a cell of a dataset: periodic, of one solid. Leave "
                "`boundary` and `phases` out."
            )
        options = dataclasses.replace(options, input_is="octant")
    voxels, psi = cell.read()
    if options.voxel is None and cell.info.get("spacing"):
        options = dataclasses.replace(options, voxel=tuple(cell.info["spacing"]))
    as_octant = cell.info.get("bits") and prepare.looks_like_octant(voxels)
    if as_octant and options.boundary == "periodic":
        options = dataclasses.replace(options, input_is="octant")
    grid = prepare.prepare(voxels, cell.label, options)
    start = time.perf_counter()
    found = characterize.analyse(
        grid,
        cell.label,
        material,
        solver,
        settings.geometry,
        threshold=options.threshold,
        fields=settings.fields,
        psi=psi,
    )
    seconds = time.perf_counter() - start
    said = [f"{cell.label}: taken as one octant of its cell."] if as_octant else []
    notes = cell.info["notes"] + console.notes([*said, *found.notes])
    known = {key: value for key, value in cell.info.items() if key != "notes"}
    keys = ("scale", "binarize", "resize", "resize_method", "boundary", "phases")
    chosen = {key: getattr(options, key) for key in keys}
    values = {
        "file": cell.label,
        **found.values,
        **dataclasses.asdict(solver),
        "input": {**known, "is": options.input_is, **chosen},
        "notes": notes,
    }
    shown = {"psi": found.psi, "meshes": settings.meshes}
    content = report.report(found.grid.cell, found.solution, values, notes, **shown)
    if images.kind_of(voxels) == "grays" and not options.phases:
        preview = functools.partial(
            plots.slices, image=voxels, threshold=options.scale * options.threshold
        )
        files = {**content.files, "slices.png": preview}
        content = dataclasses.replace(content, files=files)
    console.notes(reports.write(cell.folder, content))
    worst = {name: max(values[name]) for name in ("iterations", "residual")}
    entry = {"file": cell.label, "seconds": seconds, **worst}
    workdir.append_metrics(log, entry | {"converged": values["converged"]})
    manifest.seal(cell.folder)
    return values


def _stored(folder: pathlib.Path) -> dict | None:
    """Return the properties in a folder, None where its report is not whole."""
    if not manifest.is_whole(folder):
        return None
    return json.loads((folder / "properties.json").read_text("utf-8"))


def _read(path: pathlib.Path, folder: pathlib.Path, settings: Settings) -> list[Cell]:
    """Return the chosen cells of a file, of several each with a folder of its own."""
    if dataset.is_dataset(path):
        chosen, info = _read_dataset(path, settings)
    else:
        array, info = read.read(path, key=settings.key, **settings.raw)
        found = read.select(array, path.name, settings.index)
        chosen = [(i, functools.partial(_as_it_is, voxels)) for i, voxels in found]
        info |= {"notes": console.notes(info["notes"]), **manifest.checksum(path)}
        info |= {"content": inputs.digest(str(path))}
        info |= {"bits": bool(settings.raw.get("bits"))}
    digits = len(str(len(chosen) - 1))
    return [
        Cell(
            label=path.name if number is None else f"{path.name}[{number}]",
            read=make,
            info=info,
            folder=folder / f"{i:0{digits}d}" if len(chosen) > 1 else folder,
        )
        for i, (number, make) in enumerate(chosen)
    ]


def _read_dataset(path, settings):
    """Return the chosen cells of a dataset: numbers and what makes each; and info."""
    data = dataset.load_dataset(path)
    shape = (len(data.volume), *(3 * (data.n,)))

    def make(row):
        psi = data.fields(row)
        return surface.voxels(psi, 2 * data.n), psi

    numbers = read.choose(shape, path.name, settings.index)
    info = {"file": path.name, "format": "dataset", "array": None, "shape": [*shape]}
    info |= {"dtype": data.packed.dtype.name, "notes": []}
    info |= {"content": inputs.digest(str(path))}
    return [(row, functools.partial(make, row)) for row in numbers], info


def _as_it_is(voxels):
    return voxels, None


def _write_summary(source, folder, found, left_out) -> None:
    """Write the table of all cells and the page that links the report of each."""
    rows = [report.flat(values) for values in found]
    rows += [{"file": label, "error": reason} for label, reason in left_out]
    write_csv(folder / TABLE, rows)
    pages = sorted(folder.rglob(report.PAGE))
    links = [path.relative_to(folder).as_posix() for path in pages]
    table = []
    for values in found:
        row = remarks.row(values["file"], values)
        named = dict(zip(remarks.HEADER, row, strict=True))
        # A wide table is scrolled: what warns of its numbers goes before them.
        table.append({"": named[""], "remark": named["remark"], **named})
    text = page.page(
        f"mmdiff: {source} homogenized",
        tables={
            "Effective properties": table,
            "Printability and mesh": [
                remarks.print_row(values["file"], values) for values in found
            ],
        },
        files=[*links, *page.list_files(folder)],
        notes=[f"left out: {reason}" for _, reason in left_out],
    )
    write.write_bytes(folder / "index.html", text.encode())
