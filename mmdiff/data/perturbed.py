"""Candidates by smooth random elastic deformation of earlier cells.

A random displacement field with the symmetry of the cell moves the surface, which is
then shifted to a slightly different volume (arXiv 2401.13570, Sec. 2.1, perturbs its
optimized cells in this way). Parents are drawn from thin parts of property space.
Host-side NumPy and SciPy.
"""

import numpy as np
from scipy import fft, ndimage

from mmdiff.cells.surface import SHIFT
from mmdiff.cells.symmetry import symmetrize
from mmdiff.data import select, space, store
from mmdiff.data.recipe import JOINT, POISSON, Recipe, Shard
from mmdiff.typing import Float


def candidates(
    recipe: Recipe, number: int, shard: Shard, earlier: store.Labels
) -> tuple[list[Float[np.ndarray, "n n n"]], list[dict]]:
    """Return the candidates of a shard of a perturbation round, and their records.

    Parents come from all earlier rounds: alike, or such that every bin of Poisson's
    ratio, or of property space and drainable or not, is drawn as often as any other.
    """
    rng = np.random.default_rng([recipe.seed, number])
    weights = None
    if shard.aim == POISSON:
        weights = select.sparse_weights(space.poisson_bin(earlier.constants))
    elif shard.aim == JOINT:
        index = 2 * space.bin_index(earlier.constants, earlier.volume)
        index += earlier.drainable
        weights = select.sparse_weights(index)
    chosen = rng.choice(len(earlier.records), shard.count, p=weights)
    settings, fields, records = recipe.perturbed, [], []
    for row, psi in zip(chosen, earlier.fields(chosen), strict=True):
        times = int(rng.integers(1, settings.times + 1))
        size = {"amplitude": rng.uniform(*settings.amplitude)}
        size["length"] = rng.uniform(*settings.length)
        for _ in range(times):
            psi = perturb(rng, psi, **size, volume_jitter=settings.volume_jitter)
        fields.append(psi)
        parent = earlier.records[row]
        record = {"parent": parent["id"], "family": parent["family"]}
        record |= {name: round(value, 4) for name, value in size.items()}
        records.append(record | {"times": times})
    return fields, records


def perturb(
    rng: np.random.Generator,
    psi: Float[np.ndarray, "n n n"],
    *,
    amplitude: float,
    length: float,
    volume_jitter: float,
) -> Float[np.ndarray, "n n n"]:
    """Return a deformed copy of a cubic field, at about a jittered volume.

    The jitter is the standard deviation of the change in volume fraction. The surface
    is shifted by `surface.SHIFT` spacings at most.
    """
    size = {"amplitude": amplitude, "length": length}
    field = warp(psi, smooth_displacement(rng, psi.shape[0], **size))
    volume = (psi > 0).mean() + volume_jitter * rng.standard_normal()
    level = np.quantile(field, 1 - np.clip(volume, 0.02, 0.98))
    return field - np.clip(level, -SHIFT, SHIFT)


def smooth_displacement(
    rng: np.random.Generator, n: int, *, amplitude: float, length: float
) -> Float[np.ndarray, "3 n n n"]:
    """Return a random displacement field with full cubic symmetry.

    The x component is odd under the mirror x -> -x, even under the other two and
    unchanged when y and z are swapped; the others follow by permutation. Sine and
    cosine transforms carry these parities, so the normal component vanishes on the
    mirrors. In spacings, as are the root mean square of one component (`amplitude`) and
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
    psi: Float[np.ndarray, "n n n"], displacement: Float[np.ndarray, "3 n n n"]
) -> Float[np.ndarray, "n n n"]:
    """Return a cubic field sampled at displaced points (spacings), cubic again."""
    points = np.indices(psi.shape) + displacement
    # Cubic up to interpolation, where the displacement is u(y) = h(y; x, z).
    return symmetrize(ndimage.map_coordinates(psi, points, order=3, mode="reflect"))
