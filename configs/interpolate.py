"""Families of cells: a path between two cells, and cells near the bulk bound.

    python -m mmdiff.main --config=configs/interpolate.py --workdir=out/family
    python -m mmdiff.main --config=configs/interpolate.py --workdir=out/path \
        --config.first=a.npy --config.second=4711 --config.family=none

As in Fig. 5 of arXiv 2401.13570. A family is a chain, grown from one cell by moving its
surface from volume to volume, so that neighbours fit and a strip can be graded through
it; or a ladder: cells of the dataset, with the gaps between them filled by the model.
tiny: 3 cells on the path and a family of steps of 0.05 in volume, two minutes on one
CPU core. small: 9, and steps of 0.01 from 0.1 to 0.8. paper: 16, and a ladder of 64
cells with 16 into each gap. The same command goes on where it was stopped.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")
RANGES = {
    "num_path": "[0, inf)",
    "steps": "[1, 1000]",
    "iterations": "[1, inf)",
    "newton": "[0, 100]",
    "polish_steps": "[0, inf)",
    "num_cells": "[2, inf)",
    "chain_steps": "[0, inf)",
    "strip_cells": "[0, 64]",
    "low": "(0, 1)",
    "high": "(0, 1)",
    "floor": "[0, 1]",
    "tolerance": "[0.001, 1)",
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
# Keys that name files: a run goes on with the same content only.
INPUTS = ("checkpoint", "data", "first", "second", "seed_cell")


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # The ends of the path: a voxel file of a cell of cubic symmetry (.npy, .npz, .vti,
    # .nrrd, .mat) or the number of a cell of the dataset. Empty for the cells of the
    # family that are nearest to volumes of 0.3 and 0.5.
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
    # configs/generate.py.
    config.cell_size_mm = 10.0
    config.min_wall_mm = 0.0
    config.min_gap_mm = 0.0
    config.drainable = True
    config.resolution = 128

    # The family: "chain", "ladder" or "none"; its volumes, and the widest gap between
    # two of them that is let be.
    config.family = "ladder" if variant == "paper" else "chain"
    config.low = 0.3 if variant == "tiny" else 0.1
    config.high = 0.5 if variant == "tiny" else 0.8
    config.tolerance = {"tiny": 0.05, "small": 0.01, "paper": 0.005}[variant]
    # Of a chain: the cell it is grown from, a lattice with mirror planes such as
    # "octet plates" (at the lowest volume), the number of a cell of the dataset or a
    # voxel file; steps of its surface from member to member.
    config.seed_cell = "sc plates"
    config.chain_steps = 4
    # Cells along a strip that is graded through the chain, for print; 0 for none.
    config.strip_cells = 4 if variant == "tiny" else 8
    # Of a ladder: cells of the dataset spread over the volumes, K/K_HS at or above the
    # floor, those whose faces fit their neighbours'; samples for each wider gap and
    # round, and rounds.
    config.num_cells = {"tiny": 4, "small": 32, "paper": 64}[variant]
    config.floor = 0.85 if variant == "tiny" else 0.93
    config.per_gap = {"tiny": 2, "small": 4, "paper": 16}[variant]
    config.rounds = {"tiny": 2, "small": 3, "paper": 4}[variant]

    # Pairs of neighbours whose stiffness is computed, the worst faces first: in the
    # family, or on the path where there is no family. Each has the unknowns of a cell
    # of twice the resolution and six loads.
    config.num_pairs = {"tiny": 1, "small": 8, "paper": 64}[variant]
    return config
