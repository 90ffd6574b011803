"""Read what takes a library: stacks of images (TIFF), HDF5 files, closed surfaces.

Each file is read in a process of its own (`mmdiff.apart`), by the functions `load_...`:
the libraries trust what is in a file, HDF5's is written in C, and what they unpack is
limited by the memory of that process alone.
"""

import importlib.util
import io
import math
import pathlib
import zipfile

import numpy as np

from mmdiff import apart, memory
from mmdiff.errors import InputError, cut

_SPARE = 2**28  # bytes that libraries take beside an array


def read_tiff(path: pathlib.Path, *, key: str = "") -> tuple[np.ndarray, dict]:
    """Read a stack of images: x along their rows, y down, z through the stack."""
    require("tifffile", path)
    (stack,), values = apart.read(__name__, "load_tiff", path)
    return stack.transpose(2, 1, 0), values


def load_tiff(path: str) -> tuple[list[np.ndarray], dict]:
    """Return a stack (z, y, x) and its spacing."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        if len(series.shape) != 3 or "S" in series.axes:
            raise InputError(
                f"{pathlib.Path(path).name} has shape {series.shape} with axes "
                f"{series.axes}; a stack of gray images has three. Save one channel of "
                "all slices in one file."
            )
        _limit(path, series.shape, series.dtype)
        return [series.asarray()], {"spacing": _spacing(file)}


def _limit(path, shape, kind) -> None:
    """Give this process the memory for an array that a file announces, and no more."""
    size = math.prod(map(int, shape)) * np.dtype(kind).itemsize
    name, edges = pathlib.Path(path).name, " x ".join(map(str, shape))
    advice = "Give a smaller cell."
    memory.require(2 * size, f"{name} holds {edges} values: that", advice)
    memory.limit(2 * size + _SPARE)


def _spacing(file) -> list[float]:
    """Return the edges of a voxel where ImageJ wrote them, else nothing."""
    along_z = (file.imagej_metadata or {}).get("spacing")
    tags = file.pages[0].tags
    if along_z is None or "XResolution" not in tags or "YResolution" not in tags:
        return []
    pixels = (tags[f"{axis}Resolution"].value for axis in "XY")  # in a unit of length
    edges = (under / over if over else 0.0 for over, under in pixels)
    return [float(edge) for edge in (*edges, along_z)]


def read_hdf5(path: pathlib.Path, *, key: str = "") -> tuple[np.ndarray, dict]:
    """Read a dataset by its path in the file, or the only one with three axes.

    Axes are x y z, or z y x where the attribute `permute_order` says so, as in files of
    FANS.
    """
    require("h5py", path)
    (array,), values = apart.read(__name__, "load_hdf5", path, key=key)
    name, order = values["array"], values["order"]
    if sorted(order) != ["x", "y", "z"] or (order != "xyz" and array.ndim != 3):
        raise InputError(
            f"{path.name}: {name} has the permute_order {cut(repr(order))} and shape "
            f"{array.shape}. Save one cell with the axes x y z."
        )
    if array.ndim == 3:
        array = array.transpose([order.index(axis) for axis in "xyz"])
    return array, {"array": name}


def load_hdf5(path: str, key: str) -> tuple[list[np.ndarray], dict]:
    """Return a dataset, its name and the order of its axes."""
    import h5py

    label = pathlib.Path(path).name
    with h5py.File(path, "r") as file:
        found: dict[str, tuple[int, ...]] = {}

        def visit(name, item):
            # What lies in other files stays there.
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf":
                if not (item.is_virtual or item.external):
                    found[name] = item.shape or ()

        file.visititems(visit)
        name = key.strip("/") or _only(found, label)
        if name not in found:
            raise InputError(
                f"{label} holds no dataset {cut(repr(key))} of numbers. It holds: "
                f"{_listed(found)}. Choose one with `key=PATH`."
            )
        dataset = file[name]
        order = dataset.attrs.get("permute_order", "xyz")
        order = order.decode() if isinstance(order, bytes) else str(order)
        _limit(path, dataset.shape, dataset.dtype)
        return [dataset[()]], {"array": name, "order": order}


def _only(found, label) -> str:
    """Return the one dataset that may be a cell."""
    fits = [name for name, shape in found.items() if len(shape) in (3, 4)]
    if len(fits) == 1:
        return fits[0]
    advice = "Choose one with `key=PATH`" if fits else "Save one cell as one array"
    raise InputError(
        f"{label} holds {len(fits)} datasets of numbers with three axes, or four "
        f"for many cells. It holds: {_listed(found)}. {advice}."
    )


def _listed(found) -> str:
    return cut(", ".join(f"{name} {shape}" for name, shape in found.items())) or (
        "nothing"
    )


def load_surface(path: str) -> tuple[list[np.ndarray], dict]:
    """Return vertices (v, 3) and triangles (f, 3) of a closed surface."""
    import trimesh

    file = pathlib.Path(path)
    size = file.stat().st_size
    if zipfile.is_zipfile(file):  # 3MF
        with zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
    # A number of a text takes a few bytes there, and some hundred on the way.
    advice = "Export the surface with fewer triangles."
    memory.require(20 * size, f"reading {file.name}", advice)
    memory.limit(100 * size + 4 * _SPARE)
    try:
        # Of its content, not its name: files that it names are not opened.
        content = io.BytesIO(file.read_bytes())
        mesh = trimesh.load_mesh(content, file_type=file.suffix[1:].lower())
    except ImportError as error:  # what it needs for some formats
        raise InputError(
            f"{file.name}: {error}. Install what {file.suffix} files need with pip "
            "install 'mmdiff[formats]'."
        ) from error
    if len(mesh.faces) == 0:
        raise InputError(f"{file.name} holds no triangles. Export the solid again.")
    if not mesh.is_watertight:
        raise InputError(
            f"{file.name} is no closed surface, so what is inside is not defined. "
            "Repair it, for example with trimesh.repair.fill_holes, or export the "
            "solid again."
        )
    if mesh.volume < 0:
        mesh.invert()
    points = np.asarray(mesh.vertices, np.float64)
    return [points, np.asarray(mesh.faces, np.int64)], {}


def require(library: str, path: pathlib.Path) -> None:
    """Raise InputError where the library for a file is not installed."""
    if importlib.util.find_spec(library) is None:
        raise InputError(
            f"{path.name}: {path.suffix} files need {library}. Install it with pip "
            "install 'mmdiff[formats]', or save the array as .npy."
        )
