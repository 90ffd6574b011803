"""A mechanical cloak of real cells: four cases, as in Fig. 6 of arXiv 2401.13570.

    python -m mmdiff.main --config=configs/cloak.py --workdir=out/cloak

A column of void in a box of cells, cylinder or square, in a body of plate cells or of
isotropic ones; the cells around it are to hide it. Cells are surfaces of a dataset with
the faces of the body's cell, or moved until they have what their place asks for. tiny:
16^3 cells, one load. small: 40^3, one load and six, and slabs that are resolved. paper:
more steps and cells. The same command goes on where it was stopped.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")
RANGES = {
    "num_cells": "[5, inf)",
    "elements": "[1, inf)",
    "reference_volume": "(0, 1)",
    "pool": "[2, inf)",
    "steps": "[0, inf)",
    "exchanges": "[1, inf)",
    "own_cells": "[0, inf)",
    "slab_elements": "[1, inf)",
    "check_elements": "[8, inf)",
    "corrections": "[0, inf)",
    "cell_size_mm": "(0, 1e6] mm",
    "stl_samples": "[4, inf)",
    "workers": "[0, inf)",
}
# Bytes that a number takes at least: so many, times a power of it.
BYTES = {
    "num_cells": (200, 3),
    "elements": (200, 3),
    "pool": (100000, 1),
    "stl_samples": (4, 3),
}
# Keys that name files: a run goes on with the same content only.
INPUTS = ("data",)


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # Cells along each edge of the box. The radius of the hole, or half the width of the
    # square, is a sixth of it, that of the cloak, of the same shape, a third.
    config.num_cells = {"tiny": 16, "small": 40, "paper": 40}[variant]
    # Trilinear elements along the edge of each of them, which is its tensor there.
    config.elements = 1
    # "cylinder", "square".
    config.columns = "cylinder,square"
    # The body outside: "plates", walls of an eighth of the cell's edge; "isotropic",
    # a soft isotropic cell of the dataset of that volume; or the number of a cell.
    config.references = "plates,isotropic"
    config.reference_volume = 0.25
    # "pull": one face held, the opposite pulled, the others free; "strains": the worst
    # of the six uniform strains, given to all faces.
    config.tests = "pull" if variant == "tiny" else "pull,strains"
    # Dataset of the cells; empty for the shipped one. The surfaces of so many of them,
    # spread over property space, pass into that of the body's cell at their faces, so
    # that all faces fit; those that stay whole are to choose from.
    config.data = ""
    config.pool = {"tiny": 200, "small": 2000, "paper": 9000}[variant]

    # Most iterations of the design of the constants, and most evaluations while cells
    # are exchanged; of several loads a quarter of both.
    config.steps = {"tiny": 150, "small": 240, "paper": 600}[variant]
    config.exchanges = {"tiny": 40, "small": 80, "paper": 200}[variant]
    # Where none comes near to what was designed, the nearest one's surface is moved
    # until it does: so many cells of each case at most, each for all places alike.
    config.own_cells = {"tiny": 8, "small": 100, "paper": 400}[variant]

    # Cells along the edges of slabs, one cell thick, that are cloaked and resolved, as
    # "12,24"; empty for none. Trilinear elements along the edge of each of their cells
    # where it is its tensor, and where it is resolved: as many as samples along half a
    # cell, or twice as many.
    config.check_cells = {"tiny": "", "small": "12,24", "paper": "12,24"}[variant]
    config.slab_elements = 3
    config.check_elements = 64 if variant == "paper" else 32
    # How often such a slab is designed again, with what was resolved in mind.
    config.corrections = 2

    # Edge of a cell in millimetres and samples along it, in the file for print.
    config.cell_size_mm = 10.0
    config.stl_samples = 16
    # Processes that make cells; 0 for one on every core.
    config.workers = 0
    return config
