"""A dataset of homogenized cells: optimized, then perturbed towards sparse regions.

    python -m mmdiff.main --config=configs/dataset.py:tiny --workdir=out/data

tiny: some 60 cells of 32^3 voxels, under a minute on one CPU core. small: some 3,000
cells of 64^3 voxels, the recipe of the shipped set (17 minutes for two processes that
shared its shards on two CPU cores; this command runs one).
paper: cells of 128^3 voxels and the counts of arXiv 2401.13570, for accelerators.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the recipe of a dataset."""
    config = ConfigDict()
    config.seed = 0
    config.n = 32  # voxels per side of an octant; the cell has 2 n
    config.shard_size = 32
    config.optimized_shards = 5
    config.perturbed_rounds = (20, 40, 40)
    config.volume_range = (0.08, 0.85)
    config.steps = 50
    config.radius = 2.0
    config.amplitude = (0.5, 2.5)
    config.length = (3.0, 8.0)
    config.volume_jitter = 0.04
    config.void = 1e-6
    config.tol = 1e-5
    config.maxiter = 200
    config.validation = 0.05
    config.test = 0.05
    if variant == "tiny":
        config.n = 16
        config.shard_size = 16
        config.optimized_shards = 1
        config.perturbed_rounds = (1, 2)
        config.steps = 30
        config.radius = 1.5
        config.amplitude = (0.2, 0.8)
        config.length = (2.0, 4.0)
    elif variant == "paper":
        config.n = 64
        config.shard_size = 64
        config.optimized_shards = 235
        config.perturbed_rounds = (235, 350, 350)
        config.steps = 100
        config.radius = 3.0
        config.amplitude = (1.0, 5.0)
        config.length = (6.0, 16.0)
    return config
