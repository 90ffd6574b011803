"""Pictures of cells: an orthographic ray-marcher in JAX, without a graphics library.

Blue is where the boundary of the cell cuts the solid, ochre is the surface inside.
All rays advance together, slice by slice along the axis nearest to the view (the
shear-warp of Lacroute & Levoy, SIGGRAPH 1994): a slice is resampled by two small matrix
products, where a march per ray would need eight gathers per step. Without a level-set
field one is made that agrees with every voxel, so silhouettes are those of the voxels,
and a smoother one for the normals. One compilation serves all cells, views and cutaways
of one voxel count and picture size.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy import ndimage

from mmdiff.cells import surface
from mmdiff.cells.smooth_mesh import smooth_field
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.typing import Array, Float, UInt8

BLUE = (0.31, 0.51, 0.77)
OCHRE = (0.98, 0.75, 0.38)
BACKGROUND = (0.985, 0.985, 0.985)
FRAME = (0.45, 0.48, 0.53)

_SHEET = 5 / 3  # samples per side of the sheared picture, per pixel of the final one
_STEP = 0.5  # distance of the slices in voxels
# Towards the light, in the camera's own (right, up, towards the viewer).
_KEY_LIGHT = np.array([-0.50, 0.74, 0.45], np.float32)
_FILL_LIGHT = np.array([0.80, 0.05, 0.60], np.float32)
_CORNERS = np.array(list(np.ndindex(2, 2, 2)), np.float32) - np.float32(0.5)
_EDGES = np.array(
    [(i, j) for i in range(8) for j in range(i) if (i ^ j) in (1, 2, 4)]
).T


class Scene(NamedTuple):
    """What `trace` samples, in axes turned so that the viewer looks from high z, x, y.

    The rows of the camera are right, up and towards the viewer; the last is positive, z
    largest.
    """

    surface: Float[Array, "n n n"]  # above 0.5 in the solid
    slope: Float[Array, "n n n 3"]  # gradient of a smoother field, for the normals
    shade: Float[Array, "h h h"]  # share of solid around points two voxels apart
    camera: Float[Array, "3 3"]
    cutaway: Float[Array, ""]  # edge in voxels of the cube left out before the viewer


def render(
    cell: np.ndarray,
    *,
    psi: np.ndarray | None = None,
    size: int = 384,
    azimuth: float = 32.0,
    elevation: float = 28.0,
    cutaway: float = 0.0,
) -> np.ndarray:
    """Return a picture, uint8 (size, size, 3), of a cell (nx, ny, nz), solid above 0.5.

    The z axis points up. The viewer stands at an azimuth in degrees from the x axis
    towards y, and an elevation above the xy plane within -+90. A cube is left out at
    the viewer's corner, `cutaway` times the edge of the cell: 0.5 looks into cells with
    closed faces. Of the field `psi` of a cell, see mmdiff.cells.surface, the surface is
    drawn, by as many samples as voxels. A box is drawn in the middle of a cube.
    ValueError for fewer voxels than two.
    """
    cell = np.asarray(cell)
    if cell.ndim != 3 or min(cell.shape) < 2:
        raise ValueError(f"a cell to draw must have three axes; got {cell.shape}")
    scene = prepare(_in_cube(cell > 0.5), azimuth, elevation, cutaway, psi)
    return np.asarray(trace(scene, size=size))


def _in_cube(voxels):
    """Return a box with void around it, so that its edges become equal."""
    edge = max(voxels.shape)
    before = [(edge - size) // 2 for size in voxels.shape]
    sides = zip(before, voxels.shape, strict=True)
    return np.pad(voxels, [(b, edge - b - size) for b, size in sides])


def cutaway(voxels: np.ndarray) -> float:
    """Return what to cut away of a cell: half where closed walls hide the inside."""
    return 0.5 if voxels[0].mean() > 0.8 else 0.0


def prepare(
    solid: np.ndarray, azimuth: float, elevation: float, cutaway: float = 0.0, psi=None
) -> Scene:
    """Turn a binary cell or field towards the viewer; see `render` and `Scene`."""
    n = solid.shape[0]
    if psi is None:
        drawn = smooth_field(solid, 1.2)
        smoother = ndimage.gaussian_filter(solid.astype(np.float32), 1.6, mode="wrap")
    else:
        points = surface.centres(psi.shape[-1], n // 2)
        psi = np.asarray(psi, np.float32)
        smoother = octant_to_cell(surface.sample(psi, points))
        drawn, solid = smoother + np.float32(0.5), smoother > 0
    a, e = np.deg2rad([azimuth, elevation])
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    back = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    camera = np.stack([right, np.cross(back, right), back])
    away = tuple(np.flatnonzero(back < 0))
    camera[:, away] *= -1
    axes = np.argsort(camera[2])
    views = (np.flip(v, away).transpose(axes) for v in (drawn, smoother, solid))
    drawn, smoother, solid = views
    camera = camera[:, axes]
    camera[2] = np.maximum(camera[2], 1e-4)  # rays along a face divide by this

    left_out = round(cutaway * n)
    binary = solid.astype(np.float32)
    padded = np.pad(smoother, 1, mode="wrap")
    slope = np.stack(np.gradient(padded), axis=-1)[1:-1, 1:-1, 1:-1]
    binary[tuple([slice(n - left_out, None)] * 3)] = 0
    binary = np.pad(binary, (0, n % 2)).reshape(*3 * (-(-n // 2), 2)).mean((1, 3, 5))
    # Outside the cell is void.
    shade = ndimage.gaussian_filter(binary, max(0.5, n / 36), mode="constant")
    return Scene(
        surface=drawn,
        slope=slope.astype(np.float32),
        shade=shade,
        camera=camera.astype(np.float32),
        cutaway=np.float32(left_out),
    )


@functools.partial(jax.jit, static_argnames="size")
def trace(scene: Scene, *, size: int) -> UInt8[Array, "size size 3"]:
    """Draw a prepared scene; pure, so it may be mapped over scenes."""
    n = scene.surface.shape[0]
    shear = scene.camera[2, :2] / scene.camera[2, 2]
    width = int(size * _SHEET)
    pitch = n * (1 + shear) / width
    sheet = _Sheet(shear, pitch, *(pitch[:, None] * _centres(width)[None]))
    z_enter, z_leave, face = _entry(sheet, n, scene.cutaway)
    z_hit = _first_hits(scene.surface, sheet, z_enter)
    colour = _shaded(scene, sheet, z_enter, z_leave, z_hit, face)
    return _warp(colour, sheet, scene.camera, n, size)


class _Sheet(NamedTuple):
    """Samples of the plane z = n; a ray through (u, v) is (u, v) - shear (n - z)."""

    shear: Float[Array, "2"]
    pitch: Float[Array, "2"]
    u: Float[Array, "w"]
    v: Float[Array, "w"]

    def points(self, z, n):
        """Points (w, w, 3) of the rays at heights z (w, w)."""
        x = self.u[:, None] - self.shear[0] * (n - z)
        y = self.v[None] - self.shear[1] * (n - z)
        return jnp.stack([x, y, z], axis=-1)


def _centres(count):
    return jnp.arange(count, dtype=jnp.float32) + 0.5


def _entry(sheet, n, cutaway):
    """Heights (w, w) at which rays enter and leave, and the axis they enter through."""
    u, v = jnp.meshgrid(sheet.u, sheet.v, indexing="ij")

    def crossing(plane):
        z_x = n - (u - plane) / sheet.shear[0]
        z_y = n - (v - plane) / sheet.shear[1]
        return jnp.stack([z_x, z_y, jnp.zeros_like(u) + plane])

    near, beyond = crossing(n), crossing(n - cutaway)
    z_near, z_beyond = near.min(0), beyond.max(0)
    # Rays run towards lower x, y and z alike: they leave the left-out cube once.
    face = jnp.where(z_beyond < z_near, beyond.argmax(0), near.argmin(0))
    return jnp.minimum(z_near, z_beyond), crossing(0).max(0), face


def _first_hits(surface, sheet, z_enter):
    """Height (w, w) of the slice nearest to the viewer that lies in solid, or -1."""
    n = surface.shape[0]

    def weights(x):
        # Linear interpolation between voxel centres, constant to the faces, 0 beyond.
        place = jnp.clip(x, 0.5, n - 0.5)
        hat = jnp.maximum(1 - abs(place[:, None] - _centres(n)[None]), 0)
        return jnp.where(((x >= 0) & (x <= n))[:, None], hat, 0)

    def step(hit, z):
        layer = jnp.clip(z - 0.5, 0, n - 1)
        low = jnp.minimum(layer.astype(jnp.int32), n - 2)
        pair = lax.dynamic_slice_in_dim(surface, low, 2, axis=2)
        share = layer - low.astype(layer.dtype)
        plane = pair[..., 0] * (1 - share) + pair[..., 1] * share
        across = weights(sheet.u - sheet.shear[0] * (n - z))
        along = weights(sheet.v - sheet.shear[1] * (n - z))
        value = across @ (plane @ along.T)
        return jnp.where((value > 0.5) & (z < z_enter), z, hit), None

    # From the far side, so that what is nearer simply overwrites.
    heights = _centres(int(n / _STEP)) * _STEP
    return lax.scan(step, jnp.full_like(z_enter, -1.0), heights)[0]


def _shaded(scene, sheet, z_enter, z_leave, z_hit, face):
    """Colours (w, w, 4) of the rays, premultiplied by coverage 0 or 1."""
    n = scene.surface.shape[0]

    def surface_at(z):
        return _sample(scene.surface[..., None], sheet.points(z, n))[..., 0]

    cut = (surface_at(z_enter) > 0.5) & (z_enter > z_leave)
    hit = cut | (z_hit >= 0)
    # The surface lies between the slice that was hit and the one before.
    z_before = jnp.minimum(z_hit + _STEP, z_enter)
    inside, outside = surface_at(z_hit), surface_at(z_before)
    share = jnp.clip((inside - 0.5) / jnp.maximum(inside - outside, 1e-6), 0, 1)
    z = jnp.where(cut, z_enter, z_hit + share * (z_before - z_hit))
    point = sheet.points(z, n)

    slope = _sample(scene.slope, point)
    length = jnp.linalg.norm(slope, axis=-1, keepdims=True)
    flat = jax.nn.one_hot(face, 3, dtype=slope.dtype)
    outward = jnp.where(cut[..., None], flat, -slope / jnp.maximum(length, 1e-6))
    around = point + outward * (n / 18)
    around = _sample(scene.shade[..., None], around / 2)[..., 0]
    depth = (z_enter - z) / (n * scene.camera[2, 2])
    dim = (1 - 0.9 * jnp.clip(around - 0.12, 0, 0.6)) * (1 - 0.22 * depth)

    local = outward @ scene.camera.T
    key = jnp.clip(local @ _KEY_LIGHT, 0, 1)
    fill = jnp.clip(local @ _FILL_LIGHT, 0, 1)
    on_cut = 0.74 + 0.36 * key
    light = jnp.where(cut, on_cut, dim * (0.54 + 0.54 * key + 0.20 * fill))[..., None]
    base = jnp.where(cut[..., None], _colour(BLUE), _colour(OCHRE))
    # Shadows keep some hue: the darker, the more saturated.
    colour = jnp.clip(base ** (1.25 - 0.25 * light) * light, 0, 1)
    covered = jnp.concatenate([colour, jnp.ones_like(light)], axis=-1)
    return jnp.where(hit[..., None], covered, 0)


def _colour(rgb):
    return jnp.array(rgb, jnp.float32)[None, None]


def _sample(field, point):
    """Trilinear values (w, w, c) of (n, n, n, c) at points (w, w, 3) in voxels.

    Constant beyond the outermost voxel centres. One gather fetches all eight corners:
    eight gathers took twice as long to compile and to run on a CPU.
    """
    n = field.shape[0]
    place = jnp.clip(point - 0.5, 0, n - 1)[..., None, :]
    low = jnp.minimum(place.astype(jnp.int32), n - 2)
    corner = low + jnp.array(list(np.ndindex(2, 2, 2)), jnp.int32)[None, None]
    index = (corner[..., 0] * n + corner[..., 1]) * n + corner[..., 2]
    share = jnp.prod(1 - abs(place - corner.astype(place.dtype)), axis=-1)
    values = field.reshape(n**3, -1).at[index].get(mode="promise_in_bounds")
    return (share[..., None] * values).sum(-2)


def _warp(colour, sheet, camera, n, size):
    """Resample the sheet to the screen, average 2 x 2 samples and draw the frame."""
    width = colour.shape[0]
    window = _CORNERS @ camera[:2].T
    half = 1.04 * abs(window).max()
    ticks = _centres(2 * size) / size - 1
    screen = half * jnp.stack(jnp.meshgrid(ticks, -ticks, indexing="xy"), -1)
    start = n * (0.5 + screen @ camera[:2])
    place = start[..., :2] + sheet.shear[None, None] * (n - start[..., 2:])
    place = place / sheet.pitch[None, None] - 0.5
    inside = ((place > 0) & (place < width - 1)).all(-1)
    place = jnp.clip(place, 0, width - 1.001)
    low = place.astype(jnp.int32)
    x, y = jnp.moveaxis(place - low.astype(place.dtype), -1, 0)[..., None]
    flat, base = colour.reshape(-1, 4), low[..., 0] * width + low[..., 1]

    def at(offset):
        return flat.at[base + offset].get(mode="promise_in_bounds")

    front = (1 - y) * at(0) + y * at(1)
    rear = (1 - y) * at(width) + y * at(width + 1)
    pixels = jnp.where(inside[..., None], (1 - x) * front + x * rear, 0)
    pixels = pixels.reshape(size, 2, size, 2, 4).mean((1, 3))
    coverage = pixels[..., 3:]
    picture = pixels[..., :3] + (1 - coverage) * _colour(BACKGROUND)

    centres = screen.reshape(size, 2, size, 2, 2).mean((1, 3))
    seen, hidden = _frame(centres, window, half / size, camera[2])
    line = jnp.maximum(0.6 * seen, 0.4 * hidden * (1 - coverage))
    picture = picture + line * (_colour(FRAME) - picture)
    return jnp.round(255 * picture).astype(jnp.uint8)


def _frame(screen, window, pixel, back):
    """Coverage (size, size, 1) of the cube's visible and its hidden edges."""
    start, end = window[_EDGES[0]], window[_EDGES[1]]
    along = (end - start)[None, None]
    offset = screen[..., None, :] - start[None, None]
    # An edge along the view is a point: its length must not divide.
    share = (offset * along).sum(-1) / jnp.maximum((along**2).sum(-1), 1e-12)
    distance = offset - jnp.clip(share, 0, 1)[..., None] * along
    cover = jnp.clip(1.1 - jnp.linalg.norm(distance, axis=-1) / (2 * pixel), 0, 1)
    # Of the two faces at an edge one must look at the viewer for the edge to be seen.
    towards = (_CORNERS[_EDGES[0]] + _CORNERS[_EDGES[1]]) * back[None] > 0
    seen = towards.any(-1)[None, None]
    visible = jnp.where(seen, cover, 0).max(-1, keepdims=True)
    return visible, jnp.where(seen, 0, cover).max(-1, keepdims=True)
