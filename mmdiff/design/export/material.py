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


def of_layers(layers: Sequence[Layer], young: float) -> list[Card]:
    """Return name, tensor and solid share of each layer of a graded block."""
    return [
        (f"layer_{i}", young * elasticity.cubic_to_voigt(one.constants), one.volume)
        for i, one in enumerate(layers)
    ]
