"""Named lattices: homogenized each, compared, and graded in a block of cells."""

import functools
import pathlib

from ml_collections import ConfigDict

from mmdiff.design.homogenize.solution import Material, Solver, choose_fields
from mmdiff.design.lattice import graded, report, runs
from mmdiff.design.lattice.cell import Choice
from mmdiff.errors import InputError
from mmdiff.io.report import write
from mmdiff.run import console, workers


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Homogenize the lattices of the config, or grade one of them, and write all."""
    solver = Solver(config.solver.tol, config.solver.maxiter)
    settings = runs.Settings(
        material=Material(**dict(config.base), void=config.solver.void),
        solver=solver,
        cell_size_mm=config.cell_size_mm,
        resolution=config.resolution,
        fields=choose_fields(config.fields),
    )
    if any(config.grade):
        _grade(config, folder, settings)
        return
    thickness = config.thickness_mm / config.cell_size_mm
    choices, notes = runs.choose(config.names, config.vf, thickness, config.samples)
    console.notes(notes)
    several = len(choices) > 1 or config.names.strip() == runs.ALL
    found = _solve(choices, folder, settings, several, config.workers)
    if several:
        console.notes(write(folder, report.summary(found, notes)))
    _show([report.row(values) for values, _ in found])


def _grade(config, folder, settings) -> None:
    """Write a block of cells whose volume changes along an axis."""
    ends, axis = tuple(map(float, config.grade)), "xyz".find(config.axis or "-")
    if axis < 0 or len(config.axis) != 1:
        raise InputError(f"axis={config.axis} is unknown. Use x, y or z.")
    if len(ends) != 2 or min(ends) <= 0:
        raise InputError(
            f"grade={config.grade} is not two solid shares. Give those at both ends, "
            "such as `grade=0.1,0.4`, or zeros for one volume."
        )
    if len(config.repeat) != 3:
        raise InputError(
            f"repeat={config.repeat} is not three numbers of cells. Give those along "
            "x, y and z, such as `repeat=1,1,4`."
        )
    if config.thickness_mm:
        raise InputError(
            f"thickness_mm={config.thickness_mm:g} and grade={config.grade} exclude "
            "each other. Set `thickness_mm=0`."
        )
    name, *more = runs.named(config.names)
    if more:
        raise InputError(
            f"names={config.names}: one lattice is graded at a time. Name one."
        )
    block = graded.make_block(
        name, ends, tuple(config.repeat), axis=axis, samples=config.samples
    )
    layers = [
        Choice(name=name, volume=float(volume), samples=config.samples)
        for volume in block.layers
    ]
    found = _solve(layers, None, settings, True, config.workers)
    values = [values for values, _ in found]
    content = report.of_block(
        name, values, block.values, config.samples, config.cell_size_mm
    )
    console.notes(write(folder, content))
    _show([report.row(v) | {"": f"layer {i}"} for i, v in enumerate(values)])


def _solve(choices, folder, settings, several, processes):
    prepare = functools.partial(runs.make_unit, folder, settings, several)
    units = [(choice,) for choice in choices]
    found = dict(workers.run_units(prepare, units, workers=processes))
    return [found[i] for i in range(len(units))]


def _show(rows) -> None:
    console.table([[*row.values()] for row in rows], [*rows[0]])
