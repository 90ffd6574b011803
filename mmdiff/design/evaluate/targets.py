"""Targets that a model is measured on: of a list, or of cells it has not seen."""

import os

import numpy as np

from mmdiff.errors import InputError
from mmdiff.run import console
from mmdiff.targets import feasibility, table
from mmdiff.targets.table import Line
from mmdiff.targets.target import Target, of_constants
from mmdiff.typing import Float


def read_list(path: str | os.PathLike, count: int) -> list[Line]:
    """Return the first `count` lines of a list of targets, all of which can be read."""
    lines = table.read(path)
    if not 1 <= count <= len(lines):
        raise InputError(
            f"num_targets={count}, and {path} has {len(lines)} targets. Set "
            "`num_targets` to one of 1 to that number."
        )
    table.refuse(lines[:count], path)
    return lines[:count]


def infeasible(lines: list[Line]) -> list[int]:
    """Return the places of targets that no cell can reach, the first one noted."""
    beyond = [line for line in table.check(lines) if line.problem]
    if beyond:
        why = beyond[0].problem.removesuffix(f" {feasibility.ANYWAY}")  # it does anyway
        console.note(
            f"{len(beyond)} of {len(lines)} targets cannot be reached by any cell, the "
            f"first in line {beyond[0].number}: {why}"
        )
    return [line.index for line in beyond]


def of_cells(
    constants: Float[np.ndarray, "N 3"], volume: Float[np.ndarray, "N"], count: int
) -> list[Target]:
    """Return tensors and volumes of cells, in one random order for all runs."""
    if not 1 <= count <= len(volume):
        raise InputError(
            f"num_targets={count}, and the dataset has {len(volume)} test cells. Set "
            "`num_targets` to one of 1 to that number, or `data` to another dataset."
        )
    rows = np.random.default_rng(0).permutation(len(volume))[:count]
    return [of_constants(constants[row].tolist(), float(volume[row])) for row in rows]
