"""Printable unit cells with a given elastic tensor: the default experiment.

    python -m mmdiff.main --workdir=out
    python -m mmdiff.main --config=configs/generate.py --workdir=out/soft \
        --config.target=0.05,0.02,0.02 --config.vf=0.2

The tensor is that of the surface in the STL file, with an uncertainty. small and paper
draw more samples, from which the best are kept.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")
RANGES = {
    "seed": "[0, 4294967295]",
    "num_samples": "[1, inf)",
    "num_best": "[1, inf)",
    "cell_size_mm": "(0, 1e6] mm",
    "steps": "[2, 1000]",
    "guidance": "[0, inf)",
    "newton": "[0, 100]",
    "polish_steps": "[0, inf)",
    "spare": "[0, inf)",
    "min_wall_mm": "[0, inf) mm",
    "min_gap_mm": "[0, inf) mm",
    "resolution": "[64, 256]",
    "time_limit_s": "[0, inf) s",
    "workers": "[0, inf)",
    "base.E": "(0, 1e15]",
    "base.nu": "[0.2, 0.45]",
    "solver.void": "(0, 1)",
    "solver.tol": "(0, 1)",
    "solver.maxiter": "[1, inf)",
}
# Bytes that a number takes at least: so many, times a power of it.
BYTES = {"num_samples": (400000, 1)}
# Keys that name files: a run goes on with the same content.
INPUTS = ("checkpoint", "target", "targets")
# Targets of a list are compared one by one, so it may grow.
MAY_CHANGE = ("inputs.targets",)


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # "C11,C12,C44", some of C11, C12, C44, K, G, E, nu and zener by name ("E=0.1",
    # "nu=-0.2,E=0.03"), or the 36 numbers of a 6x6 tensor (or a .txt file of them); in
    # units of base.E. What is not asked is free.
    config.target = "0.110,0.045,0.040"
    # CSV file of many targets in place of that one: columns of these names, V for the
    # volume and `name`; an empty field is free. A folder for each target; the same
    # command goes on where it was stopped.
    config.targets = ""
    # Leave out lines of the list that cannot be used, instead of refusing it.
    config.skip_bad = False
    # Take the closest cubic tensor of one that is not cubic.
    config.project_cubic = False
    # Volume fraction of solid; 0 leaves it free. Of a list, the column V counts alone.
    config.vf = 0.30
    config.num_samples = {"tiny": 8, "small": 32, "paper": 128}[variant]
    config.num_best = 4
    config.seed = 0
    # Edge of the printed cell in millimetres.
    config.cell_size_mm = 10.0
    # Weights to use; empty for the shipped model.
    config.checkpoint = ""
    # Evaluations of the network per sample, and classifier-free guidance (1 for none).
    config.steps = 16
    config.guidance = 1.0
    # Newton steps on the estimated end of each sampling step; 0 leaves it to the
    # network. What they ask for its constants: "homogenizer", finite elements half as
    # fine as the samples; "fine", as fine as these, three times the work for samples
    # that are nearer; or "regressor", the shipped network.
    config.newton = 2 if variant == "tiny" else 3
    config.guide = "homogenizer"
    # Most steps that move the surface of a cell until it meets the target; 0 gives the
    # best cells as sampled, whatever a printer says of them.
    config.polish_steps = 40
    # Most cells that are polished in place of those that stay far (0.1 %) all the same,
    # in tensor or volume, where others meet the target: of the other samples first,
    # then of a further batch.
    config.spare = 2
    # Least thickness of walls and least width of gaps and drain holes in millimetres of
    # the printed cell; 0 for 3 % of its edge, the least that a field can hold.
    config.min_wall_mm = 0.0
    config.min_gap_mm = 0.0
    # One piece of void, so that powder or resin runs out. False allows closed pores.
    config.drainable = True
    # Voxels along the edge in the .npy and .vti files: 64, 128 or 256 views of the same
    # surface. Its tensor does not depend on them.
    config.resolution = 128
    # Seconds for each target, compilation included: batch after batch is drawn and
    # polished until they are used or num_best cells meet the target. Looked at before
    # each batch and, once there is a cell, before each to polish, so that the last of
    # these may run over. 0 for one round without a limit.
    config.time_limit_s = 0.0
    # Processes for samples and cells, or the targets of a list; 0 for one on each core.
    # Cells do not depend on it.
    config.workers = 0
    # Ask also for what exceeds the Hashin-Shtrikman and Voigt bounds.
    config.allow_infeasible = False

    config.base = ConfigDict()
    # Young's modulus of the base material: targets and results are in its units.
    config.base.E = 1.0
    # Its Poisson's ratio. The network was trained with 0.3; guidance and the moves of
    # the surface count with the one given.
    config.base.nu = 0.3

    config.solver = ConfigDict()
    config.solver.void = 1e-6
    config.solver.tol = 1e-4
    config.solver.maxiter = 500
    return config
