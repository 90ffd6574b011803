"""New cells from old ones by smooth random elastic deformation.

A random displacement field with the symmetry of the cell moves the material, and the
warped field is thresholded again at a slightly different volume (arXiv 2401.13570,
Sec. 2.1, perturbs its optimized cells in this way). Host-side NumPy and SciPy.
"""

import numpy as np
from scipy import fft, ndimage

from mmdiff.cells.symmetry import symmetrize
from mmdiff.cells.voxels import threshold_to_volume


def smooth_displacement(
    rng: np.random.Generator, n: int, *, amplitude: float, length: float
) -> np.ndarray:
    """Return a random displacement field with full cubic symmetry.

    The x component is odd under the mirror x -> -x, even under the other two and
    unchanged when y and z are swapped; the others follow by permutation. Sine and
    cosine transforms carry these parities, so the normal component vanishes on the
    mirrors.

    Args:
      rng: source of the noise.
      n: voxels per side of the octant.
      amplitude: root mean square of one component in voxels.
      length: correlation length in voxels (standard deviation of the smoothing kernel).

    Returns:
      (3, n, n, n) displacements in voxels.
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


def warp(octant: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Return the octant sampled at displaced points, smoothed, cubic, in [0, 1]."""
    # Half a voxel of smoothing turns the binary steps into a slope to threshold on.
    smooth = ndimage.gaussian_filter(octant.astype(np.float64), 0.7, mode="reflect")
    points = np.indices(octant.shape) + displacement
    moved = ndimage.map_coordinates(smooth, points, order=1, mode="reflect")
    return symmetrize(moved)


def perturb(
    rng: np.random.Generator,
    octant: np.ndarray,
    *,
    amplitude: float,
    length: float,
    volume_jitter: float,
) -> np.ndarray:
    """Return a deformed copy of a binary octant at a jittered volume.

    Args:
      rng: source of the noise.
      octant: (n, n, n) binary cubic octant.
      amplitude: root mean square displacement in voxels.
      length: correlation length in voxels.
      volume_jitter: standard deviation of the change in volume fraction.
    """
    displacement = smooth_displacement(
        rng, octant.shape[0], amplitude=amplitude, length=length
    )
    field = warp(octant, displacement)
    # A warped octant of u(y) = h(y; x, z) is cubic up to interpolation; `warp` restores
    # it, and the threshold then switches whole orbits.
    volume = octant.mean() + volume_jitter * rng.standard_normal()
    return threshold_to_volume(field, float(np.clip(volume, 0.02, 0.98)))
