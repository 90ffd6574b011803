"""Time the homogenizer and the sampler on this machine.

    python -m mmdiff.main --config=configs/bench.py --workdir=out/bench

tiny: cells of 32^3 and 64^3 voxels, a minute on two CPU cores. small and paper add
128^3. Machines are noisy: compare numbers of one run only.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # Edges of the cells; the octants that are solved have half of it.
    config.sizes = (32, 64) if variant == "tiny" else (32, 64, 128)
    config.void = 1e-6
    config.tol = 1e-5
    config.repeats = 5 if variant == "tiny" else 11
    # Samples per call and evaluations per sample of the sampler; 0 samples skip it.
    config.num_samples = 8
    config.steps = 16
    return config
