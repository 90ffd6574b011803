"""Cells of known difficulty, for benchmarks and tests of solvers.

Three reference cells that other homogenizers have been timed on, and random ones of
four kinds: a solver that does well on smooth or thick-walled cells alone is of no use
in a design loop. Every specimen is a cubic octant that exists at any resolution.
"""

import numpy as np

from mmdiff.cells.connectivity import is_load_bearing, keep_largest
from mmdiff.cells.symmetry import cell_to_octant, octant_to_cell, symmetrize
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.typing import Float

KINDS = ("network", "debris", "graded", "grains")
WAVES = (2, 3, 4, 6, 8)  # spectral width of the random fields, waves per cell
VOLUMES = (0.2, 0.3, 0.4, 0.5, 0.6)
NUM_GRAINS = 60


def _wave(n):
    """Return cos 2 pi x at the element centres of [0, 1/2]."""
    return np.cos(np.pi * (np.arange(n) + 0.5) / n)


def _sorted_axes(line):
    """Return the line along the three axes, sorted: the same order in every orbit."""
    return np.sort(np.stack(np.broadcast_arrays(*np.ix_(line, line, line))), axis=0)


def schwarz_p(n: int) -> Float[np.ndarray, "n n n"]:
    """Return the octant of the binary Schwarz-P network of about 30 % volume."""
    field = np.round(_sorted_axes(_wave(n)).sum(0), 9)
    levels, counts = np.unique(field, return_counts=True)
    volume = np.cumsum(counts[::-1])[::-1] / n**3
    return (field >= levels[np.argmin(abs(volume - 0.3))]).astype(float)


def graded(n: int) -> Float[np.ndarray, "n n n"]:
    """Return the octant of a smooth cell of densities from 0.02 to 0.98."""
    x, y, z = _sorted_axes(_wave(n))
    g = (x + y + z) / 3 + 0.5 * (x * y + y * z + z * x) / 3
    return 0.02 + 0.96 * (g - g.min()) / (g.max() - g.min())


def plates(n: int) -> Float[np.ndarray, "n n n"]:
    """Return the octant of the simple-cubic plate lattice, walls 1/16 of the cell."""
    wall = np.arange(n) < max(1, n // 16)
    return (wall[:, None, None] | wall[:, None] | wall).astype(float)


def random_cell(n: int, seed: int) -> Float[np.ndarray, "n n n"]:
    """Return a random heterogeneous octant; the kind is `KINDS[seed % 4]`.

    Networks are binary, connected and load bearing (the volume is raised until the
    largest piece spans the cell); debris is binary with whatever islands the threshold
    leaves; graded cells hold smooth densities from 0 to 1; grains are polyhedra of
    constant density, log-uniform from 0.01 to 1. An edge n of 16 resolves the finest;
    20 consecutive seeds hold every width and volume of every kind.
    """
    rng = np.random.default_rng(seed)
    kind, step = KINDS[seed % 4], seed // 4
    if kind == "grains":
        return _grains(n, rng)
    waves, volume = WAVES[step % 5], VOLUMES[(2 * step + seed) % 5]
    field = _gaussian_field(n, waves, rng)
    if kind == "graded":
        return 1 / (1 + np.exp(-4 * field))
    octant = threshold_to_volume(field, volume)
    if kind == "debris":
        return octant.astype(float)
    while True:
        cell = keep_largest(octant_to_cell(octant))[0]
        if is_load_bearing(cell):
            return _with_images(cell).astype(float)
        volume += 0.02
        octant = threshold_to_volume(field, volume)


def _with_images(cell):
    """Return the octant of a piece and its images: one piece need not be cubic."""
    for axis in range(3):
        cell = cell | np.flip(cell, axis)
    return symmetrize(cell_to_octant(cell).astype(float)) > 0


def _gaussian_field(n, waves, rng):
    """Return a cubic Gaussian field of zero mean and unit deviation."""
    k = np.arange(17)
    line = np.cos(np.pi * k[:, None] * (np.arange(n) + 0.5) / n)
    square = k[:, None, None] ** 2 + k[:, None] ** 2 + k**2
    weight = rng.standard_normal(square.shape) * np.exp(-square / (2 * waves**2))
    weight[0, 0, 0] = 0
    field = np.einsum("abc,ax,by,cz->xyz", weight, line, line, line, optimize=True)
    field = symmetrize(field)
    return (field - field.mean()) / field.std()


def _grains(n, rng):
    """Return the density of the nearest random point, in sorted coordinates."""
    place = _sorted_axes((np.arange(n) + 0.5) / n)
    seeds = np.sort(rng.random((NUM_GRAINS, 3)), axis=1)
    density = 10 ** (-2 * rng.random(NUM_GRAINS))
    distance = ((place[None] - seeds[:, :, None, None, None]) ** 2).sum(1)
    return density[np.argmin(distance, axis=0)]


def specimens(n: int, num_random: int = 20) -> dict[str, Float[np.ndarray, "n n n"]]:
    """Return the three reference octants and `num_random` random ones, by name."""
    cells = {"schwarz_p": schwarz_p(n), "plates": plates(n), "graded": graded(n)}
    for seed in range(num_random):
        cells[f"{KINDS[seed % 4]} {seed}"] = random_cell(n, seed)
    return cells
