"""A tiny dataset and network shared by the training tests."""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells import symmetry
from mmdiff.diffusion.conditions import NAMES, fit_conditions
from mmdiff.diffusion.schedule import ExponentialSchedule
from mmdiff.train import denoising
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.denoising import Examples
from mmdiff.train.loop import Hooks, Result, Settings
from mmdiff.train.state import make_optimizer
from mmdiff.train.step import Diffusion

SCHEDULE = ExponentialSchedule()
N = 4


def examples(count: int = 24, seed: int = 0) -> Examples:
    """Random packed fields with random conditions."""
    rng = np.random.default_rng(seed)
    size = count, symmetry.num_independent(N)
    packed = rng.integers(-127, 128, size).astype(np.int8)
    return Examples(packed, rng.random((count, len(NAMES))).astype(np.float32))


DATA = examples()
CONDITIONS = fit_conditions(NAMES, DATA.cond)
OPTIMIZER = make_optimizer(
    {
        "learning_rate": 1e-2,
        "final_learning_rate": 5e-4,
        "warmup": 2,
        "steps": 40,
        "clip": 1.0,
        "weight_decay": 1e-4,
    }
)


def params(seed: int = 0) -> dict:
    """Parameters of `apply`: a two-layer voxel-wise network."""
    rng = np.random.default_rng(seed)
    shapes = {"in": (8, 8), "out": (8, 1)}
    return {
        name: jnp.asarray(rng.normal(0, 0.5, shape), jnp.float32)
        for name, shape in shapes.items()
    }


def apply(params, x, t, x0_prev, cond):
    """A denoiser that compiles in no time and uses all of its inputs."""
    b, n = x.shape[0], x.shape[1]
    wide = jnp.concatenate([t[:, None], cond], -1)[:, None, None, None]
    wide = jnp.broadcast_to(wide, (b, n, n, n, 6))
    h = jnp.concatenate([x[..., None], x0_prev[..., None], wide], -1)
    return jnp.tanh(h @ params["in"]).astype(x.dtype) @ params["out"][:, 0]


DIFFUSION = Diffusion(apply, CONDITIONS, SCHEDULE)
SILENT = Hooks()


def settings(**changes) -> Settings:
    """Settings of a run of six steps, but for some changes."""
    usual = {"steps": 6, "batch_size": 8, "seed": 3, "log_every": 2}
    return Settings(**{**usual, "checkpoint_every": 100, **changes})


def train(
    path, *, apply=apply, validation=None, keep=10, hooks=SILENT, **changes
) -> Result:
    """Train on `DATA`, checkpoints below a path; `changes` are of the settings."""
    diffusion = dataclasses.replace(DIFFUSION, apply=apply)
    chosen = settings(**changes)
    validate = denoising.make_validation(diffusion, validation, chosen)
    return denoising.train(
        diffusion,
        params(),
        OPTIMIZER,
        DATA,
        settings=chosen,
        checkpoints=Checkpoints(path, keep=keep),
        hooks=dataclasses.replace(hooks, validate=validate),
    )


def kill_at(step: int, number: int) -> Hooks:
    """Send this process a signal when the metrics of a step are reported."""

    def kill(metrics):
        if metrics["step"] == step:
            os.kill(os.getpid(), number)

    return Hooks(on_metrics=kill)


def largest_difference(a, b) -> float:
    """Largest absolute difference of two trees."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.abs(np.asarray(x) - np.asarray(y)).max()) for x, y in pairs)
