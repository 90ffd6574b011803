"""Families of cells: a path between two cells, and a ladder in volume without gaps.

    python -m mmdiff.main --config=configs/interpolate.py --workdir=out/family
    python -m mmdiff.main --config=configs/interpolate.py --workdir=out/path \
        --config.first=a.npy --config.second=4711 --config.num_cells=0

As in Fig. 5 of arXiv 2401.13570. tiny: 3 cells on the path, 4 of the dataset near the
bulk bound and what fills their gaps, two minutes on one CPU core. small: 9 and 32, with
K/K_HS of at least 0.93. paper: 16 and 64 cells, 16 into each gap. The same command goes
on where it was stopped.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")
RANGES = {
    "num_path": "[0, inf)",
    "steps": "[1, 1000]",
    "iterations": "[1, inf)",
    "newton": "[0, 100]",
    "polish_steps": "[0, inf)",
    "num_cells": "[0, inf)",
    "low": "(0, 1)",
    "high": "(0, 1)",
    "floor": "[0, 1]",
    "tolerance": "(0, inf)",
    "per_gap": "[1, inf)",
    "rounds": "[0, inf)",
    "num_pairs": "[0, inf)",
    "seed": "[0, 4294967295]",
    "cell_size_mm": "(0, 1e6] mm",
    "min_wall_mm": "[0, inf) mm",
    "min_gap_mm": "[0, inf) mm",
    "resolution": "[64, 256]",
}
# Bytes that a number takes at least: so many, times a power of it.
BYTES = {"num_cells": (100000, 1), "num_path": (100000, 1)}


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # The ends of the path: a voxel file of a cell of cubic symmetry (.npy, .npz, .vti,
    # .nrrd, .mat) or the number of a cell of the dataset. Empty for the lightest and
    # the heaviest cell that the family begins with.
    config.first = ""
    config.second = ""
    # Dataset of the family; empty for the shipped one.
    config.data = ""
    config.checkpoint = ""
    config.seed = 0

    # Cells between the two ends; 0 for no path.
    config.num_path = {"tiny": 3, "small": 9, "paper": 16}[variant]
    # Conditions of the network for the cells on the path: "none", or "ends", constants
    # and volume on the line between those of the ends.
    config.conditions = "ends"
    # DDIM steps each way, and evaluations of the network per step of the inversion.
    config.steps = 16
    config.iterations = 3
    # As for configs/generate.py. On the path they need conditions=ends.
    config.newton = 3
    config.guide = "homogenizer"
    config.polish_steps = 20

    # What new cells comply with, and the voxels of the files, as for
    # configs/generate.py; but what is nearest to the bulk bound has closed pores.
    config.cell_size_mm = 10.0
    config.min_wall_mm = 0.0
    config.min_gap_mm = 0.0
    config.drainable = False
    config.resolution = 128

    # The family: cells of the dataset spread over the volumes from low to high, K/K_HS
    # at or above the floor, those whose faces fit their neighbours'; 0 for no family.
    config.num_cells = {"tiny": 4, "small": 32, "paper": 64}[variant]
    config.low = 0.3 if variant == "tiny" else 0.15
    config.high = {"tiny": 0.5, "small": 0.75, "paper": 0.8}[variant]
    config.floor = 0.85 if variant == "tiny" else 0.93
    # Widest gap in volume that is let be, samples for each wider one and round, rounds.
    config.tolerance = {"tiny": 0.05, "small": 0.02, "paper": 0.005}[variant]
    config.per_gap = {"tiny": 2, "small": 4, "paper": 16}[variant]
    config.rounds = {"tiny": 2, "small": 3, "paper": 4}[variant]

    # Pairs of neighbours whose stiffness is computed, the worst faces first: in the
    # family, or on the path where there is no family. Each has the unknowns of a cell
    # of twice the resolution and six loads.
    config.num_pairs = {"tiny": 1, "small": 8, "paper": 64}[variant]
    return config
