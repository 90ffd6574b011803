"""Homogenize voxel files: read, prepare, solve, report; one folder per cell of many."""

import json
import pathlib
import time

import numpy as np
from ml_collections import ConfigDict

from mmdiff import anisotropy
from mmdiff.cells import prepare
from mmdiff.data import dataset
from mmdiff.design.homogenize import properties, remarks, report
from mmdiff.errors import InputError
from mmdiff.io import page, read, write
from mmdiff.io.json import write_csv
from mmdiff.run import console, workdir


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Homogenize the cells of the config's input and write the results."""
    if not config.input:
        raise InputError(
            "no input is given. Pass a voxel file or a folder of them: "
            "--config.input=cell.npy."
        )
    material = properties.Material(
        config.base.E, config.base.nu, config.solver.void, config.solver.penal
    )
    properties.choose_fields(config.fields)  # refuse what is unknown before reading
    source = pathlib.Path(config.input)
    if source.is_dir() and not dataset.is_dataset(source):
        paths = read.find(source)
        if not paths:
            raise InputError(
                f"folder {source} holds no voxel file. Known are "
                f"{', '.join(read.SUFFIXES)}."
            )
        places = [(path, folder / _name(path, paths)) for path in paths]
        _run_many(places, folder, config, material)
        return
    cells, info = _read(source, config)
    if len(cells) > 1:
        _run_many([(source, folder)], folder, config, material)
        return
    facts = homogenize_cell(*cells[0], info, folder, folder, config, material)
    console.table(report.tensor_rows(np.array(facts["C"])), ["C", *anisotropy.VOIGT])
    _table([facts])


def homogenize_cell(
    label: str,
    voxels: np.ndarray,
    info: dict,
    folder: pathlib.Path,
    log: pathlib.Path,
    config: ConfigDict,
    material: properties.Material,
) -> dict:
    """Homogenize one cell into a folder and return the content of properties.json.

    A folder that an interrupted run has finished is read, not solved again.

    Args:
      label: what the results call the cell.
      voxels: (nx, ny, nz) as the file holds them.
      info: of the file, see `readers.read`.
      folder: for the results, made where it is missing.
      log: the workdir, which gets the line of metrics.
      config: see configs/homogenize.py.
      material: of solid and void.
    """
    done = folder / "properties.json"
    if done.is_file():
        facts = json.loads(done.read_text("utf-8"))
        if facts.get("file") == label:
            return facts
    kind = "octant" if info["format"] == "dataset" else config.input_is
    grid = prepare.prepare(
        voxels,
        label,
        input_is=kind,
        symmetry=config.symmetry,
        scale=config.scale,
        threshold=config.threshold,
        binarize=config.binarize,
        resize=config.resize,
        method=config.resize_method,
    )
    start = time.perf_counter()
    limits = {"tol": config.solver.tol, "maxiter": config.solver.maxiter}
    solution = properties.solve(
        grid,
        material,
        **limits,
        dtype=config.solver.dtype,
        fields=properties.choose_fields(config.fields),
    )
    seconds = time.perf_counter() - start
    facts = properties.report(grid, solution, material, threshold=config.threshold)
    said = [*grid.notes, *remarks.remarks(label, facts, **limits)]
    for note in said:
        console.note(note)
    notes = [*info["notes"], *said]
    facts = {
        "file": label,
        "conventions": properties.CONVENTIONS,
        **facts,
        **limits,
        "dtype": config.solver.dtype,
        "input": {
            **{key: value for key, value in info.items() if key != "notes"},
            "is": kind,
            "scale": config.scale,
            "binarize": config.binarize,
            "resize": config.resize,
            "resize_method": config.resize_method,
        },
        "notes": notes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    report.write(folder, label, grid.cell, solution, facts, notes=notes)
    workdir.append_metrics(
        log,
        {
            "file": label,
            "seconds": seconds,
            "iterations": max(facts["iterations"]),
            "residual": solution.residual.max(),
            "converged": facts["converged"],
        },
    )
    return facts


def _read(path, config):
    """Return pairs of label and voxels of the chosen cells, and what was read."""
    array, info = dataset.read_voxels(
        path,
        key=config.key,
        shape=config.raw.shape,
        dtype=config.raw.dtype,
        order=config.raw.order,
    )
    cells = read.select(array, path.name, config.index)
    for note in info["notes"]:
        console.note(note)
    return [
        (path.name if number is None else f"{path.name}[{number}]", voxels)
        for number, voxels in cells
    ], info


def _run_many(places, folder, config, material) -> None:
    """Homogenize files, each into its folder, and write what sums them up."""
    results, failures = [], []
    for label, got in _attempts(places, folder, config, material):
        if isinstance(got, InputError):
            failures.append((label, str(got)))
            console.note(f"left out: {got}")
        else:
            results.append(got)
    count = len(results) + len(failures)
    if not results:
        raise InputError(
            f"none of {count} cells could be homogenized. {failures[0][1]}"
        )
    rows = [report.flat(facts) for facts in results]
    rows += [{"file": label, "error": message} for label, message in failures]
    write_csv(folder / "properties.csv", rows)
    _write_index(folder, config.input, results, failures)
    _table(results)
    if failures:
        console.say(f"left out {len(failures)} of {count} cells; see above.")


def _attempts(places, folder, config, material):
    """Yield the label of each cell with its facts, or with what is wrong with it.

    Several cells of one file go into subfolders. One bad cell must not stop the others.
    """
    for path, own in places:
        try:
            cells, info = _read(path, config)
        except InputError as error:
            yield path.name, error
            continue
        digits = len(str(len(cells) - 1))
        for i, (label, voxels) in enumerate(cells):
            place = own / f"{i:0{digits}d}" if len(cells) > 1 else own
            try:
                yield (
                    label,
                    homogenize_cell(
                        label, voxels, info, place, folder, config, material
                    ),
                )
            except InputError as error:
                yield label, error


def _write_index(folder, source, results, failures) -> None:
    """Write the page that compares the cells and links the report of each."""
    reports = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("report.html"))
    ]
    rows = []
    for facts in results:
        row = remarks.row(facts["file"], facts)
        named = dict(zip(remarks.HEADER, row, strict=True))
        # A wide table is scrolled: what warns of its numbers goes before them.
        rows.append({"": named[""], "remark": named["remark"], **named})
    text = page.page(
        [],
        title=f"mmdiff: {source} homogenized",
        rows=rows,
        heading="Effective properties",
        files=[*reports, *page.list_files(folder)],
        notes=[f"left out: {message}" for _, message in failures],
    )
    write.write_bytes(folder / "index.html", text.encode())


def _table(results: list[dict]) -> None:
    rows = [remarks.row(facts["file"], facts) for facts in results]
    console.table(rows, remarks.HEADER)
    first = results[0]
    console.say(
        f"base material E = {first['base_E']:g}, nu = {first['base_nu']:g}; void "
        f"{first['void']:g} of solid. K, E, nu, Zener are those of the closest cubic "
        "tensor; E min and max those of the full one."
    )


def _name(path: pathlib.Path, paths: list[pathlib.Path]) -> str:
    """Return the name of a file's folder: its stem, or its name where stems repeat."""
    alike = [other for other in paths if other.stem == path.stem]
    return path.stem if len(alike) == 1 else path.name
