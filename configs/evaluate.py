"""How far generated cells are from their targets, by finite elements.

    python -m mmdiff.main --config=configs/evaluate.py --workdir=out/evaluate

The first targets of the list that is shipped with the dataset: every filled bin of
property space is as likely as any other, and a quarter lies in empty bins beside filled
ones. tiny: four targets, a few minutes on two CPU cores; small: 200; paper: all
1,660. Every target counts alone, so the same command goes on where it was stopped.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")
RANGES = {
    "seed": "[0, 4294967295]",
    "num_targets": "[1, inf)",
    "num_samples": "[1, inf)",
    "steps": "[2, 1000]",
    "guidance": "[0, inf)",
    "newton": "[0, 100]",
    "polish_steps": "[0, inf)",
    "spare": "[0, inf)",
    "workers": "[0, inf)",
    "min_wall": "[0, 0.5)",
    "min_gap": "[0, 0.5)",
}
# Bytes that a number takes at least: so many, times a power of it.
BYTES = {"num_samples": (400000, 1)}
# Keys that name files: a run goes on with the same content.
INPUTS = ("checkpoint", "data", "targets")
# Targets of a list are compared one by one, so it may be edited.
MAY_CHANGE = ("inputs.targets",)


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # CSV as for configs/generate.py, with base E = 1: C11, C12, C44, K, G, E, nu, zener
    # and V, those that are not free, and maybe `known`: 1 where a cell near the target
    # is known, 0 where none is. Empty for the shipped list.
    config.targets = ""
    # Instead of a list, the tensors and volumes of the dataset's test cells, whose
    # families no model was trained on: of each of them a cell is known to exist.
    config.held_out = False
    # Dataset that novelty and coverage are measured against; empty for the shipped one.
    config.data = ""
    # Go on without its damaged shards.
    config.skip_bad = False
    config.num_targets = {"tiny": 4, "small": 200, "paper": 1660}[variant]
    config.num_samples = 4
    config.seed = 0
    config.checkpoint = ""
    # Processes that work on targets side by side; 0 for one on every core. The numbers
    # do not depend on it.
    config.workers = 0
    # As for configs/generate.py.
    config.steps = 16
    config.guidance = 1.0
    config.newton = 3
    config.guide = "homogenizer"
    # 0 measures the samples of the model as they are.
    config.polish_steps = 40
    config.spare = 2
    # Least walls and gaps as shares of the cell's edge, and void in one piece: what
    # delivered cells comply with, and what raw ones are judged by.
    config.min_wall = 0.03
    config.min_gap = 0.03
    config.drainable = True
    return config
