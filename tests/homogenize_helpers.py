"""Cells and tensors for the tests of homogenized cells."""

import numpy as np

from mmdiff.cells.prepare import Grid
from mmdiff.design.homogenize import printable_voxels, properties
from mmdiff.design.homogenize.solution import Material, Solution

SOLID = Material()


def schwarz(n=16):
    """Return a sheet around the Schwarz P surface, uint8 (n, n, n)."""
    x = (np.indices((n, n, n)) + 0.5) / n * 2 * np.pi
    return (abs(np.cos(x).sum(0)) < 0.8).astype(np.uint8)


def rods():
    """Return three crossed rods and two loose blocks of 8 voxels."""
    cell = np.zeros((16, 16, 16), np.float32)
    cell[6:8, 6:8, :] = cell[6:8, :, 6:8] = cell[:, 6:8, 6:8] = 1
    cell[1:3, 1:3, 1:3] = cell[12:14, 12:14, 12:14] = 1
    return cell


def solution(tensor, **changes):
    """Return a solution of six loads that was not computed."""
    values = {
        "iterations": [7] * 6,
        "residual": [1e-6] * 6,
        "converged": [True] * 6,
        "singular": [False] * 6,
    }
    arrays = {name: np.array(value) for name, value in (values | changes).items()}
    return Solution(tensor=tensor, loads=tuple(range(6)), **arrays)


def summary(cell, tensor, material=SOLID, **changes):
    """Return the properties of a cell with a given tensor."""
    grid = Grid(cell, "periodic")
    printed = printable_voxels.printability_of_voxels(cell)
    return {
        **properties.summarize(grid, solution(tensor, **changes), material),
        "C_voxels": properties.constants(tensor),
        "refined": None,
        "uncertainty": None,
        "cell_size_mm": 10.0,
        "conductivity": None,
        "peak_stress": None,
        "printability": properties.of_print(printed, "voxels", 10.0, len(cell)),
    }
