"""Closed triangle meshes of cells, in millimetres: of a level-set field and of voxels.

`field_surface` is the printed cell: marching cubes on the octant, with the planes of
symmetry among those of the samples, tells how vertices are joined; each is then moved
along its edge of the grid to the root of the field, and mirror images make the cell.
`box_surface` is that of samples in a box of any kind, and
`voxel_surface` holds the faces of the voxels and nothing else. All have flat caps
where solid meets the faces of the cell, so copies tile. Closed means here: each
directed edge is matched by its opposite.
"""

import numpy as np
from scipy import fft
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mmdiff.cells import surface
from mmdiff.typing import AnyArray, Float, Int

FINENESS = 2  # edges of the mesh's grid per lattice spacing
_NEAREST = 1e-4  # of an edge of that grid: least distance of a vertex from its ends
_STEPS = 8  # of Newton or bisection, from linear interpolation


def mesh_volume(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]):
    """Return the volume in a closed, outward-wound mesh (divergence theorem)."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)


def field_surface(
    psi: Float[AnyArray, "n n n"], cell_size_mm: float = 10.0, m: int | None = None
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Return the surface of the solid in the whole cell, capped on the cell's faces.

    Args:
      psi: field of the octant, see `mmdiff.cells.surface`.
      cell_size_mm: edge of the printed cell.
      m: elements along the octant that marching cubes looks at, not fewer than n; the
        error of the volume falls with its square. None for 2n.

    Returns:
      vertices float32 in mm and faces int32, wound outward; both empty without solid.

    Raises:
      ImportError: if scikit-image (extra `viz`) is not installed.
    """
    psi = np.asarray(psi, np.float64)
    n = psi.shape[-1]
    m = FINENESS * n if m is None else m
    values = surface.sample(psi, surface.corners(n, m))
    if not (values > 0).any():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    points, faces = _octant(values, n)
    for axis in range(3):
        points, faces = _mirrored(points, faces, axis, m)
    return (points * (cell_size_mm / (2 * m))).astype(np.float32), faces.astype(
        np.int32
    )


def _octant(values, n) -> tuple[np.ndarray, np.ndarray]:
    """Return the mesh of samples (m + 1)^3, in edges of their grid, open at its end."""
    from skimage.measure import marching_cubes

    # A layer of void before the faces of the cell makes the caps, whose vertices then
    # move onto the faces. Of signs alone, each vertex is in the middle of its edge.
    sign = np.pad(np.where(values > 0, 1.0, -1.0), ((1, 0),) * 3, constant_values=-1.0)
    middle, faces, _, _ = marching_cubes(
        sign.astype(np.float32), 0.0, method="lorensen", gradient_direction="ascent"
    )
    middle = middle.astype(np.float64) - 1
    points = np.maximum(np.ceil(middle), 0)
    for axis in range(3):
        cut = np.flatnonzero((middle[:, axis] % 1 > 0) & (middle[:, axis] > 0))
        base = np.floor(middle[cut]).astype(int)
        points[cut] = base
        points[cut, axis] = _roots(values, axis, base, n)
    # Vertices of several caps coincide on the edges of the cell.
    points, index = np.unique(points, axis=0, return_inverse=True)
    faces = index.reshape(-1)[faces]
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    # What lies in a plane of symmetry would meet its own mirror image.
    inside = (points[faces] == values.shape[0] - 1).all(axis=1).any(axis=1)
    return points, faces[~inside]


def _roots(values, axis, base, n) -> np.ndarray:
    """Return where the field is zero along the edges (e, 3) that begin at samples.

    On a line of the grid the field is a series of n cosines, exactly.
    """
    m = values.shape[0] - 1
    lines = np.moveaxis(values, axis, -1)
    series = fft.dct(lines, 1)[..., :n] / m
    series[..., 0] /= 2
    where = tuple(np.delete(base, axis, axis=1).T)
    series, start = series[where], base[:, axis]
    first, last = lines[(*where, start)], lines[(*where, start + 1)]
    order = np.pi * np.arange(n) / m
    low, high = start.astype(float), start + 1.0
    x = low + first / (first - last)
    for _ in range(_STEPS):
        angle = x[:, None] * order
        value = (series * np.cos(angle)).sum(1)
        slope = -(series * np.sin(angle)) @ order
        beyond = (value > 0) == (last > 0)
        low, high = np.where(beyond, low, x), np.where(beyond, x, high)
        newton = x - value / np.where(slope == 0, 1.0, slope)
        x = np.where((newton >= low) & (newton <= high), newton, (low + high) / 2)
    return np.clip(x, start + _NEAREST, start + 1 - _NEAREST)


def _mirrored(points, faces, axis, m) -> tuple[np.ndarray, np.ndarray]:
    """Add the mirror image beyond the plane at m, where both share their vertices."""
    shared = points[:, axis] == m
    index = np.where(
        shared, np.arange(len(points)), len(points) - 1 + (~shared).cumsum()
    )
    image = points[~shared]
    image[:, axis] = 2 * m - image[:, axis]
    faces = np.concatenate([faces, index[faces][:, ::-1]])
    return np.concatenate([points, image]), faces


def box_surface(
    values: Float[np.ndarray, "x y z"], spacing_mm: float
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Return the surface of the solid in a box, capped on its faces.

    Args:
      values: field at the points of a grid from face to face, positive in the solid;
        between them it is linear.
      spacing_mm: distance of those points.

    Returns:
      vertices float32 in mm and faces int32, wound outward; both empty without solid.

    Raises:
      ImportError: if scikit-image (extra `viz`) is not installed.
    """
    from skimage.measure import marching_cubes

    values = np.asarray(values, np.float64)
    if not (values > 0).any():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    # A layer of void before each face, where vertices of the caps are moved to.
    size = abs(values).max()
    value = np.where(abs(values) < _NEAREST * size, _NEAREST * size, values)
    value = np.pad(value, 1, constant_values=-size)
    points, faces, _, _ = marching_cubes(
        value, 0.0, method="lorensen", gradient_direction="ascent"
    )
    points = np.clip(points - 1.0, 0, np.array(values.shape) - 1.0)
    points, index = np.unique(points, axis=0, return_inverse=True)
    faces = index.reshape(-1)[faces]
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    return (points * spacing_mm).astype(np.float32), faces.astype(np.int32)


def voxel_surface(
    cell: np.ndarray, cell_size_mm: float = 10.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact surface of the voxels above 0.5.

    Voxels that touch only along an edge or at a corner get vertices of their own there,
    so each edge belongs to exactly two triangles, also for slicers that insist on it.

    Args:
      cell: (nx, ny, nz) densities in [0, 1]; outside the array is void.
      cell_size_mm: length of the first axis.

    Returns:
      vertices float32 (v, 3) in mm and faces int32 (f, 3), wound outward; both empty
      for an empty cell.
    """
    solid = np.asarray(cell) > 0.5
    quads, owner = _quads(solid)
    if not len(quads):
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    corner_shape = np.array(solid.shape) + 1

    # Two half-edges of an edge with two faces are neighbours after this sort. An edge
    # with four faces lies between two voxels that touch only there; sorting by voxel
    # pairs the faces of each voxel and so takes the two apart.
    start, end = quads, np.roll(quads, -1, axis=1)
    key = np.minimum(start, end) * corner_shape.prod() + np.maximum(start, end)
    order = np.lexsort((np.repeat(owner, 4), key.ravel())).reshape(-1, 2)
    index = np.arange(quads.size).reshape(quads.shape)
    follower = np.roll(index, -1, axis=1).ravel()
    one, two = order.T
    i = np.concatenate([one, follower[one]])
    j = np.concatenate([follower[two], two])
    graph = coo_array((np.ones(len(i), bool), (i, j)), shape=(quads.size,) * 2)
    count, label = connected_components(graph, directed=False)

    vertex = np.zeros(count, np.int64)
    vertex[label] = quads.ravel()
    points = np.stack(np.unravel_index(vertex, corner_shape), axis=1).astype(np.float64)
    label = label.reshape(quads.shape)
    middle = _shared_edge_middles(label, order, count)
    faces, extra = _triangulate(label, middle, points)
    scale = cell_size_mm / solid.shape[0]
    vertices = np.concatenate([points, extra]) * scale
    return vertices.astype(np.float32), faces.astype(np.int32)


def _quads(solid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corner numbers (f, 4) of all boundary faces, wound outward, and their voxels."""
    padded = np.pad(solid, 1)
    shape = np.array(solid.shape)
    strides = np.array([(shape[1] + 1) * (shape[2] + 1), shape[2] + 1, 1])
    quads, owner = [], []
    for axis in range(3):
        first, second = strides[(axis + 1) % 3], strides[(axis + 2) % 3]
        loop = np.array([0, first, first + second, second])
        for side in (1, -1):
            beyond = np.roll(padded, -side, axis)[1:-1, 1:-1, 1:-1]
            voxel = np.argwhere(solid & ~beyond)
            base = voxel @ strides + (strides[axis] if side > 0 else 0)
            quads.append(base[:, None] + loop[::side])
            owner.append(np.ravel_multi_index(voxel.T, shape))
    return np.concatenate(quads), np.concatenate(owner)


def _shared_edge_middles(label, order, count) -> np.ndarray:
    """Number a new vertex for each pair of half-edges (f, 4) whose edge is not unique.

    Two sheets may still run through the same two vertices; a middle vertex for each
    sheet takes them apart. All other half-edges get -1.
    """
    ends = np.sort(np.stack([label, np.roll(label, -1, axis=1)], -1), axis=-1)
    edge = (ends[..., 0] * count + ends[..., 1]).ravel()[order[:, 0]]
    _, inverse, uses = np.unique(edge, return_inverse=True, return_counts=True)
    doubled = order[uses[inverse] > 1]
    middle = np.full(label.size, -1)
    middle[doubled] = count + np.arange(len(doubled))[:, None]
    return middle.reshape(label.shape)


def _triangulate(label, middle, points) -> tuple[np.ndarray, np.ndarray]:
    """Split plain quads in two, fan those with middle vertices round their centre."""
    plain = (middle < 0).all(axis=1)
    triangles = [label[plain][:, [0, 1, 2]], label[plain][:, [0, 2, 3]]]
    fan, mid = label[~plain], middle[~plain]
    new = mid.max(initial=len(points) - 1) + 1
    extra = np.zeros((new - len(points) + len(fan), 3))
    if len(fan):
        following = np.roll(fan, -1, axis=1)
        centre = np.repeat(new + np.arange(len(fan)), 4).reshape(fan.shape)
        extra[centre[:, 0] - len(points)] = points[fan].mean(axis=1)
        split = mid >= 0
        between = (points[fan] + points[following]) / 2
        extra[mid[split] - len(points)] = between[split]
        whole = np.stack([fan, following, centre], -1)[~split]
        left = np.stack([fan, mid, centre], -1)[split]
        right = np.stack([mid, following, centre], -1)[split]
        triangles += [whole, left, right]
    return np.concatenate(triangles), extra
