"""A verified binary cell, and how a sampled field becomes one.

A field is thresholded, to a volume if one is given, and freed of loose pieces; what
does not hang together or carry load is refused. The tensor of a `Cell` is that of its
very voxels.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from mmdiff.cells.connectivity import clean_octant, is_load_bearing, periodic_pieces
from mmdiff.cells.symmetry import octant_to_cell, symmetrize
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.elasticity import NAMES, cubic_to_voigt
from mmdiff.targets import target as targets
from mmdiff.targets.target import Target
from mmdiff.topopt.interface import Evaluation
from mmdiff.typing import Float, UInt8

MIN_SHARE = 0.8  # least share of the solid that the largest piece must hold
NEAR = 1.0  # standard deviation of a voxel's neighbourhood, in voxels
SUPPORT = 0.5  # weight of a voxel's neighbours in what becomes solid first


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Cell:
    """A binary cell whose tensor finite elements have given, base E = 1.

    Attributes:
      octant: (n, n, n) uint8, symmetric under permutations of its axes.
      constants: C11, C12, C44 by finite elements on this very octant.
      volume: solid share of the octant.
      pieces: periodic pieces of the cell of this very octant; always one.
      pieces_found: periodic pieces before loose ones were removed.
      error: distance from the target, `targets.target.error`; of all three constants
        the range error (arXiv 2401.13570, Eq. 3), a fraction.
      relative_error: `targets.target.relative_error`, a fraction.
      residual: relative residual of the solve.
      history: error of the sample, of its smoothed surface where that was polished,
        then after each accepted polishing step, also of a cell made anew (`refine`).
      volumes: volume at each of these.
      sampled: constants of the sample, before its surface was moved.
    """

    octant: UInt8[np.ndarray, "n n n"]
    constants: Float[np.ndarray, "3"]
    volume: float
    pieces: int
    pieces_found: int
    error: float
    relative_error: float
    residual: float
    history: tuple[float, ...]
    volumes: tuple[float, ...]
    sampled: Float[np.ndarray, "3"]

    @property
    def voxels(self) -> UInt8[np.ndarray, "m m m"]:
        """The whole cell, 1 solid, axes x y z."""
        return octant_to_cell(self.octant)

    @property
    def tensor(self) -> Float[np.ndarray, "6 6"]:
        """Elastic tensor in Voigt order 11 22 33 23 13 12, engineering shear."""
        return cubic_to_voigt(self.constants)

    def __repr__(self) -> str:
        """Return size, volume, constants and error on one line."""
        edge = 2 * self.octant.shape[-1]
        constants = zip(NAMES, self.constants, strict=True)
        return (
            f"Cell({edge}^3 voxels, volume {self.volume:.3f}, "
            f"{', '.join(f'{name} {value:.4f}' for name, value in constants)}, "
            f"{100 * self.error:.2f} % from the target)"
        )


def binarize(
    field: Float[np.ndarray, "n n n"], volume: float | None
) -> tuple[UInt8[np.ndarray, "n n n"], str, int]:
    """Return the connected octant of a field, why it is no good ("" if it is), pieces.

    A field is solid where positive, or where it is highest if a volume is to be
    reached; the pieces are those found before loose ones were removed.
    """
    if volume is None:
        octant, pieces, share = clean_octant((field > 0).astype(np.uint8))
    else:
        # Samples are nearly saturated: without their neighbours, voxels that the volume
        # asks for in addition would be dust in the void instead of thicker walls.
        field = field + SUPPORT * nearby(field)
        aim = volume
        # What the clean-up takes away is added to the next threshold.
        for _ in range(3):
            octant, pieces, share = clean_octant(threshold_to_volume(field, aim))
            lost = volume - octant.mean()
            if share < MIN_SHARE or abs(lost) < 1e-3:
                break
            aim = min(aim + lost, 1.0)
    if share < MIN_SHARE:
        return octant, "disconnected", pieces
    if not is_load_bearing(octant):
        return octant, "not load bearing", pieces
    return octant, "", pieces


def nearby(field: Float[np.ndarray, "n n n"]) -> Float[np.ndarray, "n n n"]:
    """Return the mean over the neighbourhood of each voxel, exactly symmetric."""
    field = np.asarray(field, np.float64)
    return symmetrize(ndimage.gaussian_filter(field, NEAR, mode="reflect"))


def make_cell(
    octant: np.ndarray,
    result: Evaluation,
    target: Target,
    pieces_found: int,
    history: tuple[float, ...] = (),
    volumes: tuple[float, ...] = (),
    sampled: np.ndarray | None = None,
) -> Cell:
    """Return the cell of an octant and its finite-element result."""
    error = float(targets.error(target, result.constants))
    volume = float(octant.mean())
    return Cell(
        octant=octant,
        constants=result.constants,
        volume=volume,
        pieces=periodic_pieces(octant_to_cell(octant))[1],
        pieces_found=pieces_found,
        error=error,
        relative_error=float(targets.relative_error(target, result.constants)),
        residual=result.residual,
        history=history or (error,),
        volumes=volumes or (volume,),
        sampled=result.constants if sampled is None else sampled,
    )
