"""Cells and stiffness that cost nothing, for the tests of `mmdiff.design`."""

import jax
import numpy as np

from mmdiff.cells import distance, surface
from mmdiff.cells.grey import to_sample
from mmdiff.cells.symmetry import symmetrize
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.data.dataset import Dataset
from mmdiff.diffusion.process import symmetric_noise

RATES = np.array([1.0, 0.4, 0.3])  # stiffness of `proportional` at volume 1


def wave(n=8):
    """Field of Schwarz' P surface, symmetric to the last bit."""
    line = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    return np.round(line[:, None, None] + line[:, None] + line, 9)


def frame(n=8, width=2):
    """Field of three plates in the middle planes: connected, closed, cubic."""
    i = np.arange(n) >= n - width
    return np.where(i[:, None, None] | i[:, None] | i, 1.0, -1.0)


def block(n=8):
    """Field of a cube in the middle of the cell that touches no face."""
    field = -np.ones((n, n, n))
    field[n // 2 :, n // 2 :, n // 2 :] = 1
    return field


def fields(count, seed=0, n=8):
    """Fields of connected cells, each another one."""
    rng = np.random.default_rng(seed)
    noise = np.stack([symmetrize(rng.normal(size=(n, n, n))) for _ in range(count)])
    return np.round(wave(n) + 0.3 * noise, 9)


def octant(n=8, seed=0):
    """A connected octant."""
    return (fields(1, seed, n)[0] > 0).astype(np.uint8)


def proportional(psi):
    """Constants in proportion to the volume: no finite elements."""
    return surface.volume(psi) * RATES


def smooth_field(volume=0.4, n=8, bump=0.3, kind=1):
    """A level-set field near Schwarz' P surface, of a volume."""
    line = np.cos(2 * kind * np.pi * (np.arange(n) + 0.5) / n)
    array = wave(n) + bump * line[:, None, None] * line[:, None] * line
    return surface.to_volume(symmetrize(array / 4), volume)


def rough(volume, key, n=8):
    """A frame of a volume, roughened by noise."""
    noise = np.asarray(symmetric_noise(key, n))
    return threshold_to_volume(wave(n) + 0.3 * noise, volume)


def dataset_of(fields, constants, volume, split=0):
    """A dataset of cubic fields, whose constants are known to 1 %."""
    fields, constants = np.stack(fields), np.asarray(constants, float)
    info = {"n": fields.shape[-1], "uncertainty": 0.01 * constants}
    info["split"] = np.broadcast_to(split, len(fields))
    info["records"] = [{"id": i, "trapped": 0} for i in range(len(fields))]
    return Dataset(distance.pack(fields), constants, np.asarray(volume, float), info)


def dataset_of_voxels(octants, constants, volume=None, split=0):
    """A dataset whose octants are these, of their volumes or of others."""
    octants = np.asarray(octants)
    volume = octants.mean((1, 2, 3)) if volume is None else volume
    return dataset_of(2.0 * octants - 1, constants, volume, split)


def rough_dataset(constants_of=proportional):
    """A dataset of the surfaces of rough frames."""
    keys = jax.random.split(jax.random.key(7), 6)
    volumes = (0.33, 0.37, 0.43, 0.45, 0.47, 0.8)
    octants = (rough(v, k) for v, k in zip(volumes, keys, strict=True))
    packed = (distance.pack(surface.from_voxels(octant)) for octant in octants)
    fields = [distance.unpack(each, 8) for each in packed]  # as they are stored
    constants = [constants_of(psi) for psi in fields]
    return dataset_of(fields, constants, [surface.volume(psi) for psi in fields])


def rough_sampler(targets):
    """`make_sampler` of rough frames in place of samples; keeps what it is asked."""

    def make_sampler(params, meta, *, num_samples, steps, newton, drainable):
        def draw(key, target):
            targets.append(target)
            keys = jax.random.split(key, num_samples)
            octants = [rough(target.volume, key) for key in keys]
            return np.stack([to_sample(surface.from_voxels(o)) for o in octants])

        return draw

    return make_sampler
