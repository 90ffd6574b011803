"""Candidates by smooth random elastic deformation of earlier cells.

A random displacement field with the symmetry of the cell moves the material, and the
warped field is thresholded again at a slightly different volume (arXiv 2401.13570,
Sec. 2.1, perturbs its optimized cells in this way). Parents are drawn from thin parts
of property space. Host-side NumPy and SciPy.
"""

import numpy as np
from scipy import fft, ndimage

from mmdiff.cells.symmetry import symmetrize
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.data import select, space, store
from mmdiff.data.recipe import JOINT, POISSON, Recipe, Shard
from mmdiff.typing import Float, UInt8


def candidates(
    recipe: Recipe, number: int, shard: Shard, earlier: store.Labels
) -> tuple[UInt8[np.ndarray, "S n n n"], list[dict]]:
    """Return the candidates of a shard of a perturbation round, and their records.

    Parents come from all earlier rounds: alike, or such that every bin of Poisson's
    ratio, or of the whole property space, is drawn as often as any other.
    """
    rng = np.random.default_rng([recipe.seed, number])
    weights = None
    if shard.aim == POISSON:
        weights = select.sparse_weights(space.poisson_bin(earlier.constants))
    elif shard.aim == JOINT:
        index = space.bin_index(earlier.constants, earlier.volume)
        weights = select.sparse_weights(index)
    chosen = rng.choice(len(earlier.records), shard.count, p=weights)
    settings, octants, records = recipe.perturbed, [], []
    for row, octant in zip(chosen, earlier.octants(chosen), strict=True):
        times = int(rng.integers(1, settings.times + 1))
        size = {"amplitude": rng.uniform(*settings.amplitude)}
        size["length"] = rng.uniform(*settings.length)
        for _ in range(times):
            octant = perturb(rng, octant, **size, volume_jitter=settings.volume_jitter)
        octants.append(octant)
        parent = earlier.records[row]
        record = {"parent": parent["id"], "family": parent["family"]}
        record |= {name: round(value, 4) for name, value in size.items()}
        records.append(record | {"times": times})
    return np.stack(octants), records


def perturb(
    rng: np.random.Generator,
    octant: UInt8[np.ndarray, "n n n"],
    *,
    amplitude: float,
    length: float,
    volume_jitter: float,
) -> UInt8[np.ndarray, "n n n"]:
    """Return a deformed copy of a binary cubic octant at a jittered volume.

    The jitter is the standard deviation of the change in volume fraction.
    """
    size = {"amplitude": amplitude, "length": length}
    field = warp(octant, smooth_displacement(rng, octant.shape[0], **size))
    # A warped octant of u(y) = h(y; x, z) is cubic up to interpolation; `warp` restores
    # it, and the threshold then switches whole orbits.
    volume = octant.mean() + volume_jitter * rng.standard_normal()
    return threshold_to_volume(field, float(np.clip(volume, 0.02, 0.98)))


def smooth_displacement(
    rng: np.random.Generator, n: int, *, amplitude: float, length: float
) -> Float[np.ndarray, "3 n n n"]:
    """Return a random displacement field with full cubic symmetry.

    The x component is odd under the mirror x -> -x, even under the other two and
    unchanged when y and z are swapped; the others follow by permutation. Sine and
    cosine transforms carry these parities, so the normal component vanishes on the
    mirrors. In voxels, as are the root mean square of one component (`amplitude`) and
    the standard deviation of the smoothing kernel (`length`).
    """
    even = np.exp(-0.5 * (np.pi * length * np.arange(n) / n) ** 2)
    odd = np.exp(-0.5 * (np.pi * length * np.arange(1, n + 1) / n) ** 2)
    spectrum = rng.standard_normal((n, n, n))
    spectrum = (spectrum + spectrum.swapaxes(1, 2)) / 2
    spectrum *= odd[:, None, None] * even[:, None] * even
    field = fft.idst(spectrum, axis=0, norm="ortho")
    field = fft.idctn(field, axes=(1, 2), norm="ortho")
    field *= amplitude / max(np.sqrt(np.mean(field**2)), 1e-12)
    # u_x(x, y, z) = h(x; y, z), u_y = h(y; x, z), u_z = h(z; x, y).
    return np.stack([field, field.transpose(1, 0, 2), field.transpose(1, 2, 0)])


def warp(
    octant: UInt8[np.ndarray, "n n n"], displacement: Float[np.ndarray, "3 n n n"]
) -> Float[np.ndarray, "n n n"]:
    """Return the octant sampled at displaced points, smoothed, cubic, in [0, 1]."""
    # Half a voxel of smoothing turns the binary steps into a slope to threshold on.
    smooth = ndimage.gaussian_filter(octant.astype(np.float64), 0.7, mode="reflect")
    points = np.indices(octant.shape) + displacement
    moved = ndimage.map_coordinates(smooth, points, order=1, mode="reflect")
    return symmetrize(moved)
