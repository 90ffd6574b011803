"""A block of cells that is graded along an axis through the members of a family.

Tensors of its layers are those between the two members nearest in volume.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmdiff.cells import mesh
from mmdiff.cells.printable import printability
from mmdiff.design.export.block import Block, check_size
from mmdiff.design.interpolate import strip
from mmdiff.design.interpolate.family import Member
from mmdiff.design.interpolate.pairs import face_agreement
from mmdiff.errors import InputError
from mmdiff.io.cell_files import NO_MESHER, centres
from mmdiff.typing import Float

AXES = "xyz"
FIT = 0.95  # agreement of faces of neighbours below which it is told


class Layer(NamedTuple):
    """Cells of one volume; constants C11, C12, C44 for base E = 1."""

    volume: float
    constants: Float[np.ndarray, "3"]


def make_graded(
    members: Sequence[Member],
    name: str,
    *,
    tiles: tuple[int, int, int],
    size_mm: float,
    axis: str = "x",
    ends: tuple[float, float] = (0.0, 0.0),
    samples: int = 64,
) -> tuple[Block, list[Layer], list[Member]]:
    """Return a graded block, its layers along the axis, and the members in it.

    Args:
      members: by volume.
      name: of the family.
      tiles: cells along x, y and z.
      size_mm: edge of a cell.
      axis: along which the volume changes.
      ends: volumes at both ends of it; zeros for those of the family.
      samples: voxels along half a cell.

    Raises:
      InputError: an unknown axis, volumes that the family does not reach, or a block
        of one volume.
    """
    if len(axis) != 1 or axis not in AXES:
        raise InputError(f"axis={axis} is unknown. Use x, y or z.")
    known = [member.volume for member in members]
    low, high = ends if any(ends) else (known[0], known[-1])
    if min(low, high) < known[0] - 1e-6 or max(low, high) > known[-1] + 1e-6:
        raise InputError(
            f"grade={low:g},{high:g} leaves the volumes of {name}, {known[0]:.4g} to "
            f"{known[-1]:.4g}. Set `grade` within these."
        )
    if abs(low - high) < 1e-6:
        raise InputError(
            f"grade={low:g},{high:g} is one volume. Give two, or one cell with `path`."
        )
    check_size(3 * (2 * samples,), tiles)
    along = AXES.index(axis)
    values = strip.graded(
        members, tiles[along], samples, tiles=tiles, axis=along, ends=(low, high)
    )
    voxels = (centres(values) > 0).astype(np.uint8)
    spacing, notes = size_mm / (2 * samples), []
    try:
        vertices, faces = mesh.box_surface(values, spacing)
    except ImportError:
        vertices, faces = mesh.voxel_surface(voxels, spacing * len(voxels))
        notes.append(NO_MESHER)
    least, most = min(low, high), max(low, high)
    first = max(np.searchsorted(known, least, "right") - 1, 0)
    last = min(np.searchsorted(known, most, "left") + 1, len(members))
    used = list(members[first:last])
    fits = [face_agreement(a.psi, b.psi)[0] for a, b in itertools.pairwise(used)]
    if min(fits, default=1.0) < FIT:
        notes.append(
            f"{name}: faces of neighbours agree in {100 * min(fits):.1f} % only, so "
            "that walls may end between cells. A chain of configs/interpolate.py fits."
        )
    block = Block(name, voxels, spacing, vertices, faces, tuple(notes))
    return block, layers(members, low, high, tiles[along]), used


def layers(
    members: Sequence[Member], low: float, high: float, count: int
) -> list[Layer]:
    """Return the layers of a block: the volume in the middle of each, its constants."""
    volumes = low + (high - low) * (np.arange(count) + 0.5) / count
    known = [member.volume for member in members]
    constants = np.stack([member.constants for member in members])
    columns = [np.interp(volumes, known, column) for column in constants.T]
    rows = np.stack(columns, 1)
    return [Layer(float(v), row) for v, row in zip(volumes, rows, strict=True)]


def walls(members: Sequence[Member], size_mm: float) -> dict[str, float]:
    """Return the least walls and gaps of members in mm, and most trapped void."""
    found = [printability(member.psi).in_mm(size_mm) for member in members]
    return {
        "wall_mm": min(one.wall for one in found),
        "gap_mm": min(one.gap for one in found),
        "trapped": max(one.trapped for one in found),
    }
