"""Homogenize voxel files: read, prepare, solve, report; one folder per file of many."""

import json
import pathlib
import time

import numpy as np
from ml_collections import ConfigDict

from mmdiff.design import characterize, dossier
from mmdiff.errors import InputError
from mmdiff.io import console, page, prepare, readers, workdir, writers


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Homogenize the file or the files of the config and write the results."""
    if not config.input:
        raise InputError(
            "no input is given. Pass a voxel file or a folder of them: "
            "--config.input=cell.npy."
        )
    material = characterize.Material(
        config.base.E, config.base.nu, config.solver.void, config.solver.penal
    )
    source = pathlib.Path(config.input)
    if not source.is_dir():
        facts = homogenize_file(source, folder, folder, config, material)
        console.table(
            dossier.tensor_rows(np.array(facts["C"])),
            ["C", *dossier.VOIGT],
        )
        _table([facts])
        return
    paths = readers.find(source)
    if not paths:
        raise InputError(
            f"folder {source} holds no voxel file. Known are "
            f"{', '.join(readers.SUFFIXES)}."
        )
    results, failures = [], []
    for path in paths:
        own = folder / _name(path, paths)
        own.mkdir(exist_ok=True)
        try:
            results.append(homogenize_file(path, own, folder, config, material))
        except InputError as error:  # one bad file must not stop the others
            failures.append((path.name, str(error)))
            console.note(f"left out: {error}")
            if not any(own.iterdir()):
                own.rmdir()
    if not results:
        name, message = failures[0]
        raise InputError(f"none of {len(paths)} files could be homogenized. {message}")
    rows = [dossier.flat(facts) for facts in results]
    rows += [{"file": name, "error": message} for name, message in failures]
    writers.write_csv(folder / "properties.csv", rows)
    _write_index(folder, config.input)
    _table(results)
    if failures:
        console.say(f"left out {len(failures)} of {len(paths)} files; see above.")


def homogenize_file(
    path: pathlib.Path,
    folder: pathlib.Path,
    log: pathlib.Path,
    config: ConfigDict,
    material: characterize.Material,
) -> dict:
    """Homogenize one file into a folder and return the content of properties.json.

    A folder that an interrupted run has finished is read, not solved again. `log` is
    the workdir, which gets the line of metrics.
    """
    done = folder / "properties.json"
    if done.is_file():
        facts = json.loads(done.read_text("utf-8"))
        if facts.get("file") == path.name:
            return facts
    array, info = readers.read(
        path,
        key=config.key,
        shape=config.raw.shape,
        dtype=config.raw.dtype,
        order=config.raw.order,
    )
    grid = prepare.prepare(
        array,
        path.name,
        input_is=config.input_is,
        symmetry=config.symmetry,
        scale=config.scale,
        threshold=config.threshold,
        binarize=config.binarize,
        resize=config.resize,
        method=config.resize_method,
    )
    start = time.perf_counter()
    limits = {"tol": config.solver.tol, "maxiter": config.solver.maxiter}
    solution = characterize.solve(grid, material, **limits, dtype=config.solver.dtype)
    seconds = time.perf_counter() - start
    facts = characterize.report(grid, solution, material, threshold=config.threshold)
    notes = [
        *info.pop("notes"),
        *grid.notes,
        *characterize.remarks(path.name, facts, **limits),
    ]
    for note in notes:
        console.note(note)
    facts = {
        "file": info.pop("file"),
        "conventions": characterize.CONVENTIONS,
        **facts,
        **limits,
        "dtype": config.solver.dtype,
        "input": {**info, "is": config.input_is, "scale": config.scale},
        "notes": notes,
    }
    dossier.write(folder, path.name, grid.cell, solution, facts, notes=notes)
    workdir.append_metrics(
        log,
        {
            "file": path.name,
            "seconds": seconds,
            "iterations": max(facts["iterations"]),
            "residual": max(facts["residual"]),
            "converged": facts["converged"],
        },
    )
    return facts


def _write_index(folder: pathlib.Path, source: str) -> None:
    """Link the report of every file and show its picture."""
    inside = [
        path.relative_to(folder).as_posix()
        for pattern in ("*/report.html", "*/sphere.png")
        for path in sorted(folder.glob(pattern))
    ]
    entries = [*inside, *page.list_files(folder)]
    text = page.simple_page(f"mmdiff: {source} homogenized", entries)
    writers.write_bytes(folder / "index.html", text.encode())


def _table(results: list[dict]) -> None:
    rows = [characterize.row(facts["file"], facts) for facts in results]
    console.table(rows, characterize.HEADER)
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
