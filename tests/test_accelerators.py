"""Programs lowered for accelerators without one: what they would run there.

Their branch of `fem.device` is taken, which batches solves and leaves fusion to XLA.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export

from mmdiff.cells import symmetry
from mmdiff.design.generate.fem_guidance import NAMES as GOALS
from mmdiff.design.generate.fem_guidance import FemGuidance
from mmdiff.diffusion import conditions, linear, samplers
from mmdiff.diffusion.schedule import ExponentialSchedule
from mmdiff.fem import boundary, device, homogenize
from mmdiff.models.denoiser import make_denoiser
from mmdiff.models.network import make_network
from mmdiff.models.weights import init_params
from mmdiff.train.state import create_state
from mmdiff.train.step import AXIS, Diffusion, make_step

PLATFORMS = ("cuda", "rocm", "tpu")
N = 8
DENSITY = np.ones((N, N, N), np.float32)
NOISE = ExponentialSchedule()


@pytest.fixture(autouse=True)
def accelerator(monkeypatch):
    monkeypatch.setattr(device, "on_cpu", lambda: False)


def _lowered(function, *args) -> str:
    """Return the StableHLO of a program for all of the platforms."""
    program = export.export(jax.jit(function), platforms=PLATFORMS)(*args)
    assert program.platforms == PLATFORMS
    return program.mlir_module()


def _network():
    fields = {"kind": "transformer", "patch": 2, "width": 16, "depth": 1, "heads": 2}
    model = make_network(**fields, embedding=16, linear=True, dtype="bfloat16")
    packed = np.zeros((2, symmetry.num_independent(N)), np.int8)
    denoise = make_denoiser(model, NOISE, linear.fit_prior(packed))
    return denoise, init_params(model, jax.random.key(0), N), packed


def test_a_solve_and_its_gradient():
    homogenizer = homogenize.make_homogenizer(N)

    def stiffness(density):
        return homogenizer(density)[0].trace()

    assert "while" in _lowered(jax.value_and_grad(stiffness), DENSITY)


def test_solves_are_one_batch():
    solve = homogenize.make_solver(N)
    shape = boundary.loads("cubic").field_shape(N)

    def tensors(stiff, fields):
        return device.each(lambda e, f: solve(e, fields=f)[0], stiff, fields)

    text = _lowered(tensors, np.stack(3 * [DENSITY]), np.zeros((3, *shape), "f"))
    # Three cells by two loads go through the operator at once.
    assert f"tensor<3x2x3x{(N + 1) ** 3}xf32>" in text


def test_the_sampler_with_its_guidance():
    apply, params, _ = _network()
    guide = FemGuidance(N, newton=1)

    def sample(params, cond, goal):
        sampler = functools.partial(
            samplers.dpm_solver, correct=lambda x0, t: guide(x0, t, goal)
        )
        return samplers.sample(
            jax.random.key(0),
            functools.partial(apply, params),
            cond,
            N,
            schedule=NOISE,
            times=samplers.time_grid(2),
            sampler=sampler,
        )

    cond = np.zeros((2, len(conditions.NAMES)), np.float32)
    goal = np.full((2, len(GOALS)), np.nan, np.float32)
    assert "bf16" in _lowered(sample, params, cond, goal)


def test_a_step_of_training():
    apply, params, packed = _network()
    scaling = conditions.Conditions(conditions.NAMES, (0.0,) * 5, (1.0,) * 5)
    diffusion = Diffusion(apply, scaling, NOISE, late=1.0)
    optimizer = optax.sgd(1e-3)
    step = make_step(diffusion, optimizer)
    batch = {
        "packed": packed[None],
        "cond": np.zeros((1, 2, 5), np.float32),
        "index": np.arange(2, dtype=np.int32)[None],
    }
    mapped = jax.vmap(step, in_axes=(None, None, 0), axis_name=AXIS)
    state = create_state(params, optimizer)
    text = _lowered(lambda s, b: mapped(s, jax.random.key(0), b), state, batch)
    assert "bf16" in text and jnp.isfinite(params["place"]).all()
