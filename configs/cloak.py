"""A mechanical cloak of real cells: four cases, as in Fig. 6 of arXiv 2401.13570.

    python -m mmdiff.main --config=configs/cloak.py --workdir=out/cloak

A column of void in a box of cells, cylinder or square, in a body of plate cells or of
isotropic ones; the cells around it are to hide it. tiny: 16^3 cells, one load, three
minutes on one CPU core. small: 40^3, one load and six, and a slab resolved voxel by
voxel; an hour. paper: more steps. The same command goes on where it was stopped.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # Cells along each edge of the box. The radius of the hole, or half the width of the
    # square, is a sixth of it, that of the cloak, of the same shape, a third.
    config.num_cells = {"tiny": 16, "small": 40, "paper": 40}[variant]
    # "cylinder", "square".
    config.columns = "cylinder,square"
    # The body outside: "plates", walls of an eighth of the cell's edge; "isotropic",
    # the most isotropic cell of the dataset of that volume; or the number of a cell.
    config.references = "plates,isotropic"
    config.reference_volume = 0.25
    # "pull": one face held, the opposite pulled, the others free; "strains": the worst
    # of the six uniform strains, given to all faces.
    config.tests = "pull" if variant == "tiny" else "pull,strains"
    # Dataset of the cells, to which solid is added; empty for the shipped one.
    config.data = ""

    # Most iterations of the design of the constants, and most evaluations while cells
    # are exchanged.
    config.steps = {"tiny": 60, "small": 240, "paper": 600}[variant]
    config.exchanges = {"tiny": 20, "small": 80, "paper": 200}[variant]
    # How much the fit of touching faces counts beside the distortion: of 0.01 more
    # equal voxels as much as of this many percent of the distortion less.
    config.face_weight = 1.0

    # Cells along the edge of a slab, one cell thick, that is cloaked and resolved voxel
    # by voxel; 0 for none. Voxels along the edge of each of its cells.
    config.check_cells = {"tiny": 0, "small": 12, "paper": 12}[variant]
    config.check_voxels = {"tiny": 16, "small": 32, "paper": 64}[variant]

    # Edge of a cell in millimetres and in voxels, in the file for print.
    config.cell_size_mm = 10.0
    config.stl_voxels = 16
    return config
