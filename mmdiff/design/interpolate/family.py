"""Families of cells for graded structures: no gaps in volume, faces that fit.

Cells of high K/K_HS are sorted by volume, and the largest gaps between neighbours are
filled with new ones until none exceeds a tolerance (arXiv 2401.13570, Fig. 5). Then
neighbours are judged as a pair: how much of the touching faces is alike, and what share
of the stiffness in series, which perfect contact would give, two stacked cells keep.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mmdiff import bounds
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.fem import homogenize
from mmdiff.typing import Float

LOOKED_AT = 24  # cells around one volume


class Member(NamedTuple):
    """One cell of a family, base E = 1.

    Attributes:
      octant: (n, n, n) uint8.
      constants: (3,) C11, C12, C44 by finite elements.
      kind: where it comes from, such as "dataset" or "round 1".
      theta: angle on the path in radians, NaN elsewhere.
    """

    octant: np.ndarray
    constants: np.ndarray
    kind: str
    theta: float = float("nan")

    @property
    def volume(self) -> float:
        """Solid share."""
        return float(self.octant.mean())

    @property
    def share(self) -> float:
        """K over its upper Hashin-Shtrikman bound."""
        ratios = bounds.hashin_shtrikman_ratios(self.constants, self.volume)
        return float(ratios["K"])


def by_volume(members: Sequence[Member]) -> list[Member]:
    """Return the members, the lightest first."""
    return sorted(members, key=lambda member: member.volume)


def spread_out(
    octants: np.ndarray,
    volume: Float[np.ndarray, "N"],
    allowed: np.ndarray,
    low: float,
    high: float,
    m: int,
) -> np.ndarray:
    """Return up to m rows of evenly spaced volumes whose faces fit their neighbours'.

    Around each of m evenly spaced volumes, the first and the last included, the nearest
    cells are looked at that are no nearer to another of these volumes. Of all ways to
    take one of each the one is returned whose neighbours agree in most voxels of their
    outer faces. Volumes without a cell are left out.

    Args:
      octants: (N, n, n, n) of 0 and 1.
      volume: of all cells.
      allowed: (N,) bool, those that may be taken.
      low: first volume.
      high: last volume.
      m: cells wanted, two or more.
    """
    steps = []  # rows around each volume, and the best way to each of them
    width = (high - low) / (m - 1)
    allowed = allowed & (volume >= low) & (volume <= high)
    for middle in np.linspace(low, high, m):
        away = abs(volume - middle)
        rows = np.flatnonzero(allowed & (away <= width / 2))
        rows = rows[np.argsort(away[rows], kind="stable")[:LOOKED_AT]]
        if not rows.size:
            continue
        faces = 2.0 * (octants[rows, 0] > 0.5).reshape(len(rows), -1) - 1
        if not steps:
            steps.append((rows, faces, np.zeros(len(rows)), None))
            continue
        total = steps[-1][2][:, None] + steps[-1][1] @ faces.T
        steps.append((rows, faces, total.max(0), total.argmax(0)))
    if not steps:
        return np.array([], int)
    place, chosen = int(np.argmax(steps[-1][2])), []
    for rows, _, _, before in reversed(steps):
        chosen.append(rows[place])
        place = None if before is None else before[place]
    # Cells on a border of two intervals belong to both.
    chosen = np.unique(chosen)
    return chosen[np.argsort(volume[chosen], kind="stable")]


def with_gaps_filled(
    rows: np.ndarray,
    octants: np.ndarray,
    volume: Float[np.ndarray, "N"],
    allowed: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """Return rows by volume, with more of the allowed ones between distant neighbours.

    Of each gap that exceeds the tolerance the cell is taken whose faces fit both
    neighbours best, of those in the middle half of the gap, or else the one nearest to
    the middle.
    """
    rows = list(rows)

    def between(i, j):
        low, high = volume[rows[i]], volume[rows[j]]
        inside = np.flatnonzero(allowed & (volume > low) & (volume < high))
        if not inside.size:
            return None
        away = abs(volume[inside] - (low + high) / 2)
        middle = inside[away <= max((high - low) / 4, away.min())]
        faces = octants[middle, 0] > 0.5
        fit = sum((faces == (octants[rows[k], 0] > 0.5)).mean((1, 2)) for k in (i, j))
        return middle[np.argmax(fit)]

    todo = True
    while todo:
        todo = False
        for _, i, j in gaps(volume[rows], tolerance):
            if (found := between(i, j)) is not None:
                rows.insert(j, found)
                todo = True
                break
    return np.array(rows, int)


def gaps(
    volume: Sequence[float], tolerance: float = 0.0
) -> list[tuple[float, int, int]]:
    """Return the gaps of more than a tolerance, the widest first.

    Args:
      volume: of the members, ascending.
      tolerance: of the difference in volume.

    Returns:
      width, number of the lower and of the upper neighbour of each.

    Example:
      >>> gaps([0.25, 0.5, 1.0], 0.25)
      [(0.5, 1, 2)]
    """
    width = np.diff(np.asarray(volume, float))
    order = np.argsort(-width, kind="stable")
    return [
        (float(width[i]), int(i), int(i) + 1) for i in order if width[i] > tolerance
    ]


def widest(members: Sequence[Member]) -> float:
    """Return the largest gap in volume between neighbours, 0 for less than two."""
    found = gaps([member.volume for member in by_volume(members)])
    return found[0][0] if found else 0.0


def midway(low: Member, high: Member) -> tuple[np.ndarray, float]:
    """Return constants and volume in the middle of a gap, on the line between both."""
    constants = (np.asarray(low.constants) + np.asarray(high.constants)) / 2
    return constants, (low.volume + high.volume) / 2


def fill(
    members: Sequence[Member],
    make: Callable[[int, Member, Member], Sequence[Member]],
    *,
    tolerance: float,
    floor: float,
    rounds: int,
) -> Iterator[list[Member]]:
    """Yield the family after each round of filling its gaps.

    Ends when no gap exceeds the tolerance, when a round has put nothing into any gap,
    or after `rounds`.

    Args:
      members: two or more.
      make: `make(round, low, high)` cells for a gap; those outside of it, or below the
        floor, are left out here.
      tolerance: widest gap in volume that is let be.
      floor: least K/K_HS of what is taken in.
      rounds: most rounds.
    """
    members = by_volume(members)
    for number in range(rounds):
        found = gaps([member.volume for member in members], tolerance)
        fresh = []
        for _, i, j in found:
            low, high = members[i], members[j]
            fresh += [
                member
                for member in make(number, low, high)
                if low.volume < member.volume < high.volume and member.share >= floor
            ]
        if not fresh:
            return
        members = by_volume([*members, *fresh])
        yield members


def face_agreement(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return how two octants' outer faces across x fit when the cells are stacked.

    The share of equal voxels, and the share of the solid that meets solid: the voxels
    solid on both faces over those solid on either, NaN where both are void.
    """
    one, other = np.asarray(first)[0] > 0.5, np.asarray(second)[0] > 0.5
    either = (one | other).sum()
    contact = (one & other).sum() / either if either else np.nan
    return float((one == other).mean()), float(contact)


def stack(first: Float[np.ndarray, "n n n"], second) -> np.ndarray:
    """Return two cells stacked along x, as an orthotropic octant (2n, 2n, 2n).

    Periodic stacks have mirror planes in the middle of both cells: the domain runs from
    the middle of the first along x to that of the second, and spans a whole cell along
    y and z, so that it is a cube as the solver needs.
    """
    n = first.shape[0]
    return np.concatenate([octant_to_cell(first)[n:], octant_to_cell(second)[:n]])


def in_series(first: float, second: float) -> float:
    """Return C11 of two layers of these C11 in perfect contact: the harmonic mean.

    Exact for homogeneous layers of equal thickness held alike in their plane.
    """
    return 2 / (1 / first + 1 / second)


def pair_stiffness(first: Member, second: Member, *, tol: float = 1e-3) -> float:
    """Return C11 of two stacked cells over that in series, by finite elements.

    Args:
      first: a member.
      second: of the same size.
      tol: relative residual of the solve; the error of C11 is of its square.

    Returns:
      the ratio; NaN where the solve did not converge.
    """
    density = stack(first.octant, second.octant).astype(np.float32)
    tensor, info = homogenize.homogenize(density, symmetry="orthotropic", tol=tol)
    expected = in_series(first.constants[0], second.constants[0])
    # The load along x stands first.
    return float(tensor[0, 0]) / expected if bool(info.converged[0]) else float("nan")
