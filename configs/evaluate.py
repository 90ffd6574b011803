"""How far generated cells are from their targets, by finite elements.

    python -m mmdiff.main --config=configs/evaluate.py --workdir=out/evaluate

tiny: eight targets x 8 samples, one minute on two CPU cores. The targets are rounded
tensors of held-out cells of the shipped dataset: no training cell has them.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # Dataset whose held-out cells give the targets; empty for the shipped one.
    config.data = ""
    # Go on without its damaged shards.
    config.skip_bad = False
    config.num_targets = {"tiny": 8, "small": 200, "paper": 1660}[variant]
    config.num_samples = 8 if variant == "tiny" else 4
    config.seed = 0
    config.checkpoint = ""
    config.steps = 16
    config.guidance = 1.0
    # 0 measures the samples of the model as they are.
    config.polish_steps = 0
    return config
