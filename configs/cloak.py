"""A mechanical cloak of real cells: four cases, as in Fig. 6 of arXiv 2401.13570.

    python -m mmdiff.main --config=configs/cloak.py --workdir=out/cloak

A column of void in a box of cells, cylinder or square, in a body of plate cells or of
isotropic ones; the cells around it are to hide it. tiny: 16^3 cells, one load, three
minutes on one CPU core. small: 40^3, one load and six, and a slab resolved voxel by
voxel; an hour. paper: more steps and cells. The same command goes on where
it was stopped.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")
RANGES = {
    "num_cells": "[5, inf)",
    "reference_volume": "(0, 1)",
    "pool": "[2, inf)",
    "cell_voxels": "[8, inf)",
    "steps": "[0, inf)",
    "exchanges": "[1, inf)",
    "check_cells": "[0, inf)",
    "check_voxels": "[8, inf)",
    "cell_size_mm": "(0, 1e6] mm",
    "stl_voxels": "[4, inf)",
}
# Bytes that a number takes at least: so many, times a power of it.
BYTES = {
    "num_cells": (200, 3),
    "cell_voxels": (100, 3),
    "check_voxels": (12, 3),
    "check_cells": (1000, 2),
    "stl_voxels": (1, 3),
}
# Keys that name files: a run goes on with the same content only.
INPUTS = ("data",)


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # Cells along each edge of the box. The radius of the hole, or half the width of the
    # square, is a sixth of it, that of the cloak, of the same shape, a third.
    config.num_cells = {"tiny": 16, "small": 40, "paper": 40}[variant]
    # "cylinder", "square".
    config.columns = "cylinder,square"
    # The body outside: "plates", walls of an eighth of the cell's edge; "isotropic",
    # a soft isotropic cell of the dataset of that volume; or the number of a cell.
    config.references = "plates,isotropic"
    config.reference_volume = 0.25
    # "pull": one face held, the opposite pulled, the others free; "strains": the worst
    # of the six uniform strains, given to all faces.
    config.tests = "pull" if variant == "tiny" else "pull,strains"
    # Dataset of the cells; empty for the shipped one. So many of them, spread over
    # property space, get the outermost layer of voxels of the body's cell, so that all
    # faces fit, and are homogenized anew with so many voxels along their edge.
    config.data = ""
    config.pool = {"tiny": 500, "small": 3000, "paper": 9000}[variant]
    config.cell_voxels = 32 if variant == "tiny" else 64

    # Most iterations of the design of the constants, and most evaluations while cells
    # are exchanged; of several loads a quarter of both.
    config.steps = {"tiny": 150, "small": 240, "paper": 600}[variant]
    config.exchanges = {"tiny": 40, "small": 80, "paper": 200}[variant]
    # Cells along the edge of a slab, one cell thick, that is cloaked and resolved voxel
    # by voxel; 0 for none. Voxels along the edge of each of its cells.
    config.check_cells = {"tiny": 0, "small": 12, "paper": 12}[variant]
    config.check_voxels = {"tiny": 16, "small": 32, "paper": 64}[variant]

    # Edge of a cell in millimetres and in voxels, in the file for print.
    config.cell_size_mm = 10.0
    config.stl_voxels = 16
    return config
