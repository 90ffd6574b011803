"""The cell or family of cells that a file holds, for export.

Cells of this package's archives (`psi`, or `box` of those without mirror planes) and
datasets are level-set fields; all else is voxels, as `mmdiff.io.read` reads them.
"""

import dataclasses
import pathlib
import zipfile
from typing import Any, NamedTuple

import numpy as np

from mmdiff import memory
from mmdiff.cells import prepare, surface
from mmdiff.cells.prepare import Options
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.cells.voxels import to_cubes
from mmdiff.data import dataset
from mmdiff.design.homogenize import geometry
from mmdiff.design.interpolate.family import Member, members_of
from mmdiff.errors import InputError
from mmdiff.io import read
from mmdiff.io.cell_files import centres
from mmdiff.typing import Float, UInt8

FAMILY = "family.npz"
BYTES = 20  # of a voxel at least, while it becomes solid or void
SURFACES = ("auto", "field", "smooth", "voxels")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How a file is read, see `io.read`; `raw` holds the layout of .raw files."""

    key: str = ""
    index: str = ""
    raw: dict[str, Any] = dataclasses.field(default_factory=dict)
    options: Options = Options()
    surface: str = "auto"  # one of SURFACES: what is meshed
    resolution: int = 128  # voxels along the edge of a field

    def __post_init__(self):
        """Refuse an unknown surface."""
        if self.surface not in SURFACES:
            raise InputError(
                f"surface={self.surface} is unknown. Use {', '.join(SURFACES)}."
            )


class Source(NamedTuple):
    """A cell to export.

    Attributes:
      name: of the file, with the number of the cell where it holds several.
      voxels: the whole cell, 1 solid; voxels are cubes.
      psi: field of its octant, or None.
      box: field at the corners of its voxels, of cells without mirror planes, or None.
      exact: whether voxels are meshed with their stairs.
      notes: what the user should know.
    """

    name: str
    voxels: UInt8[np.ndarray, "nx ny nz"]
    psi: Float[np.ndarray, "n n n"] | None
    box: Float[np.ndarray, "x y z"] | None
    exact: bool
    notes: tuple[str, ...]


def check_resolution(resolution: int) -> None:
    """Refuse an odd number of voxels along the edge of a field."""
    if resolution % 2:
        raise InputError(
            f"resolution={resolution} is odd, but half a cell has whole voxels. Set "
            "`resolution` to an even number."
        )


def read_source(path: pathlib.Path, reading: Reading) -> Source:
    """Return the cell of a file or dataset.

    Raises:
      InputError: what cannot be read, several cells and none chosen, no solid, or no
        field where that is asked for.
    """
    index = reading.index or "all"  # and more than one of them is refused
    if dataset.is_dataset(path):
        data = dataset.load_dataset(path)
        shape = (len(data.volume), *(3 * (data.n,)))
        row = _only(read.choose(shape, path.name, index), path.name)
        return _of_field(f"{path.name}[{row}]", data.fields(row), reading, ())
    field = "" if reading.key else _field_in(path)
    array, info = read.read(path, key=field or reading.key, **reading.raw)
    chosen = read.select(array, path.name, index)
    number = _only([i for i, _ in chosen], path.name)
    name = path.name if number is None else f"{path.name}[{number}]"
    values, notes = chosen[0][1], tuple(info["notes"])
    if field == "psi":
        return _of_field(name, _finite(values, name), reading, notes)
    if field == "box":
        return _of_box(name, _finite(values, name), reading, notes)
    options = reading.options
    if options.voxel is None and info["spacing"]:
        options = dataclasses.replace(options, voxel=tuple(info["spacing"]))
    return _of_voxels(name, values, options, reading, notes)


def _only(numbers, name):
    if len(numbers) > 1:
        raise InputError(
            f"{name} holds {len(numbers)} cells and one is exported at a time. Choose "
            "it, as in `index=0`."
        )
    return numbers[0]


def _field_in(path) -> str:
    """Return the name of the array of fields in an archive of this package, or ""."""
    if path.suffix != ".npz" or not zipfile.is_zipfile(path):
        return ""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except zipfile.BadZipFile:  # the reader says what is wrong
        return ""
    return next((key for key in ("psi", "box") if f"{key}.npy" in names), "")


def _finite(values, name) -> Float[np.ndarray, "x y z"]:
    """Return a field as float64; InputError where it is none, or has no surface."""
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise InputError(
            f"{name}: the field holds NaN or infinite values. Export another cell."
        )
    if not (values > 0).any():
        raise InputError(
            f"{name} has no solid: its field is positive nowhere. Export another cell."
        )
    return values


def _of_field(name, psi, reading, notes) -> Source:
    psi = np.asarray(psi, np.float64)
    if len(set(psi.shape)) > 1:
        raise InputError(
            f"{name}: the field has shape {psi.shape}; that of an octant has three "
            "equal edges. Choose the voxels with `key=cells`."
        )
    voxels = octant_to_cell(surface.voxels(psi, reading.resolution // 2))
    _check_solid(voxels, name)
    exact, smooth = reading.surface == "voxels", reading.surface == "smooth"
    return Source(name, voxels, None if exact or smooth else psi, None, exact, notes)


def _check_solid(voxels, name) -> None:
    """Refuse a field whose solid is so small that no voxel is solid."""
    if not voxels.any():
        raise InputError(
            f"{name}: none of {' x '.join(map(str, voxels.shape))} voxels is solid, as "
            "the field is positive between their middles only. Export another cell."
        )


def _of_box(name, box, reading, notes) -> Source:
    voxels, exact = (centres(box) > 0).astype(np.uint8), reading.surface == "voxels"
    _check_solid(voxels, name)
    keep = reading.surface in ("auto", "field")
    return Source(name, voxels, None, box if keep else None, exact, notes)


def _of_voxels(name, array, options, reading, notes) -> Source:
    memory.require(
        BYTES * array.size,
        f"exporting {name} with {' x '.join(map(str, array.shape))} voxels",
        "Give fewer voxels.",
    )
    density = prepare.to_density(array, name, scale=options.scale)
    prepare.check_phases(density, name, options.threshold, scale=options.scale)
    if options.input_is == "octant":
        density = octant_to_cell(density)
    solid = density > options.threshold
    if options.voxel is not None:
        solid = to_cubes(solid, [edge / options.voxel[0] for edge in options.voxel])
    voxels, psi = np.asarray(solid).astype(np.uint8), None
    if reading.surface == "field":
        grid = prepare.prepare(voxels, name, Options())
        psi = geometry.field_of(grid, name)
    return Source(name, voxels, psi, None, reading.surface == "voxels", notes)


def read_family(path: pathlib.Path) -> list[Member]:
    """Return the cells of a family by volume: of a chain, or of a ladder.

    Args:
      path: family.npz, or the folder of a run of configs/interpolate.py.

    Raises:
      InputError: there is none, it is damaged, or has less than two cells.
    """
    file = path / FAMILY if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"no family at {path}. Give the workdir of configs/interpolate.py, or its "
            f"{FAMILY}, with `family=PATH`."
        )
    names = ("psi", "constants", "uncertainty", "volume", "kind", "theta")
    try:
        with np.load(file, allow_pickle=False) as archive:
            members = members_of({name: archive[name] for name in names})
    except Exception as error:  # NumPy and zipfile let all kinds through
        raise InputError(
            f"{file} is no family of cells ({type(error).__name__}: {error}). Make it "
            "again with configs/interpolate.py."
        ) from error
    grown = [member for member in members if member.kind == "chain"]
    grown = grown or [member for member in members if member.kind != "path"]
    found = sorted(grown or members, key=lambda member: member.volume)
    volumes = [member.volume for member in found]
    if len(set(volumes)) < 2:
        raise InputError(
            f"{file} holds {len(found)} cells of the volumes {volumes}; grading needs "
            "two volumes. Run configs/interpolate.py with a wider range."
        )
    return found
