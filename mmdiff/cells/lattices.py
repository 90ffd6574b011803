"""Textbook lattices of cubic symmetry as level-set fields of a given volume.

Triply periodic surfaces that have mirror planes (Schwarz P, I-WP, Neovius), as sheets
or as networks; struts and plates with fillets; and a re-entrant cell that grows wider
when it is stretched. All are smooth `surface` fields: what is thinner than two lattice
spacings is refused. Gyroid and diamond have no mirror planes. For flat plates of voxels
see `plates`.
"""

import functools
import itertools
from collections.abc import Callable

import numpy as np
from scipy import optimize

from mmdiff.cells import plates, surface
from mmdiff.cells.symmetry import symmetrize
from mmdiff.errors import InputError
from mmdiff.typing import Float

FILLET = 1.0  # spacings over which struts and plates melt together
_ROUND = 0.7  # spacings: distances are smooth on the axes of struts and in plates
_LEVEL = 3.0  # spacings from the surface at which the field levels off
THINNEST = 2.0  # spacings: what a field can hold


def lattice(name: str, volume: float, n: int = 32) -> Float[np.ndarray, "n n n"]:
    """Return the field (float64) of a lattice of `NAMES` with the given solid share.

    Args:
      name: one of `NAMES`.
      volume: solid share of the cell, met to 1e-5 as `surface.volume` measures it.
      n: samples along the octant.

    Raises:
      InputError: for an unknown name, and for a volume at which walls or struts are
        thinner than two spacings or the lattice is another one.
    """
    field, low, high = _built(name, n)

    def excess(parameter):
        return surface.volume(field(parameter)) - volume

    least, most = volumes(name, n)
    if not least <= volume <= most:
        raise InputError(
            f"{name} with {n} samples has no volume of {volume:g}; take one from "
            f"{least:.3f} to {most:.3f}."
        )
    return field(optimize.brentq(excess, low, high, xtol=1e-7))


@functools.lru_cache(maxsize=64)
def volumes(name: str, n: int = 32) -> tuple[float, float]:
    """Return the least and the largest solid share of a lattice of `NAMES`."""
    field, low, high = _built(name, n)
    return surface.volume(field(low)), surface.volume(field(high))


@functools.lru_cache(maxsize=16)
def _built(name, n):
    if name not in _LATTICES:
        raise InputError(f"lattice {name!r} is unknown; use one of {NAMES}.")
    return _LATTICES[name](n)


def _level_off(distance):
    return symmetrize(_LEVEL * np.tanh(distance / _LEVEL))


# Functions of the cosines (x, y, z) and what they are differentiated by.
def _p(x, y, z):
    return x + y + z, (1 + 0 * x, 1 + 0 * y, 1 + 0 * z)


def _iwp(x, y, z):
    value = 2 * (x * y + y * z + z * x) - 2 * (x**2 + y**2 + z**2) + 3
    return value, (2 * (y + z) - 4 * x, 2 * (z + x) - 4 * y, 2 * (x + y) - 4 * z)


def _neovius(x, y, z):
    value = 3 * (x + y + z) + 4 * x * y * z
    return value, (3 + 4 * y * z, 3 + 4 * z * x, 3 + 4 * x * y)


def _periodic(function, n):
    """Return values of an implicit function and the length of its slope."""
    angle = np.pi * (np.arange(n) + 0.5) / n
    cosines = np.meshgrid(*3 * (np.cos(angle),), indexing="ij")
    value, inner = function(*cosines)
    slopes = [
        -np.sqrt(1 - c**2) * d * np.pi / n for c, d in zip(cosines, inner, strict=True)
    ]
    length = np.sqrt(sum(s**2 for s in slopes))
    return value, np.hypot(length, 0.1 * length.max())


def _sheet(function, most):
    def build(n):
        value, slope = _periodic(function, n)
        low = THINNEST / 2 * slope[abs(value) < slope].max()

        def field(half):  # smooth in the middle of the sheet, too
            return _level_off((half**2 - value**2) / (2 * half * slope))

        return field, low, most

    return build


def _network(function, least, most):
    def build(n):
        value, slope = _periodic(function, n)
        return lambda level: _level_off((value + level) / slope), least, most

    return build


def _union(distances):
    """Return the function radius -> field of a smooth union of thickened things."""
    rounded = np.sqrt(distances**2 + _ROUND**2)
    nearest = rounded.min(0)
    inner = np.exp((nearest - rounded) / FILLET).sum(0)
    distance = nearest - FILLET * np.log(inner)
    return lambda radius: _level_off(radius - distance)


def _struts(*ends, most):
    """Return a lattice of straight struts between ends in octants, as cell edges."""

    def build(n):
        axis = (np.arange(n) + 0.5) / (2 * n)
        points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
        distances = [_to_segment(points, a, b) for a, b in _images(ends)]
        field = _union(2 * n * np.stack(distances))
        return field, np.hypot(THINNEST / 2, _ROUND), most * 2 * n

    return build


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
    share = ((points - start) @ along / (along @ along)).clip(0, 1)
    return np.linalg.norm(points - start - share[..., None] * along, axis=-1)


def _plates(family, most):
    def build(n):
        field = _union(2 * n * plates.plane_distances(n, family))
        return field, np.hypot(THINNEST / 2, _ROUND), most * 2 * n

    return build


# The re-entrant cell: eight nodes inside, each held by six oblique struts to the arms
# of crosses on the faces of the cell. A cross that is pulled out draws the nodes along
# and outwards, and they push the other crosses out.
_NODE = (0.1, 0.1, 0.1)
_MIDDLE, _ARM, _NEXT = (0.5, 0, 0), (0.5, 0.35, 0), (0.5, 0, 0.35)
_LATTICES: dict[str, Callable] = {
    "P sheet": _sheet(_p, 1.0),
    "P network": _network(_p, -0.9, 0.9),
    "IWP sheet": _sheet(_iwp, 2.5),
    "IWP network": _network(_iwp, -2.5, 2.5),
    "Neovius sheet": _sheet(_neovius, 2.2),
    "Neovius network": _network(_neovius, -0.9, 0.9),
    "bcc struts": _struts(((0, 0, 0), (0.5, 0.5, 0.5)), most=0.2),
    "octet struts": _struts(
        ((0, 0, 0), (0.5, 0.5, 0)), ((0.5, 0.5, 0), (0.5, 0, 0.5)), most=0.2
    ),
    "sc plates": _plates("sc", 0.3),
    "bcc plates": _plates("bcc", 0.1),
    "re-entrant": _struts((_NODE, _ARM), (_MIDDLE, _ARM), (_ARM, _NEXT), most=0.12),
}
NAMES = tuple(_LATTICES)
