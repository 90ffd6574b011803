"""Train the property regressor, whose gradient can guide the sampler.

  python -m mmdiff.main --config=configs/regressor.py --workdir=out/regressor

From an octant to C11, C12, C44 and K / K_HS. Writes `regressor.npz`, MODEL_CARD.md with
R^2 on families of cells that were not trained on, `r2.png` and checkpoints; the same
command resumes. `tiny` shows on a CPU core that training works; `cpu` takes an hour on
one core and gave the shipped weights; `small` is for a workstation with one GPU,
`paper` for large datasets.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "cpu", "small", "paper")
RANGES = {
    "seed": "[0, 4294967295]",
    "batch_size": "[2, inf)",
    "steps": "[1, inf)",
    "learning_rate": "(0, 1)",
    "warmup": "[0, inf)",
    "final_learning_rate": "[0, 1)",
    "weight_decay": "[0, inf)",
    "clip": "(0, inf)",
    "ema": "[0, 1)",
    "log_every": "[1, inf)",
    "checkpoint_every": "[1, inf)",
    "time_limit_s": "[0, inf) s",
    "model.patch": "[1, 64]",
    "model.width": "[1, 8192]",
    "model.multipliers": "[1, 64]",
    "model.blocks": "[0, 64]",
    "model.groups": "[1, 1024]",
    "model.embedding": "[1, 65536]",
}
# Bytes that a number takes at least: so many, times a power of it.
BYTES = {"batch_size": (250000, 1), "model.width": (100, 2)}
# A run in the same workdir may go on with other values of these. The cosine of the
# learning rate ends at `steps`: with more of them the rate rises again.
MAY_CHANGE = (
    "steps",
    "time_limit_s",
    "log_every",
    "checkpoint_every",
)
# Keys that name files: a run goes on with the same content only.
INPUTS = ("data",)


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # Directory of a dataset; empty for the one that is shipped with mmdiff.
    config.data = ""
    # Go on without its damaged shards.
    config.skip_bad = False
    config.seed = 0
    config.batch_size = 16
    config.steps = 300
    config.learning_rate = 2e-3
    # Steps of linear warm-up, then a cosine down to `final_learning_rate` at `steps`.
    config.warmup = 100
    config.final_learning_rate = 1e-5
    config.weight_decay = 1e-2
    config.clip = 1.0
    config.ema = 0.998
    config.log_every = 50
    config.checkpoint_every = 500
    # Seconds after which to save and finish, 0 for no limit.
    config.time_limit_s = 0.0
    # Store the weights as float16, half the size.
    config.half = True

    config.model = ConfigDict()
    config.model.patch = 2
    config.model.width = 16
    config.model.multipliers = (1, 3, 6)
    config.model.blocks = (0, 1, 1)
    config.model.groups = 8
    config.model.embedding = 32
    config.model.dtype = "float32"

    if variant == "cpu":
        config.steps = 7_500
    elif variant == "small":
        config.batch_size = 64
        config.steps = 20_000
        config.warmup = 500
        config.ema = 0.999
        config.checkpoint_every = 2000
        config.model.width = 32
        config.model.blocks = (1, 2, 2)
    elif variant == "paper":
        config.batch_size = 64
        config.steps = 100_000
        config.learning_rate = 5e-4
        config.warmup = 1000
        config.ema = 0.999
        config.checkpoint_every = 5000
        config.model.width = 32
        config.model.multipliers = (1, 2, 4, 8)
        config.model.blocks = (1, 2, 2, 2)
        config.model.embedding = 128
    return config
