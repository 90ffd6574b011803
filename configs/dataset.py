"""A dataset of homogenized cells: optimized, perturbed towards thin parts, proposed.

    python -m mmdiff.main --config=configs/dataset.py:tiny --workdir=out/data

tiny: some 90 cells of 32^3 voxels, two minutes on two CPU cores with nothing compiled
yet. small: the recipe of the shipped cells of 64^3 voxels; its card says how long that
took. paper: cells of 128^3 voxels and the counts of arXiv 2401.13570. What each will
take on the machine at hand is measured and printed before it starts. The same command
resumes a run that was killed and rebuilds shards that were damaged.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")
RANGES = {
    "seed": "[0, 4294967295]",
    "n": "[8, inf) samples",
    "shard_size": "[1, inf)",
    "volume_range": "(0, 1]^2",
    "wall": "[0, 0.5)",
    "gap": "[0, 0.5)",
    "drainable": "[0, 1]",
    "given.count": "[0, inf)",
    "optimized.bulk_shear": "[0, inf)",
    "optimized.isotropic": "[0, inf)",
    "optimized.poisson": "[0, inf)",
    "optimized.poisson_isotropic": "[0, inf)",
    "optimized.auxetic": "[0, inf)",
    "optimized.auxetic_isotropic": "[0, inf)",
    "optimized.target": "[0, inf)",
    "optimized.plates": "[0, inf)",
    "optimized.lattices": "[0, inf)",
    "optimized.steps": "[6, inf)",
    "optimized.ascent": "[0, inf)",
    "optimized.radius": "(0, inf) spacings",
    "perturbed.everywhere": "[0, inf)",
    "perturbed.poisson": "[0, inf)",
    "perturbed.joint": "[0, inf)",
    "perturbed.amplitude": "(0, inf)^2 spacings",
    "perturbed.length": "(0, inf)^2 spacings",
    "perturbed.times": "[1, inf)",
    "perturbed.volume_jitter": "[0, 1)",
    "proposed.count": "[0, inf)",
    "proposed.steps": "[2, 1000]",
    "proposed.polish_steps": "[0, inf)",
    "similarity": "[0, 1]",
    "distance": "[0, inf)",
    "void": "(0, 1)",
    "tol": "(0, 1)",
    "maxiter": "[1, inf)",
    "validation": "[0, 1)",
    "test": "[0, 1)",
    "subset": "[0, inf)",
    "num_targets": "[0, inf)",
    "workers": "[0, inf)",
}
# Bytes that a number takes at least: so many, times a power of it.
BYTES = {"n": (100, 3), "shard_size": (20000, 1)}
# Keys that name files: a run goes on with the same content only.
INPUTS = ("given.path", "proposed.weights")


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the recipe of a dataset, and how it is made."""
    config = ConfigDict()
    config.seed = 0
    # Samples along an octant.
    config.n = 32
    # Candidates per shard: what a killed worker loses at most.
    config.shard_size = 64
    # Volume fractions of requests and cells.
    config.volume_range = (0.1, 0.9)
    # Least thickness of walls and gaps, in edges of the cell; what is thinner is
    # mended. Share of the candidates whose closed pores are opened or filled.
    config.wall = 0.03
    config.gap = 0.03
    config.drainable = 0.7

    # Cells of an earlier dataset to go on from: how many, and where it lies (empty for
    # the shipped one).
    config.given = ConfigDict()
    config.given.count = 0
    config.given.path = ""

    # Candidates of round 0 by their objective.
    config.optimized = ConfigDict()
    config.optimized.bulk_shear = 64
    config.optimized.isotropic = 32
    config.optimized.poisson = 0
    config.optimized.poisson_isotropic = 0
    config.optimized.auxetic = 64
    config.optimized.auxetic_isotropic = 32
    # Nearest to tensors drawn all over the reachable region.
    config.optimized.target = 64
    # Plate lattices and other textbook ones, not optimized.
    config.optimized.plates = 32
    config.optimized.lattices = 96
    # Design steps, one for each of six stages at least; steps of the surface of
    # auxetic cells; filter radius in spacings.
    config.optimized.steps = 48
    config.optimized.ascent = 12
    config.optimized.radius = 2.0

    # Candidates of the perturbation rounds: parents from all cells alike, from thin
    # bins of Poisson's ratio, from thin bins of (C11, C12, C44, V).
    config.perturbed = ConfigDict()
    config.perturbed.everywhere = 1024
    config.perturbed.poisson = (1024, 1024)
    config.perturbed.joint = (1024,) * 4 + (4096,) * 4 + (8192,) * 8
    # Root mean square displacement and correlation length in spacings.
    config.perturbed.amplitude = (0.2, 1.0)
    config.perturbed.length = (4.0, 8.0)
    # Most deformations in a row.
    config.perturbed.times = 2
    config.perturbed.volume_jitter = 0.04

    # Candidates that a trained model proposes for empty bins; 0 leaves the round out.
    config.proposed = ConfigDict()
    config.proposed.count = 0
    # Weights file of configs/train.py; empty for the shipped model (64^3 voxels).
    config.proposed.weights = ""
    config.proposed.steps = 12
    config.proposed.polish_steps = 4

    # Cells that agree in this share of voxels and are this near in properties are one.
    config.similarity = 0.995
    config.distance = 0.002

    # Finite elements of the labels.
    config.void = 1e-6
    config.tol = 1e-4
    config.maxiter = 200

    # Shares of the families kept apart.
    config.validation = 0.05
    config.test = 0.05
    # Cells of the property-uniform subset, and targets of the test list.
    config.subset = {"tiny": 32, "small": 12000, "paper": 10000}[variant]
    config.num_targets = {"tiny": 40, "small": 1660, "paper": 1660}[variant]

    # Processes on this machine; 0 for one on every core.
    config.workers = 0

    if variant == "tiny":
        config.n = 16
        config.shard_size = 8
        config.optimized.bulk_shear = 16
        config.optimized.isotropic = 0
        config.optimized.poisson = 0
        config.optimized.poisson_isotropic = 0
        config.optimized.auxetic = 0
        config.optimized.auxetic_isotropic = 0
        config.optimized.target = 0
        config.optimized.plates = 8
        config.optimized.lattices = 16
        config.optimized.steps = 30
        config.optimized.radius = 1.5
        config.perturbed.everywhere = 16
        config.perturbed.poisson = (16,)
        config.perturbed.joint = (24,)
        config.perturbed.amplitude = (0.2, 0.8)
        config.perturbed.length = (2.0, 4.0)
        config.proposed.count = 0
    elif variant == "paper":
        config.n = 64
        config.optimized.bulk_shear = 7000
        config.optimized.isotropic = 3000
        config.optimized.poisson = 1750
        config.optimized.poisson_isotropic = 750
        config.optimized.auxetic = 1750
        config.optimized.auxetic_isotropic = 750
        config.optimized.target = 0
        config.optimized.plates = 0
        config.optimized.lattices = 0
        config.optimized.steps = 100
        config.optimized.radius = 3.0
        config.perturbed.everywhere = 20000
        config.perturbed.poisson = (10000, 10000)
        config.perturbed.joint = (10000, 10000)
        config.perturbed.amplitude = (0.4, 2.0)
        config.perturbed.length = (8.0, 16.0)
        config.proposed.count = 0  # needs a model of 128^3 cells
    return config
