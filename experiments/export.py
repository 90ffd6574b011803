"""Write a cell, copies of it or a graded block for print and CAE; check the mesh."""

import dataclasses
import pathlib

from ml_collections import ConfigDict

from mmdiff.cells.prepare import Options
from mmdiff.design.export import block, check, decimate, graded, material, report
from mmdiff.design.export import source as sources
from mmdiff.design.homogenize.solution import Material, Solver
from mmdiff.errors import InputError
from mmdiff.io.report import write
from mmdiff.run import console


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Export what the config names, and write the report."""
    if bool(config.path) == bool(config.family):
        raise InputError(
            f"path={config.path!r} and family={config.family!r}: one of them is "
            "exported. Pass a cell, `path=cell.npy`, or a family, `family=out/family`."
        )
    sources.check_resolution(config.resolution)
    formats = report.parse_formats(config.formats)
    body, printed, layers, cell = _body(config)
    asked, cards, notes = {*formats} & {*report.CARDS}, [], list(body.notes)
    body, reduced = _reduced(config, body)  # refused before any tensor is computed
    base = Material(config.base.E, config.base.nu, config.solver.void)
    if asked and layers:
        cards = material.of_layers(layers, base)
    elif asked:
        solver = Solver(config.solver.tol, config.solver.maxiter)
        card, told = material.of_cell(cell, base, solver)
        cards, notes = [card], [*notes, *([told] if told else [])]
    checked = check.check_mesh(body.vertices, body.faces)
    values = report.make_values(
        body,
        checked,
        printed,
        density=config.density,
        reduced=reduced,
        layers=layers,
    )
    notes += report.remarks(values, config.min_wall_mm)
    notes = console.notes(notes)
    single = cell is not None and tuple(config.tiles) == (1, 1, 1)
    content = report.make_report(
        body,
        values,
        formats,
        cards=cards,
        psi=cell.psi if single else None,
        notes=notes,
    )
    console.notes(write(folder, content))
    rows = report.tables(values)["Body"]
    console.table([[*row.values()] for row in rows], ["", body.name])
    console.say(
        f"{body.name}: {checked.triangles} triangles, mesh "
        f"{'sound' if checked.is_sound else 'not sound, see above'}; files in {folder}."
    )


def _body(config):
    """Return the body, what its cells measure, its layers, and the cell or None."""
    tiles, size = tuple(config.tiles), config.cell_size_mm
    if config.family:
        path = pathlib.Path(config.family)
        body, layers, used = graded.make_graded(
            sources.read_family(path),
            path.name,
            tiles=tiles,
            size_mm=size,
            axis=config.axis,
            ends=tuple(map(float, config.grade)),
            samples=config.resolution // 2,
        )
        return body, graded.walls(used, size), layers, None
    if any(config.grade):
        raise InputError(
            f"grade={tuple(config.grade)} needs cells of several volumes. Pass "
            "`family`, the workdir of configs/interpolate.py, in place of `path`."
        )
    reading = sources.Reading(
        key=config.key,
        index=config.index,
        raw=dict(config.raw) | {"voxels": config.mesh_voxels},
        options=Options(
            input_is=config.input_is, scale=config.scale, threshold=config.threshold
        ),
        surface=config.surface,
        resolution=config.resolution,
    )
    cell = sources.read_source(pathlib.Path(config.path), reading)
    body = block.make_block(cell, tiles, size)
    return body, report.of_cell(cell, size), (), cell


def _reduced(config, body):
    """Return the body with as many triangles as allowed, and what that cost."""
    most, before = config.max_triangles, len(body.faces)
    if not most or before <= most:
        return body, None
    found = decimate.decimate(body.vertices, body.faces, most, config.max_deviation_mm)
    off = found.deviation
    reduced = {
        "triangles_before": before,
        "max_triangles": most,
        "max_deviation_mm": config.max_deviation_mm,
        "deviation_mm": off.largest,
        "of_reduced_from_full_mm": off.back,
        "of_full_from_reduced_mm": off.there,
        "spacing_mm": off.spacing,
        "points": off.points,
    }
    body = dataclasses.replace(body, vertices=found.vertices, faces=found.faces)
    return body, reduced
