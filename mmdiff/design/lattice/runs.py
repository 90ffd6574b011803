"""Which lattices a run is asked for, and the unit of work of each."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mmdiff.cells import lattices
from mmdiff.design.homogenize.solution import Material, Solver
from mmdiff.design.lattice import report
from mmdiff.design.lattice.cell import Choice, analyse
from mmdiff.errors import InputError
from mmdiff.io.report import write
from mmdiff.run import console

ALL = "all"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How lattices are homogenized and written; see `cell.analyse`."""

    material: Material
    solver: Solver
    cell_size_mm: float = 10.0
    resolution: int = 128
    fields: tuple[str, ...] = ()


def named(names: str) -> list[str]:
    """Return the lattices of a list of names, all of them for "all".

    Raises:
      InputError: an unknown name, or one that is given twice.
    """
    if names.strip() == ALL:
        return list(lattices.NAMES)
    listed = [name.strip() for name in names.split(",")]
    unknown = [name for name in listed if name not in lattices.NAMES]
    if unknown:
        raise InputError(
            f"names={names}: no lattice is called {unknown[0]!r}. Use some of "
            f"{', '.join(lattices.NAMES)}, separated by commas, or all."
        )
    if len(set(listed)) < len(listed):
        raise InputError(f"names={names} names a lattice twice. Name each once.")
    return listed


def choose(
    names: str, volume: float, thickness: float, samples: int
) -> tuple[list[Choice], list[str]]:
    """Return the lattices of a list of names, and what to say of those left out.

    Of "all" those are left out that cannot have the volume or thickness.

    Raises:
      InputError: see `named`, or a named lattice that cannot have the volume or
        thickness.
    """
    every = names.strip() == ALL
    good, notes = [], []
    for name in named(names):
        choice = Choice(name=name, volume=volume, thickness=thickness, samples=samples)
        try:
            choice.parameter  # noqa: B018  (refuses what it cannot have)
        except InputError as error:
            if not every:
                raise
            notes.append(f"{name} is left out: {error}")
        else:
            good.append(choice)
    if not good:
        raise InputError(
            f"no lattice has a volume of {volume:g}"
            f"{f' or a thickness of {thickness:g} edges' if thickness else ''}. Take "
            "another one."
        )
    return good, notes


def make_unit(
    folder: pathlib.Path | None, settings: Settings, several: bool
) -> Callable[[Choice], tuple[dict[str, Any], np.ndarray]]:
    """Return what homogenizes a lattice and writes its report, unless folder is None.

    It returns values and voxels. Each of several lattices has a folder of its own.
    """

    def unit(choice):
        found = analyse(
            choice,
            settings.material,
            settings.solver,
            cell_size_mm=settings.cell_size_mm,
            resolution=settings.resolution,
            fields=settings.fields,
        )
        values = report.values_of(found, settings.solver)
        if folder is not None:
            own = folder / report.slug(choice.name) if several else folder
            console.notes(values["notes"])
            console.notes(write(own, report.of_one(found, values)))
        return values, found.voxels

    return unit
