"""The ends of a path: cells of a dataset by their numbers, or voxel files of a user."""

import pathlib
from collections.abc import Callable

import numpy as np

from mmdiff.cells import prepare
from mmdiff.data.dataset import Dataset
from mmdiff.design.interpolate.family import Member
from mmdiff.errors import InputError
from mmdiff.io import read as files
from mmdiff.topopt.interface import Evaluation

KEYS = ("first", "second")


def read(
    texts: tuple[str, str],
    usual: tuple[Member, Member] | None,
    data: Dataset,
    evaluate: Callable[..., Evaluation],
) -> tuple[Member, Member]:
    """Return the two ends, theta 0 and pi/2, refused where they are not cubic or equal.

    Of each a text holds a file, the number of a cell of the dataset, or nothing for the
    usual cell.
    """
    first, second = (
        _end(text, key, data, evaluate) if text else usual[i]
        for i, (text, key) in enumerate(zip(texts, KEYS, strict=True))
    )
    if np.array_equal(first.octant, second.octant):
        raise InputError("first and second are the same cell. Pass two that differ.")
    return first._replace(theta=0.0), second._replace(theta=np.pi / 2)


def _end(text: str, key: str, data, evaluate) -> Member:
    octants, constants = data.octants, data.constants
    if text.isdecimal():
        if int(text) >= len(octants):
            raise InputError(
                f"{key}={text} is no cell of the dataset, which holds {len(octants)}. "
                f"Pass `{key}=0` to {len(octants) - 1}."
            )
        return Member(octants[int(text)], constants[int(text)], f"dataset {text}")
    file = pathlib.Path(text)
    if not file.is_file() or file.suffix.lower() == ".raw":
        raise InputError(
            f"{key}={text} is neither the number of a cell nor a voxel file with a "
            f"shape. Pass `{key}=cell.npy` or `{key}=0`."
        )
    array, _ = files.read(file)
    if array.ndim != 3:
        raise InputError(
            f"{key}={text} holds {len(array)} cells. Save the one as a file of its own."
        )
    edge = 2 * octants.shape[-1]
    resize = 0 if array.shape == (edge,) * 3 else edge
    options = prepare.Options(binarize=True, resize=resize)
    grid = prepare.prepare(array, file.name, options)
    if grid.symmetry != "cubic":
        raise InputError(
            f"{key}={text} is {grid.symmetry} and not cubic, as all cells of the "
            "network are. Pass a cell with mirror planes and equal axes."
        )
    octant = (grid.density > 0.5).astype(np.uint8)
    result = evaluate(octant)
    if not result.converged:
        raise InputError(
            f"{key}={text} cannot be homogenized (residual {result.residual:.1g}). "
            "Pass a connected cell."
        )
    return Member(octant, np.asarray(result.constants), file.name)
