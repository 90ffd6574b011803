"""Effective materials of an exported body: of its cell, or of each layer."""

from collections.abc import Sequence

import numpy as np

from mmdiff import elasticity
from mmdiff.cells import prepare
from mmdiff.cells.prepare import Options
from mmdiff.design.export.graded import Layer
from mmdiff.design.export.source import Source
from mmdiff.design.homogenize import geometry
from mmdiff.design.homogenize.solution import Material, Solver, solve
from mmdiff.errors import InputError
from mmdiff.typing import Float

Card = tuple[str, Float[np.ndarray, "6 6"], float]


def of_cell(source: Source, material: Material, solver: Solver) -> tuple[Card, str]:
    """Return name, tensor and solid share of a cell, and what to say if unconverged.

    A field is homogenized as its surface, on two grids, voxels by one element each.
    """
    if source.psi is not None:
        found = geometry.solve_surface(source.psi, material, solver)
        solution, volume = found.solution, float(found.grid.density.mean())
    else:
        grid = prepare.prepare(source.voxels, source.name, Options())
        solution, volume = solve(grid, material, solver), float(source.voxels.mean())
    note = (
        ""
        if bool(np.all(solution.converged))
        else f"{source.name}: the tensor is not converged. Set `maxiter` to more."
    )
    return (source.name, np.asarray(solution.tensor), volume), note


def of_layers(layers: Sequence[Layer], material: Material) -> list[Card]:
    """Return name, tensor and solid share of each layer of a graded block.

    Raises:
      InputError: another Poisson's ratio than that of the family's tensors.
    """
    if abs(material.nu - elasticity.NU) > 1e-9:
        raise InputError(
            f"base.nu={material.nu:g}: the tensors of a family are those of a base "
            f"material with nu={elasticity.NU:g}. Set `nu={elasticity.NU:g}`, or "
            "leave inp and mac out of `formats`."
        )
    return [
        (
            f"layer_{i}",
            material.E * elasticity.cubic_to_voigt(one.constants),
            one.volume,
        )
        for i, one in enumerate(layers)
    ]
