"""Time homogenizer and sampler on this machine, on request beside other solvers.

    python -m mmdiff.main --config=configs/bench.py:small --workdir=out/bench

tiny: cells of 32^3 and 64^3 voxels on their octants. small: 128^3 as well and whole
periodic cells up to 64^3, seven minutes on two CPU cores. paper: periodic 128^3 and
more repetitions, much longer. generate: the stages of a generated cell and the default
command alone, five minutes. Machines are noisy: compare numbers of one run only, on a
machine that does nothing else.

`--config.peers=True` solves the reference cells with other packages, too, on one thread
and in the same run: SciPy always, PyAMG and muGrid where they are installed (pip
install pyamg muGrid).
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper", "generate")
RANGES = {
    "cubic": "[8, inf)",
    "periodic": "[8, inf)",
    "batch_cubic": "[8, inf)",
    "design": "[8, inf)",
    "dataset": "[8, inf)",
    "peer_sizes": "[8, inf)",
    "num_random": "[0, inf)",
    "void": "(0, 1]",
    "other_voids": "(0, 1]",
    "tol": "(0, 1)",
    "maxiter": "[1, inf)",
    "repeats": "[1, inf)",
    "seconds": "[0, inf) s",
    "batches": "[1, inf)",
    "num_starts": "[0, inf)",
    "num_candidates": "[0, inf)",
    "num_samples": "[0, inf)",
    "num_cells": "[0, inf)",
    "steps": "[2, 1000]",
    "peer_seconds": "(0, inf) s",
}
# Bytes that a number takes at least: so many, times a power of it.
BYTES = {
    "cubic": (20, 3),
    "periodic": (100, 3),
    "batch_cubic": (20, 3),
    "design": (20, 3),
    "dataset": (20, 3),
    "peer_sizes": (100, 3),
    "num_random": (32000, 1),
    "batches": (32000, 1),
    "num_starts": (32000, 1),
    "num_candidates": (20000, 1),
    "num_samples": (400000, 1),
}


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    tiny, paper = variant == "tiny", variant == "paper"
    config = ConfigDict()
    # Edges of the cells. "cubic" solves two loads on the octant, of half the edge,
    # "periodic" six loads on the whole cell.
    config.cubic = (32, 64) if tiny else (32, 64, 128)
    config.periodic = () if tiny else (32, 64, 128) if paper else (32, 64)
    # Random heterogeneous cells beside the three reference cells.
    config.num_random = 4 if tiny else 20
    config.void = 1e-6
    config.other_voids = (1e-3, 1e-9)  # only iterations are counted for these
    config.tol = 1e-5
    config.maxiter = 500
    # A cell is solved once untimed, then until so many calls or seconds are reached.
    config.repeats = 11 if paper else 5
    config.seconds = 5.0 if paper else 1.0
    # Compile time and memory, each measured in a fresh process.
    config.fresh = True
    # Cells per second in batches of random cells.
    config.batch_cubic = (32,) if tiny else (32, 64)
    config.batches = (1, 8) if tiny else (1, 8, 32)
    # Design steps of topology optimization, and a batch of starts; 0 starts skip it.
    config.design = (64,) if tiny else (64, 128)
    config.num_starts = 8
    # Labelled cells per hour of a small dataset, and candidates of each of its shards;
    # 0 candidates skip it.
    config.dataset = (32,) if tiny else (64,)
    config.num_candidates = 8 if tiny else 16
    # Samples per call and evaluations per sample of the sampler; 0 samples skip it.
    config.num_samples = 8
    config.steps = 16
    # The default command with an empty cache and without, and the stages of so many
    # cells of one process; 0 cells skip it.
    config.num_cells = 0
    # Other packages on whole cells; one that takes longer for a cell is stopped.
    config.peers = False
    config.peer_sizes = (32,) if tiny else (32, 64)
    config.peer_seconds = 120.0
    if variant == "generate":
        config.cubic = config.periodic = config.batches = ()
        config.num_starts = config.num_candidates = config.num_samples = 0
        config.num_cells = 4
    return config
