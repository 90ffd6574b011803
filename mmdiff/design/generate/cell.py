"""A verified binary cell, and how a sampled field becomes one.

A field is thresholded, to a volume if one is asked, and freed of loose pieces; what
does not hang together or carry load is refused. The tensor of a `Cell` is that of its
very voxels.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from mmdiff.cells.connectivity import clean_octant, is_load_bearing, periodic_pieces
from mmdiff.cells.symmetry import octant_to_cell, symmetrize
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.targets import target as targets
from mmdiff.targets.target import Target
from mmdiff.topopt.interface import Evaluation

MIN_SHARE = 0.8  # least share of the solid that the largest piece must hold
NEAR = 1.0  # standard deviation of a voxel's neighbourhood, in voxels
SUPPORT = 0.5  # weight of a voxel's neighbours in what becomes solid first


@dataclasses.dataclass(frozen=True)
class Cell:
    """A verified binary cell, base E = 1.

    Attributes:
      octant: (n, n, n) uint8, symmetric under permutations of its axes.
      constants: C11, C12, C44 by finite elements on this very octant.
      volume: solid share of the octant.
      pieces: periodic pieces of this very octant's cell; always one.
      pieces_found: periodic pieces before loose ones were removed.
      error: `target.error`, of all three constants the range error (arXiv 2401.13570,
        Eq. 3), a fraction.
      relative_error: `target.relative_error`, a fraction.
      residual: relative residual of the solve.
      history: error of the sample, of its smoothed surface where that was polished,
        then after each accepted polishing step; a cell that was made anew on the way
        (`refine`) starts again there.
      volumes: volume at each of these.
      sampled: constants of the sample, before its surface was moved.
    """

    octant: np.ndarray
    constants: np.ndarray
    volume: float
    pieces: int
    pieces_found: int
    error: float
    relative_error: float
    residual: float
    history: tuple[float, ...]
    volumes: tuple[float, ...]
    sampled: np.ndarray


def binarize(field: np.ndarray, volume: float | None) -> tuple[np.ndarray, str, int]:
    """Turn a sampled field into a connected binary octant.

    Args:
      field: (n, n, n) sample, solid where positive.
      volume: wanted solid share; None thresholds at zero.

    Returns:
      the octant, the reason for refusing it ("" if it is good), and the number of
      pieces found before loose ones were removed.
    """
    if volume is None:
        octant, pieces, share = clean_octant((field > 0).astype(np.uint8))
    else:
        # Samples are nearly saturated: without their neighbours, voxels that the volume
        # asks for in addition would be dust in the void instead of thicker walls.
        field = field + SUPPORT * nearby(field)
        wanted = volume
        # What the clean-up takes away is asked for again.
        for _ in range(3):
            octant, pieces, share = clean_octant(threshold_to_volume(field, wanted))
            missing = volume - octant.mean()
            if share < MIN_SHARE or abs(missing) < 1e-3:
                break
            wanted = min(wanted + missing, 1.0)
    if share < MIN_SHARE:
        return octant, "disconnected", pieces
    if not is_load_bearing(octant):
        return octant, "not load bearing", pieces
    return octant, "", pieces


def nearby(field: np.ndarray) -> np.ndarray:
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
    """Return the record of an octant and its finite-element result."""
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
