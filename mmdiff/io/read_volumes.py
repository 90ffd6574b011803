"""Read stacks of images (TIFF) and datasets of HDF5 files, with optional libraries."""

import pathlib

import numpy as np

from mmdiff.errors import InputError


def read_tiff(path: pathlib.Path, *, key: str = "") -> tuple[np.ndarray, dict]:
    """Read a stack of images: x along their rows, y down, z through the stack."""
    tifffile = _require("tifffile", path)
    stack = tifffile.imread(path)
    if stack.ndim != 3:
        raise InputError(
            f"{path.name} has shape {stack.shape}; a stack of gray images has three "
            "axes. Save one channel of all slices in one file."
        )
    return stack.transpose(2, 1, 0), {}


def read_hdf5(path: pathlib.Path, *, key: str = "") -> tuple[np.ndarray, dict]:
    """Read a dataset by its path in the file, or the only one with three axes.

    Axes are x y z, or z y x where the attribute `permute_order` says so, as in files of
    FANS.
    """
    h5py = _require("h5py", path)
    with h5py.File(path, "r") as file:
        found: dict[str, tuple[int, ...]] = {}

        def visit(name, item):
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf":
                found[name] = item.shape

        file.visititems(visit)
        name = key.strip("/") or _only(found, path)
        if name not in found:
            raise InputError(
                f"{path.name} holds no dataset {key!r} of numbers. It holds: "
                f"{_listed(found)}. Choose one with `key=PATH`."
            )
        dataset = file[name]
        order = dataset.attrs.get("permute_order", "xyz")
        order = order.decode() if isinstance(order, bytes) else str(order)
        array = dataset[()]
    if order == "zyx" and array.ndim == 3:
        array = array.transpose(2, 1, 0)
    return array, {"array": name}


def _only(found, path) -> str:
    """Return the one dataset that may be a cell."""
    fits = [name for name, shape in found.items() if len(shape) in (3, 4)]
    if len(fits) == 1:
        return fits[0]
    raise InputError(
        f"{path.name} holds {len(fits)} datasets of numbers with three axes, or four "
        f"for many cells. It holds: {_listed(found)}. Choose one with `key=PATH`."
    )


def _listed(found) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in found.items()) or "nothing"


def _require(library, path):
    try:
        return __import__(library)
    except ImportError as error:
        raise InputError(
            f"{path.name}: {path.suffix} files need {library}. Install it with pip "
            "install 'mmdiff[formats]', or save the array as .npy."
        ) from error
