"""Topology optimization of one octant: the design loop.

Variables -> filter -> projection -> SIMP -> C -> objective and constraints (see `chain`
and `problem`), and an optimizer (`mma`, `oc`) that moves the variables. Projection and
penalization sharpen in stages. Solves start from the fields of the last design and stop
at a loose residual, as the gradient needs no more. The whole loop is one jit-able
function of a state, which may be stored between any two steps.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.cells.symmetry import gather_independent
from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.fem import boundary, homogenize, implicit
from mmdiff.fem.device import each
from mmdiff.topopt import mma, parametrization
from mmdiff.topopt.oc import Optimizer
from mmdiff.topopt.problem import Limits, Problem, constraints
from mmdiff.typing import Array, Bool, Float, Int

COLUMNS = (
    "value", "volume", "C11", "C12", "C44", "violation", "change", "grey",
    "penal", "beta", "cg_iterations",
)  # fmt: skip
SOFTNESS = 0.02  # of the worst of several designs, as a share of their mean value


class Stage(NamedTuple):
    """A part of the continuation.

    Attributes:
      penal: SIMP exponent.
      beta: steepness of the projection.
      steps: most design steps.
    """

    penal: float
    beta: float
    steps: int


# A penalization of 2 first lets shear cells find their topology; docs/stage_study.py.
STAGES = (
    Stage(2.0, 1.0, 30),
    Stage(3.0, 1.0, 15),
    Stage(3.0, 2.0, 15),
    Stage(3.0, 4.0, 15),
    Stage(3.0, 8.0, 15),
    Stage(3.0, 16.0, 15),
)
# For starts that have a topology: a cell of plates, or one at half the resolution.
FINE_STAGES = (Stage(3.0, 4.0, 20), Stage(3.0, 8.0, 15), Stage(3.0, 16.0, 15))


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a design is found; none of it belongs to what is asked.

    Attributes:
      symmetry: "cubic" or "orthotropic".
      radius: filter radius in voxels.
      stages: the continuation.
      etas: thresholds of the projection. (0.5,) is the nominal design; (0.5 + d, 0.5,
        0.5 - d) adds an eroded and a dilated one, and the worst of the three counts.
        The first 0.5 in it is the nominal one, which the constraints are about.
      change: a stage ends early when the variables change by less than this, as a root
        mean square, but not before `patience` steps.
      patience: least steps of a stage.
      move: largest change of a variable per step.
      void: modulus of void in the loop.
      tol: relative residual of the solves in the loop.
      maxiter: most CG iterations of one solve.
      nu: Poisson's ratio of the base material.
    """

    symmetry: str = "cubic"
    radius: float = 2.0
    stages: tuple[Stage, ...] = STAGES
    etas: tuple[float, ...] = (0.5,)
    change: float = 1e-3
    patience: int = 5
    move: float = 0.2
    void: float = 1e-4
    tol: float = 1e-3
    maxiter: int = 100
    nu: float = NU

    @property
    def steps(self) -> int:
        """Most design steps of all stages."""
        return sum(stage.steps for stage in self.stages)


class State(NamedTuple):
    """Everything the loop needs to go on, arrays only.

    Attributes:
      design: variables.
      optimizer: state of the optimizer.
      fields: fluctuations of the last designs, one set per threshold.
      stage: current stage; their number when all is done.
      step: steps done within the stage.
      total: steps done in all.
      history: (steps, columns) one line per step, see `COLUMNS`; NaN where not reached.
    """

    design: Float[Array, "m"]
    optimizer: Any
    fields: Float[Array, "t l 3 k k k"]
    stage: Int[Array, ""]
    step: Int[Array, ""]
    total: Int[Array, ""]
    history: Float[Array, "s c"]


class Loop(NamedTuple):
    """Functions of an optimization, all jit-able and vmap-able.

    Attributes:
      init: `init(start (n, n, n)) -> State`; the start lies in [0, 1].
      run: `run(state, limits, steps) -> State`, at most `steps` further steps.
      done: `done(state) -> bool`.
      density: `density(state) -> (n, n, n)`, filtered and projected as in the last
        stage reached.
    """

    init: Callable[[Array], State]
    run: Callable[[State, Limits, Any], State]
    done: Callable[[State], Bool[Array, ""]]
    density: Callable[[State], Array]


def make_optimize(
    n: int,
    problem: Problem,
    settings: Settings = Settings(),  # noqa: B008  (frozen)
    *,
    optimizer: Optimizer | None = None,
) -> Loop:
    """Return the design loop of n^3 octants.

    Args:
      n: voxels per side of the octant.
      problem: what is asked.
      settings: how to get there.
      optimizer: of the problem's constraints; MMA with the move limit if None.

    Raises:
      ValueError: without a nominal threshold 0.5 in `settings.etas`; for a symmetry
        without octants.
    """
    if settings.symmetry not in ("cubic", "orthotropic"):
        raise ValueError(
            f"symmetry {settings.symmetry!r} has no octant to design; use cubic or "
            "orthotropic."
        )
    if 0.5 not in settings.etas:
        raise ValueError(
            f"etas={settings.etas} lack the nominal threshold 0.5; add it."
        )
    nominal = settings.etas.index(0.5)
    kind = settings.symmetry
    load_cases = boundary.loads(kind)
    solver = homogenize.make_solver(n, kind, nu=settings.nu)
    init_optimizer, update = optimizer or mma.mma(
        num_constraints=problem.num_constraints, move=settings.move
    )
    penals, betas, limits_of_steps = (
        np.array(c) for c in zip(*settings.stages, strict=True)
    )
    etas = np.array(settings.etas)

    def physical(design, beta, eta):
        radius = settings.radius
        return parametrization.physical(
            design, n, kind, radius=radius, beta=beta, eta=eta
        )

    def evaluate(design, penal, beta, fields, limits):
        """Return f and g, all to be minimized or at most 0, and what is known else."""
        objective = problem.objective(limits.params)

        def one(eta, fields):
            density = physical(design, beta, eta)
            stiff = homogenize.modulus(density, settings.void, penal)
            tensor, info = solver(
                stiff, tol=settings.tol, maxiter=settings.maxiter, fields=fields
            )
            grey = (4 * density * (1 - density)).mean()
            return tensor, density.mean(), grey, info.iterations.max(), info.fields

        results = each(one, jnp.asarray(etas, design.dtype), fields)
        tensor, volume, grey, iterations, fields = results
        values = jax.vmap(objective)(tensor)
        tensor, volume = tensor[nominal], volume[nominal]
        g = constraints(problem, limits, tensor, volume)
        facts = {
            "value": values[nominal],
            "volume": volume,
            "constants": voigt_to_cubic(tensor),
            "violation": g.max(),
            "grey": grey[nominal],
            "iterations": iterations.max(),
        }
        value = values[0] if len(etas) == 1 else _worst(values)
        return jnp.append(g, -value), (facts, fields)

    def step(state, limits):
        dtype = state.design.dtype
        penal, beta = (jnp.asarray(a, dtype)[state.stage] for a in (penals, betas))
        outputs, pullback, (facts, fields) = jax.vjp(
            lambda design: evaluate(design, penal, beta, state.fields, limits),
            state.design,
            has_aux=True,
        )
        (rows,) = jax.vmap(pullback)(jnp.eye(len(outputs), dtype=dtype))
        design, optimizer = update(
            rows[-1], state.optimizer, state.design, outputs[:-1], rows[:-1]
        )
        change = jnp.sqrt(((design - state.design) ** 2).mean())
        line = jnp.stack(
            [
                facts["value"],
                facts["volume"],
                *facts["constants"],
                facts["violation"],
                change,
                facts["grey"],
                penal,
                beta,
                facts["iterations"].astype(dtype),
            ]
        )
        count = state.step + 1
        rested = (change < settings.change) & (count >= settings.patience)
        over = rested | (count >= jnp.asarray(limits_of_steps, jnp.int32)[state.stage])
        return State(
            design,
            optimizer,
            fields,
            state.stage + over.astype(jnp.int32),
            jnp.where(over, 0, count),
            state.total + 1,
            state.history.at[state.total].set(line),
        )

    def init(start):
        design = gather_independent(start, kind)
        shape = implicit.field_shape(load_cases, n)
        zero = jnp.zeros((), jnp.int32)
        return State(
            design,
            init_optimizer(design),
            jnp.zeros((len(etas), *shape), design.dtype),
            zero,
            zero,
            zero,
            jnp.full((settings.steps, len(COLUMNS)), jnp.nan, design.dtype),
        )

    def done(state):
        return state.stage >= len(settings.stages)

    def run(state, limits, steps):
        limits = jax.tree.map(lambda a: jnp.asarray(a, state.design.dtype), limits)
        last = state.total + steps
        return lax.while_loop(
            lambda s: (s.total < last) & ~done(s), lambda s: step(s, limits), state
        )

    def density(state):
        stage = jnp.minimum(state.stage, len(settings.stages) - 1)
        beta = jnp.asarray(betas, state.design.dtype)[stage]
        return physical(state.design, beta, 0.5)

    return Loop(init, run, done, density)


def _worst(values):
    """Return a smooth minimum of the values, below the true one."""
    width = SOFTNESS * lax.stop_gradient(abs(values).mean()) + 1e-12
    return -width * jax.nn.logsumexp(-values / width)
