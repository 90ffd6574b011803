"""From a target to ranked, finite-element-checked binary cells.

Samples of the diffusion model are thresholded, freed of loose pieces, refused when they
do not carry load, homogenized, and ranked by their distance from the target. Nothing is
returned that is not one piece, load bearing and verified; refused samples are counted
and replaced by new ones.
"""

import collections
import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import elasticity
from mmdiff.design.target import Target
from mmdiff.symmetry import octant_to_cell
from mmdiff.voxels import (
    clean_octant,
    is_load_bearing,
    periodic_pieces,
    threshold_to_volume,
)

ROUNDS = 4  # batches of samples drawn before giving up
MIN_SHARE = 0.8  # least share of the solid that the largest piece must hold


@dataclasses.dataclass(frozen=True)
class Cell:
    """A verified binary cell, base E = 1.

    Attributes:
      octant: (n, n, n) uint8, symmetric under permutations of its axes.
      constants: C11, C12, C44 by finite elements on this very octant.
      volume: solid share of the octant.
      pieces: periodic pieces of this very octant's cell; always one.
      pieces_found: periodic pieces before loose ones were removed.
      error: range error (arXiv 2401.13570, Eq. 3), a fraction.
      relative_error: mean relative error of the constants, a fraction.
      residual: relative residual of the solve.
    """

    octant: np.ndarray
    constants: np.ndarray
    volume: float
    pieces: int
    pieces_found: int
    error: float
    relative_error: float
    residual: float


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
        binary = (field > 0).astype(np.uint8)
    else:
        binary = threshold_to_volume(field, volume)
    octant, pieces, share = clean_octant(binary)
    if share < MIN_SHARE:
        return octant, "disconnected", pieces
    if not is_load_bearing(octant):
        return octant, "not load bearing", pieces
    return octant, "", pieces


def generate(
    key,
    target: Target,
    *,
    draw: Callable,
    label: Callable,
    num_samples: int,
    num_best: int,
    rounds: int = ROUNDS,
) -> tuple[list[Cell], dict[str, int]]:
    """Return the best cells for a target, best first.

    Args:
      key: typed random key.
      target: what is asked for.
      draw: `draw(key, target) -> (num_samples, n, n, n)` sampled fields.
      label: `label(octants (b, n, n, n) float32) -> (constants (b, 3), residual (b,),
        converged (b,))` by finite elements.
      num_samples: samples per batch.
      num_best: cells wanted; further batches are drawn while there are fewer.
      rounds: most batches.

    Returns:
      the cells, and counts: "sampled", "refused" by reason, "unconverged".
    """
    goal = np.array(target.constants)
    counts = collections.Counter()
    cells, seen = [], set()
    for i in range(rounds):
        fields = np.asarray(draw(jax.random.fold_in(key, i), target))
        counts["sampled"] += len(fields)
        octants, pieces = [], []
        for field in fields:
            octant, reason, found = binarize(field, target.volume)
            if not reason and octant.tobytes() in seen:
                reason = "duplicate"
            if reason:
                counts[reason] += 1
                continue
            seen.add(octant.tobytes())
            octants.append(octant)
            pieces.append(found)
        if octants:
            cells += _verify(octants, pieces, goal, label, num_samples, counts)
        if len(cells) >= num_best:
            break
    cells.sort(key=lambda cell: cell.error)
    return cells[:num_best], dict(counts)


def _verify(octants, pieces, goal, label, size, counts) -> list[Cell]:
    n = octants[0].shape[0]
    # A fixed batch size keeps one compiled program for every number of candidates.
    batch = np.ones((size, n, n, n), np.float32)
    batch[: len(octants)] = octants
    constants, residual, converged = map(np.asarray, label(jnp.asarray(batch)))
    cells = []
    for i, octant in enumerate(octants):
        if not converged[i]:
            counts["unconverged"] += 1
            continue
        c = constants[i].astype(np.float64)
        cells.append(
            Cell(
                octant=octant,
                constants=c,
                volume=float(octant.mean()),
                pieces=periodic_pieces(octant_to_cell(octant))[1],
                pieces_found=pieces[i],
                error=float(elasticity.range_error(c, goal)),
                relative_error=float(elasticity.relative_error(c, goal)),
                residual=float(residual[i]),
            )
        )
    return cells
