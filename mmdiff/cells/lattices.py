"""Textbook lattices of cubic symmetry as level-set fields of a volume or thickness.

Triply periodic minimal surfaces as sheets or as networks; straight struts and flat
plates with fillets; and a re-entrant cell that grows wider when it is stretched. All
but gyroid and diamond have mirror planes and so a field on their octant (`lattice`, see
`surface`); every one can be sampled anywhere, and graded (`sample`). What is thinner
than two lattice spacings is refused. For flat plates of voxels see `plates`.
"""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import interpolate, optimize

from mmdiff.cells import plates, surface
from mmdiff.cells.cut import TINY, cut_fraction
from mmdiff.cells.symmetry import symmetrize
from mmdiff.errors import InputError
from mmdiff.typing import Float

FILLET = 1.0  # spacings over which struts and plates melt together
_ROUND = 0.7  # spacings: distances are smooth on the axes of struts and in plates
_LEVEL = 3.0  # spacings from the surface at which the field levels off
THINNEST = 2.0  # spacings: what a field can hold
_STEP = 1e-20  # imaginary, of derivatives that are exact to rounding
_TABLE = 12  # volumes between which parameters of graded lattices are interpolated


class Points(NamedTuple):
    """Coordinates in cell edges, arrays that broadcast, and the spacing in edges."""

    x: Float[np.ndarray, "..."]
    y: Float[np.ndarray, "..."]
    z: Float[np.ndarray, "..."]
    spacing: float


class Form(NamedTuple):
    """A lattice at some points.

    Attributes:
      field: parameter, a number or an array that broadcasts, to values of the field.
      low: least parameter, of walls of `THINNEST` where that is known,
      high: and the largest, beyond which it is another lattice.
      of_thickness: parameter of a least thickness in spacings; None where the thickness
        is not that of a wall or strut.
    """

    field: Callable
    low: float
    high: float
    of_thickness: Callable[[float], float] | None


def lattice(name: str, volume: float, n: int = 32) -> Float[np.ndarray, "n n n"]:
    """Return the field (float64) of a lattice of `MIRRORED` with the given solid share.

    Args:
      name: one of `MIRRORED`.
      volume: solid share of the cell, met to 1e-5 as `surface.volume` measures it.
      n: samples along the octant.

    Raises:
      InputError: for an unknown name, and for a volume at which walls or struts are
        thinner than two spacings or the lattice is another one.
    """
    if _known(name) and name not in MIRRORED:
        raise InputError(
            f"lattice {name!r} has no mirror planes, and so no octant; use one of "
            f"{MIRRORED}."
        )
    return octant(name, parameter(name, volume, n), n)


def octant(name: str, value: float, n: int = 32) -> Float[np.ndarray, "n n n"]:
    """Return the field of a lattice of `MIRRORED` with a parameter."""
    return symmetrize(_built(name, n).field(value))


def parameter(name: str, volume: float, n: int = 32) -> float:
    """Return the parameter of a lattice that has a solid share; see `lattice`."""
    least, most = volumes(name, n)
    if least > most:
        raise InputError(
            f"{name} needs more than {n} samples: walls of two of them are too thick "
            "for it. Raise `samples`."
        )
    if not least <= volume <= most:
        raise InputError(
            f"{name} with {n} samples has no volume of {volume:g}; take one from "
            f"{least:.3f} to {most:.3f}."
        )
    form = _built(name, n)
    known = {form.low: least - volume, form.high: most - volume}

    def excess(value):
        return known[value] if value in known else _volume(name, n, value) - volume

    return optimize.brentq(excess, form.low, form.high, xtol=1e-7)


def parameter_of_thickness(name: str, thickness: float, n: int = 32) -> float:
    """Return the parameter of struts, plates or a sheet of a thickness in cell edges.

    That is the diameter of struts, the thickness of plates beside their fillets, and
    the least of a sheet, to first order in it.

    Raises:
      InputError: for a network, and for a thickness out of range.
    """
    form = _known(name) and _built(name, n)
    if form.of_thickness is None:
        raise InputError(
            f"{name} has necks instead of walls: it goes by its volume alone. Give one "
            "and no thickness, or take a sheet, struts or plates."
        )
    value = form.of_thickness(2 * n * thickness)
    if not form.low <= value * (1 + 1e-9) or value > form.high:
        most = optimize.brentq(
            lambda t: form.of_thickness(2 * n * t) - form.high, 0.0, 1.0
        )
        raise InputError(
            f"{name} with {n} samples has no thickness of {thickness:.4g} edges; take "
            f"one from {THINNEST / (2 * n):.4g} to {most:.4g}."
        )
    return value


@functools.lru_cache(maxsize=64)
def volumes(name: str, n: int = 32) -> tuple[float, float]:
    """Return the least and the largest solid share of a lattice of `NAMES`."""
    form = _known(name) and _built(name, n)
    return _volume(name, n, form.low), _volume(name, n, form.high)


def graded_parameters(
    name: str, shares: Float[np.ndarray, "*s"], n: int = 32
) -> Float[np.ndarray, "*s"]:
    """Return the parameters of a lattice that has these solid shares, in places.

    Raises:
      InputError: for a share that the lattice cannot have.
    """
    least, most = float(np.min(shares)), float(np.max(shares))
    ends = [parameter(name, share, n) for share in (least, most)]
    if least == most:
        return np.full(np.shape(shares), ends[0])
    table = np.linspace(*ends, _TABLE)
    known = [least, *(_volume(name, n, p) for p in table[1:-1]), most]
    return interpolate.PchipInterpolator(known, table)(shares)


def sample(
    name: str, value: float | Float[np.ndarray, "..."], points: Points
) -> Float[np.ndarray, "..."]:
    """Return the field of a lattice of `NAMES` at any points.

    It is periodic; the parameter may change from place to place, slowly.
    """
    known = _known(name)
    if name in MIRRORED:  # forms are of the octant
        x, y, z = (abs(c - np.round(c)) for c in points[:3])
        points = Points(x, y, z, points.spacing)
    return known(points).field(value)


def box_shares(
    name: str, value: float, m: int, n: int = 32
) -> Float[np.ndarray, "m m m"]:
    """Return the solid shares of m^3 elements of the whole cell of a lattice.

    Each of the eight parts of an element is cut by a plane, as in `surface.fractions`.
    """
    fine = 2 * m
    along = (np.arange(fine) + 0.5) / fine
    field = sample(name, value, make_points(along, along, along, n))
    slope = [(np.roll(field, -1, a) - np.roll(field, 1, a)) / 2 for a in range(3)]
    length = np.sqrt(sum(s**2 for s in slope) + TINY)
    share = cut_fraction(field / length, np.stack(slope))
    return share.reshape(m, 2, m, 2, m, 2).mean((1, 3, 5))


def make_points(x, y, z, n: int = 32) -> Points:
    """Return the points of a grid by their coordinates along the axes, in edges."""
    return Points(*np.meshgrid(x, y, z, indexing="ij"), 1 / (2 * n))


def _volume(name, n, value) -> float:
    if name in MIRRORED:
        return surface.volume(octant(name, value, n))
    return float(box_shares(name, value, 2 * n, n).mean())


def _known(name):
    if name not in _LATTICES:
        raise InputError(f"lattice {name!r} is unknown; use one of {NAMES}.")
    return _LATTICES[name]


@functools.lru_cache(maxsize=16)
def _built(name, n):
    """Return the form at the samples of the octant, or of the whole cell."""
    form, count = _known(name), n if name in MIRRORED else 2 * n
    along = (np.arange(count) + 0.5) / (2 * n)
    return form(make_points(along, along, along, n))


def _level_off(distance):
    return _LEVEL * np.tanh(distance / _LEVEL)


# Implicit functions of the angles 2 pi x, 2 pi y, 2 pi z.
def _p(x, y, z):
    return np.cos(x) + np.cos(y) + np.cos(z)


def _iwp(x, y, z):
    x, y, z = np.cos(x), np.cos(y), np.cos(z)
    return 2 * (x * y + y * z + z * x) - 2 * (x**2 + y**2 + z**2) + 3


def _neovius(x, y, z):
    x, y, z = np.cos(x), np.cos(y), np.cos(z)
    return 3 * (x + y + z) + 4 * x * y * z


def _gyroid(x, y, z):
    return np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)


def _diamond(x, y, z):
    def term(f, g, h):
        return f(x) * g(y) * h(z)

    sin, cos = np.sin, np.cos
    both = term(sin, cos, cos) + term(cos, sin, cos) + term(cos, cos, sin)
    return term(sin, sin, sin) + both


def _periodic(function, points):
    """Return values of an implicit function and the length of its slope per spacing."""
    angles = [2 * np.pi * c for c in points[:3]]
    square = 0.0
    for axis in range(3):
        moved = [a + 1j * _STEP if i == axis else a for i, a in enumerate(angles)]
        square = square + (function(*moved).imag / _STEP) ** 2
    length = 2 * np.pi * points.spacing * np.sqrt(square)
    return function(*angles), np.hypot(length, 0.1 * length.max())


def _sheet(function, most):
    def form(points):
        value, slope = _periodic(function, points)
        steepest = slope[abs(value) < slope].max()

        def field(half):  # smooth in the middle of the sheet, too
            return _level_off((half**2 - value**2) / (2 * half * slope))

        low = THINNEST / 2 * steepest
        return Form(field, low, most, lambda thick: thick / 2 * steepest)

    return form


def _network(function, least, most):
    def form(points):
        value, slope = _periodic(function, points)
        return Form(
            lambda level: _level_off((value + level) / slope), least, most, None
        )

    return form


def _union(distances, most):
    """Return the form of a smooth union of thickened things, from their distances."""
    total = -np.inf
    for distance in distances:
        total = np.logaddexp(total, -np.sqrt(distance**2 + _ROUND**2) / FILLET)
    nearest = -FILLET * total

    def radius(thick):
        return np.hypot(thick / 2, _ROUND)

    return Form(lambda r: _level_off(r - nearest), radius(THINNEST), most, radius)


def _struts(*ends, most):
    """Return a lattice of straight struts between ends in octants, as cell edges."""
    segments = _images(ends)

    def form(points):
        return _union(
            (_to_segment(points, a, b) / points.spacing for a, b in segments),
            most / points.spacing,
        )

    return form


def _images(segments):
    """Return segments under all permutations of the axes and mirrors of the octant."""
    found = {}
    mirrors = (lambda x: x, lambda x: -x, lambda x: 1 - x)
    for (a, b), order in itertools.product(segments, itertools.permutations(range(3))):
        for maps in itertools.product(mirrors, repeat=3):
            each = tuple(zip(maps, order, strict=True))
            image = [
                tuple(round(f(end[i]), 9) + 0.0 for f, i in each) for end in (a, b)
            ]
            found[frozenset(image)] = np.array(image)
    return list(found.values())


def _to_segment(points, start, end):
    along = end - start
    offset = [c - s for c, s in zip(points[:3], start, strict=True)]
    share = sum(o * a for o, a in zip(offset, along, strict=True)) / (along @ along)
    share = np.clip(share, 0, 1)
    square = sum((o - share * a) ** 2 for o, a in zip(offset, along, strict=True))
    return np.sqrt(square)


def _plates(family, most):
    normals = plates.NORMALS[family]

    def form(points):
        def distances():
            for normal in normals:
                along = sum(c * k for c, k in zip(points[:3], normal, strict=True))
                length = np.linalg.norm(normal) * points.spacing
                yield abs(along - np.round(along)) / length

        return _union(distances(), most / points.spacing)

    return form


# The re-entrant cell: eight nodes inside, each held by six oblique struts to the arms
# of crosses on the faces of the cell. A cross that is pulled out draws the nodes along
# and outwards, and they push the other crosses out.
_NODE = (0.1, 0.1, 0.1)
_MIDDLE, _ARM, _NEXT = (0.5, 0, 0), (0.5, 0.35, 0), (0.5, 0, 0.35)
_CORNER, _FACE, _BODY = (0, 0, 0), (0.5, 0.5, 0), (0.5, 0.5, 0.5)
# Of Kelvin's foam of truncated octahedra, all of whose edges are alike.
_SQUARE = ((0, 0.25, 0.5), (0.25, 0, 0.5)), ((0, 0.25, 0.5), (0, 0.5, 0.25))
_LATTICES: dict[str, Callable[[Points], Form]] = {
    "P sheet": _sheet(_p, 1.0),
    "P network": _network(_p, -0.9, 0.9),
    "IWP sheet": _sheet(_iwp, 2.5),
    "IWP network": _network(_iwp, -2.5, 2.5),
    "Neovius sheet": _sheet(_neovius, 2.2),
    "Neovius network": _network(_neovius, -0.9, 0.9),
    "gyroid sheet": _sheet(_gyroid, 1.2),
    "gyroid network": _network(_gyroid, -1.2, 1.2),
    "diamond sheet": _sheet(_diamond, 0.85),
    "diamond network": _network(_diamond, -0.85, 0.85),
    "sc struts": _struts((_CORNER, (0.5, 0, 0)), most=0.25),
    "bcc struts": _struts((_CORNER, _BODY), most=0.2),
    "fcc struts": _struts((_CORNER, _FACE), most=0.2),
    "octet struts": _struts((_CORNER, _FACE), (_FACE, (0.5, 0, 0.5)), most=0.2),
    "Kelvin struts": _struts(*_SQUARE, most=0.15),
    "sc plates": _plates("sc", 0.3),
    "bcc plates": _plates("bcc", 0.1),
    "octet plates": _plates("octet", 0.1),
    "re-entrant": _struts((_NODE, _ARM), (_MIDDLE, _ARM), (_ARM, _NEXT), most=0.12),
}
NAMES = tuple(_LATTICES)
MIRRORED = tuple(n for n in NAMES if n.split()[0] not in ("gyroid", "diamond"))
