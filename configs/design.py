"""A cell for an objective of your own: a function of the tensor, or load cases.

    python -m mmdiff.main --config=configs/design.py --workdir=out/mine \
        --config.objective=goals.py:stiffness --config.constraints=goals.py:limits
    python -m mmdiff.main --config=configs/design.py --workdir=out/loads \
        --config.loads="1,0,0,0,0,0; 0,0,0,1,0,0" --config.load_kind=stress

The gradient of the function goes through homogenization to the densities, then to the
surface, which is moved, mended and checked as by configs/optimize.py, and written for
print. tiny: 2 known, 2 random and 2 plate-like starts on 64^3 elements, some minutes on
two CPU cores. small: 16, 16 and 5. paper: 64, 64 and 5 on 128^3, for accelerators. The
same command resumes a run that was killed.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")
RANGES = {
    "vf": "(0, 1)",
    "isotropy": "[0, inf)",
    "min_E": "[0, inf)",
    "design_resolution": "[16, inf)",
    "num_starts": "[1, inf)",
    "workers": "[0, inf)",
    "waves": "[1, inf)",
    "num_best": "[1, inf)",
    "seed": "[0, 4294967295]",
    "scale": "(0, inf)",
    "radius": "[1, inf)",
    "robust": "[0, 0.45]",
    "steps": "[0, inf)",
    "refine_steps": "[0, inf)",
    "store_every": "[1, inf)",
    "cell_size_mm": "(0, 1e6] mm",
    "min_wall_mm": "[0, inf) mm",
    "min_gap_mm": "[0, inf) mm",
    "base.E": "(0, 1e15]",
    "base.nu": "(-1, 0.5)",
    "solver.void": "(0, 1)",
    "solver.tol": "(0, 1)",
    "solver.maxiter": "[1, inf)",
}
# Bytes that a number takes at least: so many, times a power of it.
BYTES = {"design_resolution": (20, 3), "num_starts": (100000, 1)}
# Keys that name files: a run goes on with the same content only.
INPUTS = ("objective", "constraints", "start")


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # "module:function" or "file.py:function": a JAX function of the 6x6 tensor for base
    # E = 1, Voigt order 11 22 33 23 13 12 with engineering shear, to be maximized; or
    # an objective of configs/optimize.py by name.
    config.objective = ""
    # Likewise a function of the tensor that returns one or more numbers, each met where
    # it is at most 0; best scaled to be of order one.
    config.constraints = ""
    # In place of an objective: load cases, six components each in that order, with
    # semicolons between. Of "strain" the mean of twice their energies is maximized, of
    # "stress" its inverse, which is Young's modulus for unit tension along an axis.
    config.loads = ""
    config.load_kind = "strain"
    # Positive numbers, one for each load, with commas; empty for equal ones.
    config.load_weights = ""
    # Volume fraction of solid, and whether it is an upper bound ("at most") or
    # prescribed ("equal").
    config.vf = 0.3
    config.vf_is = "at most"
    # Half width of the band around 1 in which the Zener ratio must stay: 0.05 for
    # nearly isotropic cells, 0 leaves it free.
    config.isotropy = 0.0
    # Least Young's modulus along <100>, in units of base.E; 0 for none.
    config.min_E = 0.0
    # Ask also for floors above the Voigt bound.
    config.allow_infeasible = False

    # Elements along the edge of the cell in the design, a multiple of 8; the field of
    # a cell has as many samples.
    config.design_resolution = {"tiny": 64, "small": 64, "paper": 128}[variant]
    # Voxels along the edge of a cell as written: 64, 128 or 256, views of the field.
    config.resolution = 128
    # "cubic", or "orthotropic": mirror planes only.
    config.symmetry = "cubic"
    # "dataset": the shipped cells that are best already, whose surface alone is moved;
    # "random"; "plates": plate lattices of that volume, isotropic mixtures first;
    # or a voxel file: a density in [0, 1] or a binary cell, .npy, .npz, .vti, .nrrd or
    # .mat. Or a list of these: "dataset,random,plates,cell.npy".
    config.start = "dataset,random,plates"
    # Starts of each kind at most: there are 5 plate lattices, and a file may hold less.
    config.num_starts = {"tiny": 2, "small": 16, "paper": 64}[variant]
    # Highest wave number of random starts, waves per cell.
    config.waves = 4
    # Cells to write, the best ones.
    config.num_best = {"tiny": 2, "small": 4, "paper": 4}[variant]
    config.seed = 0
    # Processes that work on starts side by side; 0 for one on every core. The cells do
    # not depend on it.
    config.workers = 0

    # Of a start from a file: "cell" or "octant" (the part [0, 1/2]^3 of it), name of
    # the array, number of the cell or "all", value of solid (255 for masks).
    config.input_is = "cell"
    config.key = ""
    config.index = ""
    config.scale = 1.0

    # Radius of the density filter in elements, the length scale of the design.
    config.radius = 2.0 if variant != "paper" else 3.0
    # Optimize also eroded and dilated designs, thresholds 0.5 +- this; 0 for none.
    # Three times the work; it keeps walls and holes from getting thin.
    config.robust = 0.0
    # Most design steps of a start, shared out over the stages of the continuation; 0
    # for as many as usual: some 100 for random starts, half of it for all others.
    config.steps = 0
    # Most steps of the surface before what is too thin is mended; 0 for none at all.
    config.refine_steps = 20
    # Design steps between two stored states: what a killed run loses at most.
    config.store_every = 5

    # Edge of the printed cell, and what walls and gaps must not be thinner than, in mm;
    # 0 for 3 % of the edge. What is thinner is mended, and cells that keep to it rank
    # before others; "drainable" also opens closed pores.
    config.cell_size_mm = 10.0
    config.min_wall_mm = 0.0
    config.min_gap_mm = 0.0
    config.drainable = False

    # Homogenize the best cell once more, on grids of 128^3 and 256^3 elements.
    config.recheck = variant != "tiny"

    config.base = ConfigDict()
    # Young's modulus and Poisson's ratio of the base material.
    config.base.E = 1.0
    config.base.nu = 0.3

    # Finite elements on the surfaces; the design loop solves more loosely.
    config.solver = ConfigDict()
    config.solver.void = 1e-6
    config.solver.tol = 1e-5
    config.solver.maxiter = 500
    return config
