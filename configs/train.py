"""Train the generative model on a dataset of unit cells.

  python -m mmdiff.main --config=configs/train.py:small --workdir=out/train \
      --config.data=out/dataset

Writes `ema.npz` (give it to --config.checkpoint of configs/generate.py), MODEL_CARD.md,
the loss curve, sheets of samples and checkpoints; the same command resumes, with more
`steps` if you like. `tiny` shows in some three minutes on a CPU core that training
works; `cpu` is for a day on one core (0.7 s a step with --config.model.dtype=bfloat16
where that helps); `small` is for a workstation with one GPU; `paper` has the network
and the optimizer of arXiv 2401.13570.

On several machines, with one process per accelerator and a workdir that all share:

  srun python -m mmdiff.main --config=configs/train.py:paper --workdir=out/train \
      --distributed
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "cpu", "small", "paper")
RANGES = {
    "balance": "[0, 1]",
    "power": "(0, inf)",
    "seed": "[0, 4294967295]",
    "batch_size": "[2, inf)",
    "steps": "[1, inf)",
    "learning_rate": "(0, 1)",
    "warmup": "[0, inf)",
    "final_learning_rate": "[0, 1)",
    "weight_decay": "[0, inf)",
    "clip": "(0, inf)",
    "ema": "[0, 1)",
    "drop_rate": "[0, 0.2]",
    "late": "[0, inf)",
    "log_every": "[1, inf)",
    "checkpoint_every": "[1, inf)",
    "sample_every": "[0, inf)",
    "steps_per_dispatch": "[1, inf)",
    "time_limit_s": "[0, inf) s",
    "model.patch": "[1, 64]",
    "model.width": "[1, 8192]",
    "model.multipliers": "[1, 64]",
    "model.blocks": "[0, 64]",
    "model.middle": "[0, 64]",
    "model.attention": "[0, 64]",
    "model.depth": "[1, 256]",
    "model.outer": "[0, 64]",
    "model.outer_width": "[1, 8192]",
    "model.heads": "[1, 1024]",
    "model.embedding": "[1, 65536]",
    "model.refine": "[0, 64]",
}
# Bytes that a number takes at least: so many, times a power of it.
BYTES = {
    "batch_size": (500000, 1),
    "steps_per_dispatch": (250000, 1),
    "model.width": (100, 2),
}
# A run in the same workdir may go on with other values of these. The cosine of the
# learning rate ends at `steps`: with more of them the rate rises again.
MAY_CHANGE = (
    "steps",
    "time_limit_s",
    "log_every",
    "checkpoint_every",
    "sample_every",
    "steps_per_dispatch",
    "tensorboard",
)
# Keys that name files: a run goes on with the same content only.
INPUTS = ("data", "init")


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # Directory of a dataset; empty for the one that is shipped with mmdiff.
    config.data = ""
    # Train on its property-uniform subset only, and go on without damaged shards.
    config.selected = False
    config.skip_bad = False
    # How much more often cells of sparse property bins are drawn: 0 as they come, 1
    # until all bins weigh the same (each cell at most four times in an epoch).
    config.balance = 0.5
    # Conditions are scaled as sign(v) |v|^power, which gives soft cells room.
    config.power = 0.5
    config.seed = 0
    config.batch_size = 16
    config.steps = 200
    config.learning_rate = 1e-3
    # Steps of linear warm-up, then a cosine down to `final_learning_rate` at `steps`.
    config.warmup = 200
    config.final_learning_rate = 1e-5
    config.weight_decay = 1e-4
    config.clip = 1.0
    config.ema = 0.999
    # Probability of each of five ways of freeing conditions, see
    # mmdiff.diffusion.conditions.drop.
    config.drop_rate = 0.06
    # Training times t have a density that grows as t^late: 0 for an even one.
    config.late = 0.0
    # "exponential" (the paper's) or "cosine".
    config.schedule = "exponential"
    config.log_every = 50
    config.checkpoint_every = 500
    # Steps between two sheets of samples for held-out conditions, 0 for none.
    config.sample_every = 0 if variant == "tiny" else 500
    # Write the curves for TensorBoard, too: pip install 'mmdiff[tb]'.
    config.tensorboard = False
    # Steps that the devices make without the host in between.
    config.steps_per_dispatch = 1
    # Seconds after which to save and finish, 0 for no limit.
    config.time_limit_s = 0.0
    # Store the weights as float16, half the size.
    config.half = True
    # Weights to start from, of a network with the same fields; empty for none.
    config.init = ""
    # The network corrects the best linear estimate instead of giving its own.
    config.linear = True
    # Of the loss at a time: "none", or "std", the inverse square of the error that the
    # linear estimate leaves, so that all times count alike.
    config.loss_weight = "none"

    config.model = ConfigDict()
    # "unet", or "transformer" on the blocks of an octant that are no images of others,
    # which learns faster on a CPU.
    config.model.kind = "unet"
    config.model.patch = 4
    config.model.width = 64
    config.model.multipliers = (1, 2)
    config.model.blocks = 1
    config.model.middle = 2
    config.model.attention = (1,)
    config.model.heads = 4
    config.model.embedding = 128
    config.model.refine = 0
    # Of a transformer: blocks, instead of multipliers to refine.
    config.model.depth = 6
    # Blocks on either side of these, whose tokens go eight in one to those in between.
    config.model.outer = 0
    config.model.outer_width = 128
    # "bfloat16" doubles the pace of a transformer on processors with units for it, with
    # jax 0.12 or later; sums stay float32.
    config.model.dtype = "float32"
    config.model.remat = False

    if variant == "cpu":
        config.batch_size = 32
        config.steps = 40_000
        config.learning_rate = 7e-4
        config.late = 1.0
        config.loss_weight = "std"
        config.checkpoint_every = 1000
        config.sample_every = 2000
        config.model.kind = "transformer"
        config.model.width = 256
        config.model.depth = 8
        config.model.outer = 2
        config.model.embedding = 256
    elif variant == "small":
        config.batch_size = 128
        config.steps = 40_000
        config.learning_rate = 5e-4
        config.warmup = 1000
        config.checkpoint_every = 2000
        config.sample_every = 2000
        config.steps_per_dispatch = 10
        config.model.multipliers = (1, 2, 4)
        config.model.blocks = 2
        config.model.attention = (2,)
        config.model.embedding = 256
    elif variant == "paper":
        config.balance = 0.0
        config.power = 1.0
        config.drop_rate = 0.1
        config.batch_size = 32
        config.steps = 200_000
        config.learning_rate = 2e-4
        config.final_learning_rate = 2e-4
        config.warmup = 0
        config.checkpoint_every = 5000
        config.sample_every = 5000
        config.steps_per_dispatch = 10
        config.linear = False
        config.model.patch = 1
        config.model.attention = ()
        config.model.width = 32
        config.model.multipliers = (1, 2, 4, 8, 8)
        config.model.embedding = 256
        config.model.remat = True
    return config
