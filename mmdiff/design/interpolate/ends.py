"""The cells a path or a chain begins with, as a user names them.

Cells of a dataset by their numbers, voxel files, or, of a chain, named lattices.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from mmdiff.cells import lattices, prepare
from mmdiff.data.dataset import Dataset
from mmdiff.design.interpolate.family import Member, measured, of_dataset
from mmdiff.errors import InputError
from mmdiff.io import read as files
from mmdiff.typing import Float

KEYS = ("first", "second")
CONDITIONS = ("none", "ends")
USUAL = 0.3, 0.5
FAMILIES = ("chain", "ladder", "none")


def check(conditions: str, family: str, num_path: int, texts: tuple[str, str]) -> None:
    """Refuse settings of a path and a family that do not go together."""
    for key, value, known in (
        ("conditions", conditions, CONDITIONS),
        ("family", family, FAMILIES),
    ):
        if value not in known:
            raise InputError(
                f"{key}={value!r} is unknown. Use {', '.join(known[:-1])} or "
                f"{known[-1]}."
            )
    if family != "none":
        return
    if not num_path:
        raise InputError(
            "family=none and num_path=0 leave nothing to do. Set one of them."
        )
    for key, text in zip(KEYS, texts, strict=True):
        if not text:
            raise InputError(
                f"{key} is empty, and with family=none there is no family to take it "
                f"from. Give a voxel file or a number with `{key}`."
            )


Given = tuple[Member | None, Member | None]


def read(texts: tuple[str, str], data: Dataset) -> Given:
    """Return the two ends of texts, refused where they are not cubic.

    Of each a text holds a file, the number of a cell of the dataset, or nothing.
    """
    first, second = (
        _end(text, key, data) if text else None
        for text, key in zip(texts, KEYS, strict=True)
    )
    return first, second


def both(given: Given, usual: tuple[Member, Member]) -> tuple[Member, Member]:
    """Return the two ends, theta 0 and pi/2: usual cells where none is given."""
    first, second = (end or other for end, other in zip(given, usual, strict=True))
    if np.array_equal(first.psi, second.psi):
        raise InputError("first and second are the same cell. Pass two that differ.")
    return first._replace(theta=0.0), second._replace(theta=np.pi / 2)


def usual(members: Sequence[Member]) -> tuple[Member, Member]:
    """Return the members of a family that are nearest to two volumes, `USUAL`.

    The straight line between others may lead beyond what is possible.
    """
    volume = np.array([member.volume for member in members])
    first, second = (int(np.argmin(abs(volume - share))) for share in USUAL)
    if first == second:
        first, second = 0, len(members) - 1
    return members[first], members[second]


def seed(text: str, data: Dataset, volume: float) -> Float[np.ndarray, "n n n"]:
    """Return the field of the cell that a chain is grown from.

    The text is the name of a lattice, which gets the volume or, where it must be
    thicker, the least it can have; else it is that of an end of a path.

    Raises:
      InputError: neither, or a lattice that is too fine for the samples of the cells.
    """
    if text not in lattices.MIRRORED:
        if not text.isdecimal() and not pathlib.Path(text).is_file():
            raise InputError(
                f"seed_cell={text!r} is no lattice with mirror planes, no number of a "
                f"cell and no file. Use one of {', '.join(lattices.MIRRORED)}, such as "
                "`seed_cell='sc plates'`."
            )
        return _end(text, "seed_cell", data).psi
    least, most = lattices.volumes(text, data.n)
    if least > most:
        raise InputError(
            f"seed_cell={text!r} has walls too thin for the {2 * data.n} samples an "
            "edge of the network's cells. Take another `seed_cell`, such as "
            "`seed_cell='sc plates'`."
        )
    return lattices.lattice(text, min(max(volume, least + 1e-3), most), data.n)


def _end(text: str, key: str, data) -> Member:
    if text.isdecimal():
        if int(text) >= len(data.volume):
            raise InputError(
                f"{key}={text} is no cell of the dataset, which holds "
                f"{len(data.volume)}. Pass `{key}=0` to {len(data.volume) - 1}."
            )
        return of_dataset(data, int(text), f"dataset {text}")
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
    edge = 2 * data.n
    # A finer one of the same mirror planes has more to tell than a resampled one.
    fits = len({*array.shape}) == 1 and array.shape[0] % edge == 0
    resize = 0 if fits else edge
    options = prepare.Options(binarize=True, resize=resize)
    grid = prepare.prepare(array, file.name, options)
    if grid.symmetry != "cubic":
        raise InputError(
            f"{key}={text} is {grid.symmetry} and not cubic, as all cells of the "
            "network are. Pass a cell with mirror planes and equal axes."
        )
    octant = (grid.density > 0.5).astype(np.uint8)
    found, flaw = measured(octant, data.n, file.name)
    if found is None:
        raise InputError(
            f"{key}={text} is {flaw} once its steps are rounded off. Pass a connected "
            "cell whose walls have three voxels or more."
        )
    return found
