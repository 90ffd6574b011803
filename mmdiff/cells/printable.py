"""What a printer asks of a level-set field: pieces, closed pores, walls, overhangs.

All is that of the surface of `cells.surface`, looked at on a grid twice as fine as the
samples. The thickness at a point of the surface is the way from there straight through
the phase (the chord along the normal), where it ends on a surface that faces back
within 60 degrees. A slab, strut or neck has its own thickness to a fraction of a
spacing; edges and corners of over 60 degrees are no walls. A phase that is a union of
balls of diameter w (unchanged by opening) has no chord under w. `cells.mend` mends.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from mmdiff.cells.connectivity import MirrorPieces, mirror_pieces
from mmdiff.cells.surface import centres, sample, slopes
from mmdiff.cells.symmetry import is_cubic
from mmdiff.typing import Bool, Float

SHARE = 5e-4  # of the surface: chords of less area are not looked at
FACING = -0.5  # cosine between the normals at the ends of a wall, at most
REACH = 4.0  # spacings up to which chords are looked for at first
_SAME = 1e-9  # spacings: coordinates that are one
STEEP = np.cos(np.deg2rad(44.0))  # one degree off, so that 45 itself is printed


@dataclasses.dataclass(frozen=True)
class Printability:
    """What a printer asks of a cell; lengths in edges of the cell.

    Attributes:
      pieces: periodic pieces of solid.
      loose: share of the solid outside the largest of them.
      void_pieces: periodic pieces of void, those that meet through openings being one.
      trapped: share of the void in closed pores, which do not run on through the
        repeated cell: powder or resin stays inside.
      wall: least thickness of the solid, but for `SHARE` of the surface; inf if there
        is no wall.
      gap: the same of the void.
      overhang: share of the surface that faces down, at less than 45 degrees to the
        horizontal, in a build along z (of cubic cells: along any axis).
    """

    pieces: int
    loose: float
    void_pieces: int
    trapped: float
    wall: float
    gap: float
    overhang: float

    def in_mm(self, edge_mm: float) -> "Printability":
        """Return the same with wall and gap in millimetres."""
        return dataclasses.replace(
            self, wall=self.wall * edge_mm, gap=self.gap * edge_mm
        )


class Surface(NamedTuple):
    """Points of a surface in the octant, in spacings from sample 0.

    Attributes:
      points: where lines of the grid cross the surface.
      normals: of unit length, into the solid.
      areas: what each point stands for, in squared spacings.
    """

    points: Float[np.ndarray, "p 3"]
    normals: Float[np.ndarray, "p 3"]
    areas: Float[np.ndarray, "p"]


class Chords(NamedTuple):
    """Ways straight through a phase from each point of its surface, in spacings.

    Attributes:
      lengths: inf where they do not end within reach on a surface that faces back.
      middles: half-way points, folded back into the octant.
      areas: see `Surface`.
    """

    lengths: Float[np.ndarray, "p"]
    middles: Float[np.ndarray, "p 3"]
    areas: Float[np.ndarray, "p"]

    def least(self, share: float = SHARE) -> float:
        """Return the length that all but a share of the surface exceeds."""
        order = np.argsort(self.lengths)
        passed = np.cumsum(self.areas[order]) > share * self.areas.sum()
        return float(self.lengths[order][np.argmax(passed)]) if passed.any() else np.inf


class Grid(NamedTuple):
    """A field and its slopes on m^3 points of the octant, h spacings apart."""

    value: Float[np.ndarray, "mx my mz"]
    slope: Float[np.ndarray, "3 mx my mz"]
    h: float

    def at(self, points: Float[np.ndarray, "p 3"], array) -> Float[np.ndarray, "p"]:
        """Interpolate `value`, or another array that is even at the mirror planes."""
        places = ((points + 0.5) / self.h - 0.5).T
        return ndimage.map_coordinates(array, places, order=1, mode="reflect")


def make_grid(psi: Float[np.ndarray, "n n n"], m: int | None = None) -> Grid:
    """Return the field on m^3 points of the octant, by default twice as fine."""
    psi, n = np.asarray(psi, np.float64), psi.shape[-1]
    points = centres(n, m or 2 * n)
    return Grid(sample(psi, points), slopes(psi, points), n / len(points))


def find_surface(grid: Grid, *, wedged: bool = False) -> Surface:
    """Return where the lines of a grid cross the surface, with normals and areas.

    A line stands for an area h^2 across it, and a patch of unit normal u is crossed by
    the lines of all three axes: |u_x| + |u_y| + |u_z| times per h^2. Of cubic fields
    `wedged` gives the part of `wedge` alone.
    """
    found, solid = [], grid.value > 0
    for axis in range(3):
        value = np.moveaxis(grid.value, axis, 0)
        slope = np.moveaxis(grid.slope, axis + 1, 1)
        inside = np.moveaxis(solid, axis, 0)
        crossed = inside[:-1] != inside[1:]
        if wedged:
            crossed &= _near_wedge(len(value), axis)
        low = np.nonzero(crossed)
        high = (low[0] + 1, *low[1:])
        part = value[low] / (value[low] - value[high])
        place = np.stack(low).astype(np.float64)
        place[0] += part
        place = np.concatenate([place[1 : axis + 1], place[:1], place[axis + 1 :]])
        normal = slope[:, *low] * (1 - part) + slope[:, *high] * part
        found.append(np.concatenate([(place + 0.5) * grid.h - 0.5, normal]))
    points, normals = np.split(np.concatenate(found, axis=1).T, 2, axis=1)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)[:, None]
    areas = grid.h**2 / np.maximum(abs(normals).sum(1), 1e-12)
    surface = Surface(points, normals, areas)
    return wedge(surface) if wedged else surface


@functools.lru_cache(maxsize=12)
def _near_wedge(m: int, axis: int) -> Bool[np.ndarray, "k m m"]:
    """Return the pieces of lines along an axis, which comes first, that touch x>=y>=z.

    A piece lies between neighbouring points, k = m - 1 of them on a line.
    """
    x, y, z = np.indices((m, m, m))
    inside = np.moveaxis((x >= y) & (y >= z), axis, 0)
    touched = inside[:-1] | inside[1:]
    touched.setflags(write=False)
    return touched


def wedge(surface: Surface) -> Surface:
    """Return the part x >= y >= z of a cubic surface: the others are its images.

    Points on planes of symmetry count as the part of them that lies in it.
    """
    points = surface.points
    inside = (np.diff(points, axis=1) <= _SAME).all(1)
    points, normals, areas = (part[inside] for part in surface)
    equal = (abs(points - np.roll(points, 1, axis=1)) <= _SAME).sum(1)
    return Surface(points, normals, areas / np.array([1, 2, 6, 6])[equal])


def chords(grid: Grid, surface: Surface, *, sign: int = 1, reach: float) -> Chords:
    """Return the chords through the solid (sign 1) or the void (-1), up to a reach."""
    count = len(surface.points)
    way, size = sign * surface.normals, grid.value.shape[-1]
    lengths = np.full(count, np.inf)
    active, before = np.arange(count), np.zeros(count)
    for step in range(1, int(np.ceil(reach / grid.h)) + 1):
        ahead = surface.points[active] + step * grid.h * way[active]
        value = sign * grid.at(ahead, grid.value)
        out = value <= 0
        # The first interval starts on the surface, where the value is 0 itself.
        part = before[out] / np.maximum(before[out] - value[out], 1e-12)
        lengths[active[out]] = grid.h * (step - 1 + part)
        active, before = active[~out], value[~out]
    ended = np.flatnonzero(np.isfinite(lengths))
    ends = surface.points[ended] + lengths[ended, None] * way[ended]
    outside = grid.h * size
    # In an odd number of mirror images the slope across the mirror is reversed.
    odd = np.floor((ends + 0.5) / outside).astype(int) % 2
    normal = np.stack([grid.at(ends, part) for part in grid.slope], 1) * (1 - 2 * odd)
    cosine = (normal * surface.normals[ended]).sum(1)
    cosine /= np.maximum(np.linalg.norm(normal, axis=1), 1e-12)
    lengths[ended[cosine > FACING]] = np.inf
    half = np.where(np.isfinite(lengths), lengths / 2, 0.0)
    middles = surface.points + half[:, None] * way
    return Chords(lengths, fold(middles, outside), surface.areas)


def fold(points: Float[np.ndarray, "p 3"], n: float) -> Float[np.ndarray, "p 3"]:
    """Return points mirrored into the octant of n spacings, from sample 0."""
    place = np.mod(points + 0.5, 2 * n)
    return np.minimum(place, 2 * n - place) - 0.5


def trapped_share(void: MirrorPieces) -> float:
    """Return the share of closed pores in pieces of void."""
    return float(void.sizes[~void.endless].sum() / max(void.sizes.sum(), 1))


class View:
    """A field on a grid twice as fine, and what is seen of it there, each made once."""

    def __init__(self, psi: Float[np.ndarray, "n n n"], m: int | None = None):
        """Look at a field on m^3 points of the octant, by default twice as fine."""
        self.psi, self.cubic = psi, is_cubic(psi)
        self._m, self._chords = m, {}

    @functools.cached_property
    def grid(self) -> Grid:
        """Values and slopes."""
        return make_grid(self.psi, self._m)

    @functools.cached_property
    def solid(self) -> MirrorPieces:
        """The pieces of solid."""
        return mirror_pieces(self.grid.value > 0)

    @functools.cached_property
    def void(self) -> MirrorPieces:
        """The pieces of void."""
        return mirror_pieces(self.grid.value <= 0)

    @functools.cached_property
    def surface(self) -> Surface:
        """The surface; of cubic fields the part of it that is in the `wedge`."""
        return find_surface(self.grid, wedged=self.cubic)

    def chords(self, sign: int, reach: float) -> Chords:
        """Return the chords of `surface`, see `chords`, up to a reach at least."""
        known, found = self._chords.get(sign, (0.0, None))
        if known < reach:
            reach = max(reach, REACH)
            found = chords(self.grid, self.surface, sign=sign, reach=reach)
            self._chords[sign] = reach, found
        return found

    def least(self, sign: int) -> float:
        """Return the least chord: of what is near first, then within a period."""
        found = np.inf
        for reach in (REACH, 4 * REACH, 2 * self.psi.shape[-1]):
            if not np.isfinite(found):
                found = self.chords(sign, reach).least()
        return found

    @functools.cached_property
    def printability(self) -> Printability:
        """What a printer asks of the field."""
        surface, solid, n = self.surface, self.solid, self.psi.shape[-1]
        # Of a face and its mirror image one faces down.
        flat = (abs(surface.normals) > STEEP) * surface.areas[:, None] / 2
        share = flat.sum(0) / max(surface.areas.sum(), 1e-12)
        down = share.mean() if self.cubic else share[2]
        shares = solid.sizes / (solid.copies * max(solid.sizes.sum(), 1))
        return Printability(
            pieces=int(solid.copies.sum()),
            loose=float(1 - shares.max()) if shares.size else 0.0,
            void_pieces=int(self.void.copies.sum()),
            trapped=trapped_share(self.void),
            wall=float(self.least(1) / (2 * n)),
            gap=float(self.least(-1) / (2 * n)),
            overhang=float(down),
        )


def printability(
    psi: Float[np.ndarray, "n n n"], *, m: int | None = None
) -> Printability:
    """Return what a printer asks of the cell of a field.

    Args:
      psi: see `cells.surface`.
      m: points of the grid along the octant, by default 2n; pores and pieces are
        connected through faces of its voxels.

    Example:
      >>> x = np.arange(16.0)
      >>> plate = np.broadcast_to(3 - x, (16, 16, 16))  # and its image: 7 spacings
      >>> round(printability(plate).wall * 32, 2)
      7.0
    """
    return View(np.asarray(psi, np.float64), m).printability
