"""Homogenization of voxel files: of one cell, of many in a file, of a folder of files.

One cell has its results in the folder given; of several, each has a folder below it,
and a table and a page hold all of them. An interrupted run goes on with the cells that
lack results, or whose file is no longer the one that these were computed from.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmdiff.cells import prepare
from mmdiff.data import dataset
from mmdiff.design.homogenize import properties, remarks, report, solution
from mmdiff.errors import InputError
from mmdiff.io import page, read, write
from mmdiff.io import report as reports
from mmdiff.io.json import write_csv
from mmdiff.run import console, workdir


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How the cells are read and homogenized.

    Attributes:
      raw: shape, dtype and order of .raw files, see `io.read.read`.
      key: name of the array in a file that holds several.
      index: number of one cell of several, or "all".
      options: what the voxels are, and their edge.
      material: solid and void.
      solver: accuracy.
      fields: those of `solution.FIELDS` to write.
    """

    raw: dict[str, Any] = dataclasses.field(default_factory=dict)
    key: str = ""
    index: str = ""
    options: prepare.Options = prepare.Options()
    material: solution.Material = solution.Material()
    solver: solution.Solver = solution.Solver()
    fields: Sequence[str] = ()


class Cell(NamedTuple):
    """A cell to homogenize.

    Attributes:
      label: what the results call it.
      voxels: (nx, ny, nz) as the file holds them.
      info: what was read, see `io.read.read`, with size and checksum of the file.
      folder: where its results go.
    """

    label: str
    voxels: np.ndarray
    info: dict[str, Any]
    folder: pathlib.Path


def homogenize(
    source: pathlib.Path, folder: pathlib.Path, settings: Settings
) -> tuple[list[dict], list[tuple[str, str]]]:
    """Homogenize the cells of an input and write their reports.

    Args:
      source: voxel file, folder of voxel files, or dataset.
      folder: workdir.
      settings: how.

    Returns:
      the properties of each cell, and name and reason of those that were left out.

    Raises:
      InputError: nothing could be read or homogenized.
    """
    if source.is_dir() and not dataset.is_dataset(source):
        paths = read.find(source)
        if not paths:
            raise InputError(
                f"folder {source} holds no voxel file. Known are "
                f"{', '.join(read.SUFFIXES)}."
            )
        readers = {
            path.name: functools.partial(
                _read, path, folder / _folder_name(path, paths), settings
            )
            for path in paths
        }
    else:
        cells = _read(source, folder, settings)
        if len(cells) == 1:
            return [homogenize_cell(cells[0], folder, settings)], []
        readers = {source.name: lambda: cells}
    found, left_out = [], []
    for label, result in _attempts(readers, folder, settings):
        if isinstance(result, InputError):
            reason = console.note(f"left out: {result}")
            left_out.append((label, reason.removeprefix("left out: ")))
        else:
            found.append(result)
    if not found:
        raise InputError(
            f"none of {len(left_out)} cells could be homogenized. {left_out[0][1]}"
        )
    _write_summary(source, folder, found, left_out)
    return found, left_out


def homogenize_cell(cell: Cell, log: pathlib.Path, settings: Settings) -> dict:
    """Write the report of one cell and return its properties.

    Args:
      cell: the cell; results that are there already are returned as they are.
      log: workdir, whose metrics get a line.
      settings: how.
    """
    stored = _stored(cell.folder)
    if stored and stored["file"] == cell.label and _same_file(stored, cell.info):
        return stored
    options, solver, material = settings.options, settings.solver, settings.material
    if cell.info["format"] == "dataset":
        options = dataclasses.replace(options, input_is="octant")
    grid = prepare.prepare(cell.voxels, cell.label, options)
    start = time.perf_counter()
    solved = solution.solve(grid, material, solver, fields=settings.fields)
    seconds = time.perf_counter() - start
    found = properties.summarize(grid, solved, material, threshold=options.threshold)
    limits = {"tol": solver.tol, "maxiter": solver.maxiter}
    messages = [*grid.notes, *remarks.remarks(cell.label, found, **limits)]
    notes = [*cell.info["notes"], *(console.note(text) for text in messages)]
    values = {
        "file": cell.label,
        **found,
        **limits,
        "dtype": solver.dtype,
        "input": _input(cell.info, options),
        "notes": notes,
    }
    content = report.report(grid.cell, solved, values, notes)
    for text in reports.write(cell.folder, content):
        console.note(text)
    entry = {"file": cell.label, "seconds": seconds}
    entry["iterations"] = max(found["iterations"])
    entry["residual"] = solved.residual.max()
    workdir.append_metrics(log, entry | {"converged": found["converged"]})
    return values


def is_current(source: pathlib.Path, folder: pathlib.Path) -> bool:
    """Whether all results in a folder are whole and belong to the input as it is."""
    paths = list(folder.rglob("properties.json"))
    known = functools.cache(checksum)

    def current(path):
        values = _stored(path.parent)
        if values is None:
            return False
        file = source / values["input"]["file"] if source.is_dir() else source
        return not file.is_file() or _same_file(values, known(file))

    return bool(paths) and all(map(current, paths))


def checksum(path: pathlib.Path) -> dict[str, Any]:
    """Return size and SHA-256 of a file."""
    with path.open("rb") as file:
        code = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": code}


def _stored(folder: pathlib.Path) -> dict | None:
    """Return the properties in a folder, None where its report is not whole."""
    path = folder / "properties.json"
    if not path.is_file() or not (folder / report.PAGE).is_file():
        return None
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError:
        return None


def _same_file(values: Mapping, known: Mapping) -> bool:
    """Whether properties are those of a file of a size and checksum."""
    return all(
        values["input"].get(key) == known.get(key) for key in ("bytes", "sha256")
    )


def _read(path: pathlib.Path, folder: pathlib.Path, settings: Settings) -> list[Cell]:
    """Return the chosen cells of a file, of several each with a folder of its own."""
    array, info = dataset.read_voxels(path, key=settings.key, **settings.raw)
    chosen = read.select(array, path.name, settings.index)
    notes = [console.note(text) for text in info["notes"]]
    info = {**info, "notes": notes} | (checksum(path) if path.is_file() else {})
    digits = len(str(len(chosen) - 1))
    return [
        Cell(
            label=path.name if number is None else f"{path.name}[{number}]",
            voxels=voxels,
            info=info,
            folder=folder / f"{i:0{digits}d}" if len(chosen) > 1 else folder,
        )
        for i, (number, voxels) in enumerate(chosen)
    ]


def _input(info, options) -> dict[str, Any]:
    """Return what properties.json says of the input."""
    return {
        **{key: value for key, value in info.items() if key != "notes"},
        "is": options.input_is,
        "scale": options.scale,
        "binarize": options.binarize,
        "resize": options.resize,
        "resize_method": options.resize_method,
    }


def _attempts(
    readers: dict[str, Callable[[], list[Cell]]],
    log: pathlib.Path,
    settings: Settings,
) -> Iterator[tuple[str, dict | InputError]]:
    """Yield each cell's label with its properties, or with the reason against it.

    One bad cell does not stop the others.
    """
    for name, cells_of in readers.items():
        try:
            cells = cells_of()
        except InputError as error:
            yield name, error
            continue
        for cell in cells:
            try:
                yield cell.label, homogenize_cell(cell, log, settings)
            except InputError as error:
                yield cell.label, error


def _write_summary(source, folder, found, left_out) -> None:
    """Write the table of all cells and the page that links the report of each."""
    rows = [report.flat(values) for values in found]
    rows += [{"file": label, "error": reason} for label, reason in left_out]
    write_csv(folder / "properties.csv", rows)
    links = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob(report.PAGE))
    ]
    table = []
    for values in found:
        row = remarks.row(values["file"], values)
        named = dict(zip(remarks.HEADER, row, strict=True))
        # A wide table is scrolled: what warns of its numbers goes before them.
        table.append({"": named[""], "remark": named["remark"], **named})
    text = page.page(
        f"mmdiff: {source} homogenized",
        tables={"Effective properties": table},
        files=[*links, *page.list_files(folder)],
        notes=[f"left out: {reason}" for _, reason in left_out],
    )
    write.write_bytes(folder / "index.html", text.encode())


def _folder_name(path: pathlib.Path, paths: Sequence[pathlib.Path]) -> str:
    """Return the name of a file's folder: its stem, or its name where stems repeat."""
    alike = [other for other in paths if other.stem == path.stem]
    return path.stem if len(alike) == 1 else path.name
