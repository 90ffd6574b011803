"""What a mesh says about its solid, by itself: knows nothing of fields."""

import numpy as np

_SHIFT = 0.5 + 0.013 * np.sqrt([2.0, 3.0])  # no line meets an edge of a regular mesh


def edge_uses(faces):
    """Return how often each directed edge and its opposite occur, by edge."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forward = edges[:, 0] < edges[:, 1]
    _, inverse = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    return np.bincount(inverse[forward]), np.bincount(inverse[~forward])


def stl_fractions(vertices, faces, m, k=4, edge=None):
    """Return the solid share of each of m^3 elements of the box [0, edge]^3.

    Lines along z, k x k for each element, are cut with all triangles; the height of
    each cut is exact. A line enters the solid where the triangle looks down.

    Args:
      vertices: (v, 3), in any unit.
      faces: (f, 3), wound outward.
      m: elements along an edge.
      k: lines of an element along x and along y.
      edge: of the box; None for the largest coordinate.
    """
    corners = np.asarray(vertices, np.float64)[faces]
    corners = corners * (m / (corners.max() if edge is None else edge))
    plane = corners[:, :, :2] * k - _SHIFT  # lines are at whole numbers
    low = np.maximum(np.ceil(plane.min(1)), 0).astype(int)
    high = np.minimum(np.floor(plane.max(1)), m * k - 1).astype(int)
    size = np.maximum(high - low + 1, 0)
    triangle = np.repeat(np.arange(len(faces)), size.prod(1))
    rank = np.arange(len(triangle)) - np.repeat(
        size.prod(1).cumsum() - size.prod(1), size.prod(1)
    )
    line = low[triangle] + np.stack(np.divmod(rank, size[triangle, 1]), 1)

    (a, b, c), to = plane.transpose(1, 0, 2)[:, triangle], line

    def double_area(p, q, r):
        return (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (
            r[:, 0] - p[:, 0]
        )

    weights = np.stack(
        [double_area(to, b, c), double_area(a, to, c), double_area(a, b, to)]
    )
    whole = weights.sum(0)
    hit = (whole != 0) & ((weights * np.sign(whole) >= 0).all(0))
    weights, line, triangle = weights[:, hit] / whole[hit], line[hit], triangle[hit]
    height = (weights.T * corners[triangle, :, 2]).sum(1).clip(0, m)
    sign = -np.sign(whole[hit])
    # From an entry on, all is solid; an exit takes that back.
    x, y = line.T // k
    z = np.minimum(height.astype(int), m - 1)
    share = np.zeros((m, m, m))
    above = np.zeros((m, m, m + 1))
    np.add.at(share, (x, y, z), sign * (z + 1 - height))
    np.add.at(above, (x, y, z + 1), sign)
    return (share + above.cumsum(2)[:, :, :m]) / k**2
