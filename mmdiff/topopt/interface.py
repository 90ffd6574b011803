"""Binary refinement: move the solid's surface until the tensor meets a target.

On binary cells density gradients say little, but the surface can be moved: a point of
it that advances by a distance d adds d times the strain-energy density of the solid
there to each constant. The minimum-norm motion that cancels the residuals of all
constants solves a 3x3 system (4x4 with the volume). Each step is verified by finite
elements and accepted only if the error falls and the cell stays connected.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from mmdiff.cells.connectivity import clean_octant, is_load_bearing
from mmdiff.cells.symmetry import gather_independent, multiplicity, spread, symmetrize
from mmdiff.elasticity import (
    NU,
    PAPER_RANGES,
    cubic_to_voigt,
    orthotropic_to_voigt,
    voigt_to_cubic,
    voigt_to_orthotropic,
)
from mmdiff.fem import boundary, homogenize
from mmdiff.typing import AnyArray, Array, Bool, Float, Shaped

SMOOTHING = 1.0  # voxels over which energy densities of the surface are averaged
HALVINGS = 6  # step lengths tried before giving up
PATIENCE = 4  # steps after which too little gain ends a refinement, see `polish`
VOLUME_SLACK = 0.01  # difference from the target volume that is accepted


class Evaluation(NamedTuple):
    """Constants of a binary octant and what each voxel's modulus does to them.

    Attributes:
      constants: (3,) C11 C12 C44 of a cubic octant; (9,) C11 C22 C33 C23 C13 C12 C44
        C55 C66 of an orthotropic one.
      sensitivity: (3, n, n, n) or (9, n, n, n) derivatives by each voxel's modulus.
      residual: relative residual of the worst load.
      converged: whether all loads met the tolerance.
      fields: fluctuation fields, where the solve of a similar octant may start.
    """

    constants: np.ndarray
    sensitivity: np.ndarray
    residual: float
    converged: bool
    fields: Array


@dataclasses.dataclass(frozen=True)
class Polished:
    """A refined octant; error and volume after each accepted step, the start first."""

    octant: np.ndarray
    evaluation: Evaluation
    history: tuple[float, ...]
    volumes: tuple[float, ...]


@functools.lru_cache(maxsize=8)
def make_evaluate(
    n: int,
    *,
    void: float = homogenize.VOID,
    symmetry: str = "cubic",
    nu: float = NU,
    tol: float = homogenize.TOL,
    maxiter: int = homogenize.MAXITER,
) -> Callable[..., Evaluation]:
    """Return `(octant, fields=None) -> Evaluation`, compiled once per grid size."""
    solver = homogenize.make_solver(n, symmetry, nu=nu)
    from_tensor = voigt_to_cubic if symmetry == "cubic" else voigt_to_orthotropic
    shape = boundary.loads(symmetry).field_shape(n)

    def constants(stiff, fields):
        tensor, info = solver(stiff, tol=tol, maxiter=maxiter, fields=fields)
        c = from_tensor(tensor)
        return c, (c, info.residual.max(), info.converged.all(), info.fields)

    @jax.jit
    def run(density, fields):
        stiff = homogenize.modulus(density, void)
        return jax.jacrev(constants, has_aux=True)(stiff, fields)

    def evaluate(octant, fields=None):
        if fields is None:
            fields = jnp.zeros(shape, jnp.float32)
        density = jnp.asarray(octant, jnp.float32)
        sensitivity, (c, residual, ok, fields) = run(density, fields)
        return Evaluation(
            np.asarray(c, np.float64),
            np.asarray(sensitivity),
            float(residual),
            bool(ok),
            fields,
        )

    return evaluate


def to_tensor(constants: Float[AnyArray, "k"]) -> Float[AnyArray, "6 6"]:
    """Return the tensor of the 3 or 9 constants of an `Evaluation`."""
    make = cubic_to_voigt if constants.shape[-1] == 3 else orthotropic_to_voigt
    return make(constants)


def thresholds(
    octant: Shaped[np.ndarray, "n n n"], symmetry: str = "cubic"
) -> Float[np.ndarray, "m"]:
    """Return how far the surface must move at each voxel before that voxel flips.

    Positive in the solid, negative in the void, and of magnitude in (0, 1) on the
    surface, uniformly spread by rank: moving the surface by d flips a share d of its
    voxels. Solid that sticks out and void that is hemmed in flip first, so surfaces get
    smoother and not rougher. Walls of one or two voxels come after all others, and
    voxels away from the surface never flip.
    """
    solid = octant > 0
    inner, outer = _eroded(solid), _eroded(~solid)
    support = ndimage.gaussian_filter(solid.astype(np.float64), 1.5, mode="reflect")
    field = np.where(solid, 2.0, -2.0)
    for phase, core, order, sign in (
        (solid, inner, support, 1.0),
        (~solid, outer, -support, -1.0),
    ):
        surface = phase & ~core
        thick = surface & _grown(core)
        for group, low, high in ((thick, 0.0, 1.0), (surface & ~thick, 1.0, 1.5)):
            rank = np.argsort(np.argsort(order[group], kind="stable"))
            field[group] = sign * (
                low + (high - low) * (rank + 0.5) / max(len(rank), 1)
            )
    return gather_independent(symmetrize(field, symmetry), symmetry)


def _eroded(phase):
    padded = np.pad(phase, 1, mode="symmetric")
    return ndimage.binary_erosion(padded)[1:-1, 1:-1, 1:-1]


def _grown(phase):
    padded = np.pad(phase, 1, mode="symmetric")
    box = np.ones((3, 3, 3), bool)
    return ndimage.binary_dilation(padded, box)[1:-1, 1:-1, 1:-1]


def surface_density(
    octant: Shaped[np.ndarray, "n n n"], sensitivity: Float[np.ndarray, "k n n n"]
) -> Float[np.ndarray, "k n n n"]:
    """Return the sensitivities of the solid, carried on to the void nearby.

    The strain of a void voxel says nothing about what it would carry as solid, so the
    values of the solid neighbours are averaged instead.
    """
    solid = octant.astype(np.float64)
    weight = ndimage.gaussian_filter(solid, SMOOTHING, mode="reflect")
    return np.stack(
        [
            ndimage.gaussian_filter(s * solid, SMOOTHING, mode="reflect")
            / np.maximum(weight, 1e-3)
            for s in sensitivity
        ]
    )


def advance(
    field: Float[np.ndarray, "m"],
    density: Float[np.ndarray, "k m"],
    target: Float[np.ndarray, "k"],
    n: int,
    symmetry: str = "cubic",
) -> Bool[np.ndarray, "m"]:
    """Return which independent voxels are solid after the minimum-norm motion.

    The field is that of the `thresholds`, the density the change of each quantity by
    one voxel that becomes solid, and the target the changes to reach.
    """
    count = multiplicity(n, symmetry)
    surface = abs(field) < 1
    if not surface.any():  # nothing but thin walls, or no surface at all
        surface = abs(field) < 2
    if not surface.any():
        return field > 0
    # Half of the surface voxels are solid and half void, and each moves one way only.
    gram = 0.5 * (density * count * surface) @ density.T
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    # Nearly parallel sensitivities (isotropic thin walls) must not blow the step up.
    gram = gram / np.outer(scale, scale) + 1e-4 * np.eye(len(gram))
    weights = np.zeros(len(target))
    predicted = np.zeros(len(target))
    best, smallest = field > 0, np.linalg.norm(target)
    # Flips are discrete: chord iterations on the model, which costs no finite elements.
    for i in range(60):
        residual = (target - predicted) / scale
        weights = weights + 0.7 * 0.97**i * np.linalg.solve(gram, residual) / scale
        solid = field + weights @ density > 0
        predicted = density @ (count * (solid.astype(float) - (field > 0)))
        distance = np.linalg.norm(target - predicted)
        if distance < smallest:
            best, smallest = solid, distance
    return best


def polish(
    octant: Shaped[np.ndarray, "n n n"],
    residual: Callable[[Array], Array],
    evaluate: Callable[..., Evaluation],
    *,
    volume: float | None = None,
    steps: int = 12,
    goal: float = 2e-4,
    price: float = 0.0,
    creep: float = 1.0,
) -> Polished:
    """Move the surface of a binary octant until its constants meet their targets.

    Without a price the volume is free within VOLUME_SLACK of its target, and beyond
    that every step also aims back; with one every step aims at it while this helps.

    Args:
      octant: (n, n, n) connected binary cubic octant.
      residual: targets minus values, `residual(constants) -> (k,)` of C11, C12, C44
        with base E = 1, k <= 3, traceable, scaled so that the mean of the absolute
        values is the error; see `target_residual`.
      evaluate: see `make_evaluate`.
      volume: target volume fraction, None to leave it free.
      steps: most accepted steps.
      goal: error at which to stop.
      price: what a unit of volume beyond VOLUME_SLACK adds to the error by which steps
        are accepted; 0 lets the volume go where the tensor needs it.
      creep: ends when the last PATIENCE steps left more than this share of the error.

    Returns:
      the best octant found; never worse than the start, never disconnected.
    """
    n = octant.shape[0]
    here = evaluate(octant)
    with_slope = _with_slope(residual)

    def error(constants):
        return float(np.mean(abs(with_slope(constants)[0])))

    def worth(constants, octant):
        return cost(error(constants), octant.mean(), volume, price)

    history, volumes = [error(here.constants)], [float(octant.mean())]

    def attempt(density, change):
        """Return a better octant and its evaluation, None where there is none."""
        field = thresholds(octant)
        for halving in range(HALVINGS):
            solid = advance(field, density, change / 2**halving, n)
            trial, _, _ = clean_octant(spread(solid.astype(np.uint8), n))
            if np.array_equal(trial, octant) or not is_load_bearing(trial):
                continue
            there = evaluate(trial, here.fields)
            better = worth(there.constants, trial) < worth(here.constants, octant)
            if there.converged and better:
                return trial, there
        return None

    def creeping():
        return len(history) > PATIENCE and history[-1] > creep * history[-1 - PATIENCE]

    while len(history) <= steps and history[-1] > goal and not creeping():
        change, slope = with_slope(here.constants)
        density = -slope @ _per_voxel(octant, here.sensitivity)
        plain = with_volume = density, change
        if volume is not None:
            share = np.full((1, density.shape[1]), n**-3.0)
            with_volume = (
                np.append(density, share, 0),
                np.append(change, volume - octant.mean()),
            )
        if price:  # some constants cannot be had at the very volume
            found = attempt(*with_volume) or attempt(*plain)
        else:
            near = volume is None or abs(octant.mean() - volume) <= VOLUME_SLACK
            found = attempt(*plain if near else with_volume)
        if found is None:
            break
        octant, here = found
        history.append(error(here.constants))
        volumes.append(float(octant.mean()))
    if len(history) > 1:
        # The answer must not depend on the way it was reached.
        here = evaluate(octant)
        history[-1] = error(here.constants)
    return Polished(octant, here, tuple(history), tuple(volumes))


def cost(error: float, volume: float, target: float | None, price: float) -> float:
    """Return an error plus the price of a volume's difference beyond VOLUME_SLACK."""
    off = 0.0 if target is None else abs(volume - target)
    return error + price * max(off - VOLUME_SLACK, 0.0)


def target_residual(
    target: Float[AnyArray, "3"], ranges: Float[AnyArray, "3"] = PAPER_RANGES
) -> Callable[[Array], Array]:
    """Return the residual of C11, C12, C44 over their ranges (arXiv 2401.13570)."""

    def residual(constants):
        return (jnp.asarray(target, constants.dtype) - constants) / jnp.asarray(
            ranges, constants.dtype
        )

    return residual


def _with_slope(residual):
    """Return `constants -> (residual (k,), its derivatives (k, 3))` in NumPy."""

    def both(constants):
        value = residual(constants)
        return value, value

    run = jax.jacfwd(both, has_aux=True)

    def with_slope(constants):
        slope, value = run(jnp.asarray(constants, jnp.float32))
        return np.asarray(value, np.float64), np.asarray(slope, np.float64)

    return with_slope


def _per_voxel(octant, sensitivity) -> np.ndarray:
    """Return (3, m) changes of the constants by one voxel of each orbit made solid."""
    return gather_independent(symmetrize(surface_density(octant, sensitivity)))
