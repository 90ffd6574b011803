"""Fewer triangles for slicers, within a stated distance from the surface.

Edges are collapsed where a quadric error is least (the library fast-simplification);
what comes out is measured against the mesh that went in, both ways, and refused where
it is off by more than is allowed or no longer closed.
"""

from typing import NamedTuple

import numpy as np

from mmdiff.design.export.check import is_closed
from mmdiff.design.export.crossings import count_crossings
from mmdiff.design.export.deviation import Deviation, deviation
from mmdiff.errors import InputError
from mmdiff.typing import Float, Int

# How eagerly edges are collapsed, tried in turn: the less, the slower and the better.
EAGERNESS = (5, 3, 7)
SPACING = 1.0  # of the points that are measured, in edges of the fine mesh
MORE = 3  # times as many triangles in each further try, to tell how many would do


class Decimated(NamedTuple):
    """A mesh of few triangles, and how far it is from that of many."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    deviation: Deviation


def decimate(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    max_triangles: int,
    max_deviation_mm: float,
) -> Decimated:
    """Return a closed mesh of so many triangles at most, no farther off than allowed.

    Raises:
      InputError: there is none, or the library is not installed.
    """
    spacing = SPACING * float(np.median(_edges(vertices, faces)))
    found, closed = _attempt(vertices, faces, max_triangles, spacing)
    if closed and found.deviation.largest <= max_deviation_mm:
        return found
    count, enough = max_triangles, len(faces)
    while (count := MORE * count) < len(faces):
        more, sound = _attempt(vertices, faces, count, spacing)
        if sound and more.deviation.largest <= max_deviation_mm:
            enough = count
            break
    problem = (
        f"lies up to {found.deviation.largest:.3g} mm off the surface of "
        f"{len(faces)}, above max_deviation_mm={max_deviation_mm:g}"
        if closed
        else "is not closed"
    )
    raise InputError(
        f"a mesh of max_triangles={max_triangles} {problem}. Set "
        f"`max_triangles={enough}`, or allow a larger `max_deviation_mm`."
    )


def _edges(vertices, faces):
    corners = np.asarray(vertices, np.float64)[faces]
    return np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)


def _attempt(vertices, faces, count, spacing) -> tuple[Decimated, bool]:
    """Return the best of some meshes of a number of triangles; whether it is closed."""
    best, least = None, None
    for eagerness in EAGERNESS:
        points, triangles = _collapsed(vertices, faces, count, eagerness)
        closed = len(triangles) > 0 and is_closed(triangles)
        crossings = count_crossings(points, triangles)
        order = (not closed, len(triangles) > count, crossings)
        if least is None or order < least:
            best, least = (points, triangles), order
        if order == (False, False, 0):
            break
    points, triangles = best
    # A mesh of nothing is nowhere near.
    off = Deviation(np.inf, np.inf, spacing, 0)
    if len(triangles):
        off = deviation((vertices, faces), (points, triangles), spacing)
    return Decimated(points, triangles, off), not (least[0] or least[1])


def _collapsed(vertices, faces, count, eagerness):
    """Return vertices float32 and faces int32 after collapsing edges."""
    try:
        import fast_simplification
    except ImportError as error:
        raise InputError(
            "fewer triangles need fast-simplification. Install it with pip install "
            "'mmdiff[simplify]', or set `max_triangles=0`."
        ) from error
    points, triangles = fast_simplification.simplify(
        np.ascontiguousarray(vertices, np.float32),
        np.ascontiguousarray(faces, np.int32),
        target_count=count,
        agg=eagerness,
    )[:2]
    triangles = triangles[(triangles != np.roll(triangles, 1, axis=1)).all(axis=1)]
    return points.astype(np.float32), triangles.astype(np.int32)
