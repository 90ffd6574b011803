"""Level-set fields that do not print, mended: walls, gaps, loose pieces, closed pores.

Each step adds to the field, by a smooth maximum, the union of balls of one radius round
a set of points, or takes it away: middles of thin walls or gaps, voxels of a piece to
drop or fill, the line of a drain hole. What is far from these points stays as it is to
the last bit, and so does a field that needs no step. Symmetry is kept exactly. Volumes
change; the caller restores them, together with the tensor.
"""

import itertools
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from mmdiff.cells.connectivity import MirrorPieces
from mmdiff.cells.printable import SHARE, Chords, Printability, View
from mmdiff.cells.symmetry import (
    gather_independent,
    is_cubic,
    orbit_first,
    spread,
)
from mmdiff.typing import Float

LIMIT = 0.03  # least wall and gap, in edges of the cell
SLACK = 1.05  # of a limit: what is next to thin is mended with it
MARGIN = 0.15  # spacings by which a ball is larger, since rounding-off takes some
PATIENCE = 2  # rounds until narrow gaps are filled and no longer widened
SPECK = 0.003  # of the void: closed pores of less are filled
_CLEAR = 0.7  # spacings round the voxels of a piece that is dropped or filled
_ROUND = 0.3  # spacings over which the centre of a ball and the two sides of a
_BLEND = 0.5  # smooth maximum are rounded off
_PERMUTATIONS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


class Printing(NamedTuple):
    """What a cell must comply with to be printed.

    Attributes:
      wall: least thickness of the solid, as a share of the cell's edge.
      gap: least width of the void, as a share of the edge; also that of drains, which
        have `LIMIT` where it is 0.
      drainable: whether the void must be one piece.
    """

    wall: float = LIMIT
    gap: float = LIMIT
    drainable: bool = True

    def flaw(self, cell) -> str:
        """Return what keeps a cell from being printed, "" for nothing.

        The cell is its `Printability`, or what has one as its `printability`.
        """
        found = getattr(cell, "printability", cell)
        if found.pieces > 1:
            return "loose pieces"
        if self.drainable and found.trapped > 0:
            return "trapped void"
        if found.wall < self.wall:
            return "thin walls"
        return "narrow gaps" if found.gap < self.gap else ""


PRINTING = Printing()


class Mended(NamedTuple):
    """What `mend` did, and what is left.

    Attributes:
      before: what a printer asks of the cell.
      after: the same of the mended one.
      rounds: how often all steps were taken; 0 if the cell complied but for specks.
      drilled: orbits of closed pores that were opened.
      filled: orbits of closed pores that were filled, specks not counted.
      moved: share of the cell that changed between solid and void.
      ok: whether the cell complies.
    """

    before: Printability
    after: Printability
    rounds: int
    drilled: int
    filled: int
    moved: float
    ok: bool


def mend(
    psi: Float[np.ndarray, "n n n"],
    *,
    wall: float = LIMIT,
    gap: float = LIMIT,
    drainable: bool = True,
    rounds: int = 8,
) -> tuple[Float[np.ndarray, "n n n"], Mended]:
    """Return a field that complies with what a printer asks, as far as it goes.

    What complies comes back as it is. `ok` tells whether the other cells could be
    mended: walls and gaps side by side may need more room than there is.

    Args:
      psi: see `cells.surface`.
      wall: least thickness of the solid, in edges of the cell.
      gap: least thickness of the void.
      drainable: whether closed pores are drilled open or filled.
      rounds: how often all steps are taken at most, with walls first and then, from
        the start again, with gaps first.
    """
    flaw = Printing(wall, gap, drainable).flaw
    start = View(psi)
    whole = _without_specks(_without_pieces(start))
    for sign in (1, -1):
        view, count, drilled, filled = whole, 0, 0, 0
        while count < rounds and flaw(view.printability):
            view = _walls_and_gaps(view, wall, gap, count, sign)
            if drainable:
                view, *holes = _drained(view, (gap or LIMIT) * 2 * psi.shape[-1])
                drilled, filled = drilled + holes[0], filled + holes[1]
            view, count = _without_specks(_without_pieces(view)), count + 1
        if ok := not flaw(view.printability):
            break
    differ = 0.0
    if view is not start:
        differ = float(((view.grid.value > 0) != (start.grid.value > 0)).mean())
    before, after = start.printability, view.printability
    return view.psi, Mended(before, after, count, drilled, filled, differ, ok)


def _walls_and_gaps(view, wall, gap, count, sign):
    """Return the view with walls thickened first (sign 1), or gaps widened (-1)."""
    first, second = (wall, gap) if sign > 0 else (gap, wall)
    width, extra = 2 * view.psi.shape[-1], min(0.05 * count, 0.2)
    view = _thicker(view, first * width, sign, extra)
    return _cleared(view, second * width, -sign, extra, fill=count >= PATIENCE)


def add_balls(
    psi: Float[np.ndarray, "n n n"], points: Float[np.ndarray, "p 3"], radius: float
) -> Float[np.ndarray, "n n n"]:
    """Return the field with balls of solid round points of the octant, and images."""
    if not len(points):
        return psi
    cubic = is_cubic(psi)
    if cubic:
        points = np.concatenate([points[:, axes] for axes in _PERMUTATIONS])
    n, symmetry = psi.shape[-1], "cubic" if cubic else "orthotropic"
    values = gather_independent(psi, symmetry)
    index = orbit_first(n) if cubic else np.arange(n**3)
    samples = np.stack(np.unravel_index(index, psi.shape), 1).astype(np.float64)
    # Of a point and its mirror images the nearest to a sample lies in the octant.
    reach = radius + np.sqrt(3) + abs(psi).max() + _BLEND
    distance, _ = cKDTree(points).query(samples, distance_upper_bound=reach)
    distance = np.minimum(distance, reach)
    balls = np.hypot(radius, _ROUND) - np.hypot(distance, _ROUND)
    blend = np.maximum(_BLEND - abs(values - balls), 0.0)
    # An unchanged field is returned exactly where the balls are far below it.
    values = np.maximum(values, balls) + blend**2 / (4 * _BLEND)
    return spread(values, n, symmetry)


def dig_balls(
    psi: Float[np.ndarray, "n n n"], points: Float[np.ndarray, "p 3"], radius: float
) -> Float[np.ndarray, "n n n"]:
    """Return the field with balls of void instead; see `add_balls`."""
    return -add_balls(-psi, points, radius)


def drop_pieces(psi: Float[np.ndarray, "n n n"]) -> Float[np.ndarray, "n n n"]:
    """Return the field without the pieces of solid outside the largest.

    Where the largest piece is one of several that are images of each other there is
    none to keep: the field comes back as it is.
    """
    return _without_pieces(View(psi)).psi


def _without_pieces(view):
    solid = view.solid
    if solid.copies.sum() < 2 or solid.copies[solid.largest - 1] > 1:
        return view
    loose = (solid.labels > 0) & (solid.labels != solid.largest)
    if view.cubic and not is_cubic(loose):
        return view
    return _with_balls(view, _places(np.argwhere(loose)), _CLEAR, -1)


def fill_specks(
    psi: Float[np.ndarray, "n n n"], share: float = SPECK
) -> Float[np.ndarray, "n n n"]:
    """Return the field without closed pores of less than a share of the void."""
    return _without_specks(View(psi), share).psi


def _without_specks(view, share=SPECK):
    void = view.void
    small = ~void.endless & (void.sizes / void.copies < share * void.sizes.sum())
    if not small.any():
        return view
    return _with_balls(view, _places(np.argwhere(_select(void, small))), _CLEAR, 1)


def thicken(
    psi: Float[np.ndarray, "n n n"], wall: float, *, extra: float = 0.0
) -> Float[np.ndarray, "n n n"]:
    """Return the field with solid added where walls are thinner, in spacings.

    The field comes back as it is if `printability` finds no such wall; `extra` spacings
    are added to the radius.
    """
    return _thicker(View(psi), wall, 1, extra).psi


def widen(
    psi: Float[np.ndarray, "n n n"], gap: float, *, extra: float = 0.0
) -> Float[np.ndarray, "n n n"]:
    """Return the field with void added where gaps are thinner; see `thicken`."""
    return _thicker(View(psi), gap, -1, extra).psi


def _thicker(view, limit, sign, extra):
    thin = _thin(view, limit, sign)
    return _with_balls(view, thin.middles, limit / 2 + MARGIN + extra, sign)


def clear(
    psi: Float[np.ndarray, "n n n"], gap: float, *, extra: float = 0.0, fill: bool
) -> Float[np.ndarray, "n n n"]:
    """Return the field without gaps that are thinner, in spacings.

    Those of less than half the limit, or with `fill` all, are filled, the others
    widened: whatever changes less.
    """
    return _cleared(View(psi), gap, -1, extra, fill).psi


def _cleared(view, limit, sign, extra, fill):
    """Return the view without thin parts of the phase of a sign; see `clear`."""
    thin = _thin(view, limit, sign)
    closed = thin.lengths < (np.inf if fill else limit / 2)
    radius = limit / 2 + extra
    view = _with_balls(view, thin.middles[closed], radius, -sign)
    return _with_balls(view, thin.middles[~closed], radius + MARGIN, sign)


def _thin(view, limit, sign) -> Chords:
    """Return the chords under a limit; none if they are less than `SHARE`.

    Of cubic fields those in the wedge: balls are added round all images.
    """
    every = view.chords(sign, limit * SLACK + view.grid.h)
    thin = (every.lengths < limit * SLACK) & (every.least(SHARE) < limit)
    return Chords(*(part[thin] for part in every))


def _with_balls(view, points, radius, sign):
    """Return the view with balls of solid (sign 1) or void round points."""
    if not len(points):
        return view
    return View((add_balls if sign > 0 else dig_balls)(view.psi, points, radius))


def _places(index) -> Float[np.ndarray, "p 3"]:
    """Return places on the fine grid in spacings from sample 0."""
    return index / 2 - 0.25


def _select(pieces: MirrorPieces, chosen):
    return np.concatenate([[False], chosen])[pieces.labels]


def drain(
    psi: Float[np.ndarray, "n n n"], gap: float
) -> tuple[Float[np.ndarray, "n n n"], int, int]:
    """Return the field without closed pores, and how many were drilled and filled.

    Drain holes of diameter `gap` (spacings) go straight through the thinnest solid to
    void that runs on through the repeated cell; where there is none, through mirror
    planes to the pore's own images. A pore of less volume than its hole is filled.
    Nearest pores come first and are open to the next.
    """
    view, drilled, filled = _drained(View(psi), gap)
    return view.psi, drilled, filled


def _drained(view, gap):
    void, radius, cubic = view.void, gap / 2 + MARGIN, view.cubic
    opened = _select(void, void.endless)
    pores = set((1 + np.flatnonzero(~void.endless)).tolist())
    holes, fills, drilled, filled = [np.empty((0, 3))], [np.empty((0, 3))], 0, 0
    found = None
    while pores:
        found = found or _ways_out(void, opened, sorted(pores))
        label = min(pores, key=lambda label: (found.lengths[label], label))
        length, lines = _way_out(void, label, found.nearest)
        pore = void.labels == label
        images = [pore.transpose(axes) for axes in _PERMUTATIONS] if cubic else [pore]
        pore = np.any(images, axis=0)
        pores -= set(np.unique(void.labels[pore]).tolist())
        if void.sizes[label - 1] / 8 < np.pi * radius**2 * length:
            fills.append(_places(np.argwhere(pore)))
            filled += 1
        else:
            holes += [_hole(*line, 2 * radius + gap, pore) for line in lines]
            opened, drilled, found = opened | pore, drilled + 1, None
    view = _with_balls(view, np.concatenate(fills), _CLEAR, 1)
    return _with_balls(view, np.concatenate(holes), radius, -1), drilled, filled


class _Ways(NamedTuple):
    """Lengths of the ways out of pores, by label, in spacings.

    `nearest` are the distance of each voxel from open void and the index of the voxel
    there, None if no void is open.
    """

    lengths: dict[int, float]
    nearest: tuple | None


def _ways_out(void: MirrorPieces, opened, pores: list[int]) -> _Ways:
    if opened.any():
        nearest = ndimage.distance_transform_edt(~opened, return_indices=True)
        lengths = ndimage.minimum(nearest[0], void.labels, pores) / 2
    else:
        nearest, lengths = None, [_way_out(void, label, None)[0] for label in pores]
    return _Ways(dict(zip(pores, lengths, strict=True)), nearest)


def _way_out(void: MirrorPieces, label: int, nearest):
    """Return the length of the shortest way out of a pore, and its straight lines."""
    pore, last = np.argwhere(void.labels == label), len(void.labels) - 1
    if nearest is not None:
        distance, index = nearest
        start = pore[np.argmin(distance[tuple(pore.T)])]
        return distance[tuple(start)] / 2, [(start, index[:, *start])]
    ways = []
    for axis in range(3):
        lines = []
        for end, at in enumerate((0, last)):
            if not void.ends[label - 1, axis, end]:
                start = pore[np.argmin(abs(pore[:, axis] - at))]
                lines.append((start, np.where(np.arange(3) == axis, at, start)))
        ways.append((sum(np.linalg.norm(b - a) for a, b in lines) / 2, lines))
    return min(ways, key=lambda way: way[0])


def _hole(start, end, near, pore) -> Float[np.ndarray, "p 3"]:
    """Return points along a line, moved into planes of symmetry that are near.

    There it is its own image: two holes side by side would leave a thin wall.
    """
    ends = np.stack([start, end]).astype(np.float64)
    if is_cubic(pore):
        for i, j in ((0, 1), (0, 2), (1, 2)):
            if (abs(ends[:, i] - ends[:, j]) < np.sqrt(2) * near).all():
                ends[:, i] = ends[:, j] = ends[:, [i, j]].mean(1)
    for plane in (-0.5, len(pore) - 0.5):
        ends = np.where((abs(ends - plane) < near).all(0), plane, ends)
    corners = np.stack([start, *ends, end])
    return np.concatenate([_line(a, b) for a, b in itertools.pairwise(corners)])


def _line(start, end):
    """Return points a quarter of a voxel apart or less, in spacings from sample 0."""
    count = 4 * int(np.ceil(np.linalg.norm(end - start))) + 1
    return _places(np.linspace(start, end, count))
