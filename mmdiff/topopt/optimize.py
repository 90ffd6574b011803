"""Topology optimization of one octant: the design loop.

Variables -> filter -> projection -> SIMP -> C -> objective and constraints (see
`parametrization` and `problem`), and an optimizer (`mma`, `oc`) that moves the
variables. Projection and penalization sharpen in stages. Solves start from the fields
of the last design and stop at a loose residual, as the gradient needs no more. The
whole loop is one jit-able function of a state, which may be stored between any two
steps.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mmdiff.cells.symmetry import gather_independent
from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.errors import InputError
from mmdiff.fem import boundary, homogenize
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
    """A part of the continuation: SIMP exponent, steepness of the projection, steps."""

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
    """How a design is found; none of it belongs to the problem.

    Attributes:
      radius: of the filter, in voxels.
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

    def column(self, name: str, dtype: Any) -> Array:
        """Return one value of every stage."""
        return jnp.asarray([getattr(stage, name) for stage in self.stages], dtype)


class State(NamedTuple):
    """Everything the loop needs to go on, arrays only.

    Attributes:
      design: variables.
      optimizer: its state.
      fields: fluctuations of the last designs, one set per threshold.
      stage: current stage; their number when all is done.
      step: steps done within the stage; `total` counts them all.
      history: one line per step, see `COLUMNS`; NaN where not reached.
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
    """Return the design loop of n^3 octants, by default with MMA."""
    if settings.symmetry not in ("cubic", "orthotropic"):
        raise InputError(
            f"symmetry {settings.symmetry!r} has no octant to design; use cubic or "
            "orthotropic."
        )
    if 0.5 not in settings.etas:
        raise InputError(
            f"etas={settings.etas} lack the nominal threshold 0.5; add it."
        )
    optimizer = optimizer or mma.mma(
        num_constraints=problem.num_constraints, move=settings.move
    )
    designs = _Designs(n, problem, settings)
    step = _make_step(designs, optimizer)

    def init(start):
        design = gather_independent(start, settings.symmetry)
        shape = boundary.loads(settings.symmetry).field_shape(n)
        fields = jnp.zeros((len(settings.etas), *shape), design.dtype)
        history = jnp.full((settings.steps, len(COLUMNS)), jnp.nan, design.dtype)
        counts = 3 * [jnp.zeros((), jnp.int32)]
        return State(design, optimizer.init(design), fields, *counts, history)

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
        beta = settings.column("beta", state.design.dtype)[stage]
        return designs.physical(state.design, beta, 0.5)

    return Loop(init, run, done, density)


class _Designs:
    """The functions of a design: density, tensors, objective and constraints."""

    def __init__(self, n: int, problem: Problem, settings: Settings):
        self.n, self.problem, self.settings = n, problem, settings
        self.solver = homogenize.make_solver(n, settings.symmetry, nu=settings.nu)

    def physical(self, design, beta, eta):
        """Return the density (n, n, n) of the variables."""
        kind, radius = self.settings.symmetry, self.settings.radius
        return parametrization.physical(
            design, self.n, kind, radius=radius, beta=beta, eta=eta
        )

    def evaluate(self, design, penal, beta, fields, limits):
        """Return g and f, at most 0 and to be minimized, and the figures beside them.

        These are value, volume, constants, violation, grey, CG iterations and fields.
        """
        settings = self.settings
        objective = self.problem.objective(limits.params)
        nominal = settings.etas.index(0.5)

        def one(eta, fields):
            density = self.physical(design, beta, eta)
            stiff = homogenize.modulus(density, settings.void, penal)
            tensor, info = self.solver(
                stiff, tol=settings.tol, maxiter=settings.maxiter, fields=fields
            )
            grey = (4 * density * (1 - density)).mean()
            return tensor, density.mean(), grey, info.iterations.max(), info.fields

        results = each(one, jnp.asarray(settings.etas, design.dtype), fields)
        tensor, volume, grey, iterations, fields = results
        values = jax.vmap(objective)(tensor)
        tensor, volume = tensor[nominal], volume[nominal]
        g = constraints(self.problem, limits, tensor, volume)
        reached = (values[nominal], volume, voigt_to_cubic(tensor), g.max())
        known = (*reached, grey[nominal], iterations.max(), fields)
        value = values[0] if len(settings.etas) == 1 else _worst(values)
        return jnp.append(g, -value), known


def _make_step(designs: _Designs, optimizer: Optimizer) -> Callable:
    """Return `step(state, limits) -> State`."""
    settings = designs.settings

    def step(state, limits):
        dtype = state.design.dtype
        penal, beta = (
            settings.column(name, dtype)[state.stage] for name in ("penal", "beta")
        )
        outputs, pullback, known = jax.vjp(
            lambda design: designs.evaluate(design, penal, beta, state.fields, limits),
            state.design,
            has_aux=True,
        )
        (rows,) = jax.vmap(pullback)(jnp.eye(len(outputs), dtype=dtype))
        design, optimizer_state = optimizer.update(
            rows[-1], state.optimizer, state.design, outputs[:-1], rows[:-1]
        )
        change = jnp.sqrt(((design - state.design) ** 2).mean())
        value, volume, constants, violation, grey, cg, fields = known
        line = [value, volume, *constants, violation, change, grey, penal, beta]
        line = jnp.stack([*line, cg.astype(dtype)])
        count = state.step + 1
        rested = (change < settings.change) & (count >= settings.patience)
        over = rested | (count >= settings.column("steps", jnp.int32)[state.stage])
        return State(
            design,
            optimizer_state,
            fields,
            state.stage + over.astype(jnp.int32),
            jnp.where(over, 0, count),
            state.total + 1,
            state.history.at[state.total].set(line),
        )

    return step


def _worst(values):
    """Return a smooth minimum of the values, below the true one."""
    width = SOFTNESS * lax.stop_gradient(abs(values).mean()) + 1e-12
    return -width * jax.nn.logsumexp(-values / width)
