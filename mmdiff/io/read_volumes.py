"""Read stacks of images (TIFF) and datasets of HDF5 files, with optional libraries."""

import pathlib

import numpy as np

from mmdiff.errors import InputError


def read_tiff(path: pathlib.Path, *, key: str = "") -> tuple[np.ndarray, dict]:
    """Read a stack of images: x along their rows, y down, z through the stack."""
    tifffile = _require("tifffile", path)
    with tifffile.TiffFile(path) as file:
        axes, stack = file.series[0].axes, file.series[0].asarray()
        spacing = _spacing(file)
    if stack.ndim != 3 or "S" in axes:
        raise InputError(
            f"{path.name} has shape {stack.shape} with axes {axes}; a stack of gray "
            "images has three. Save one channel of all slices in one file."
        )
    return stack.transpose(2, 1, 0), {"spacing": spacing}


def _spacing(file) -> list[float]:
    """Return the edges of a voxel where ImageJ wrote them, else nothing."""
    along_z = (file.imagej_metadata or {}).get("spacing")
    tags = file.pages[0].tags
    if along_z is None or "XResolution" not in tags or "YResolution" not in tags:
        return []
    pixels = (tags[f"{axis}Resolution"].value for axis in "XY")  # in a unit of length
    return [*(under / over if over else 0.0 for over, under in pixels), along_z]


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
    if sorted(order) != ["x", "y", "z"] or (order != "xyz" and array.ndim != 3):
        raise InputError(
            f"{path.name}: {name} has the permute_order {order!r} and shape "
            f"{array.shape}. Save one cell with the axes x y z."
        )
    if array.ndim == 3:
        array = array.transpose([order.index(axis) for axis in "xyz"])
    return array, {"array": name}


def _only(found, path) -> str:
    """Return the one dataset that may be a cell."""
    fits = [name for name, shape in found.items() if len(shape) in (3, 4)]
    if len(fits) == 1:
        return fits[0]
    advice = "Choose one with `key=PATH`" if fits else "Save one cell as one array"
    raise InputError(
        f"{path.name} holds {len(fits)} datasets of numbers with three axes, or four "
        f"for many cells. It holds: {_listed(found)}. {advice}."
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
