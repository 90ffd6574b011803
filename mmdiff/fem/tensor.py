"""Effective tensors of fields of coefficients, differentiable in them.

The cell problem is solved for the fluctuation under each macro strain, and the tensor
follows from the energy form C_ij = (1/V) sum_e x_i^T K_e x_j with x = macro +
fluctuation. The form is stationary in the fluctuations: its error is quadratic in the
residual, and dC_ij = (1/V) sum_e x_i^T dK_e x_j is its exact derivative, forward and
reverse, without a second solve. Derivatives of that one, and so on, go through the
fields by `implicit`, as do all of "mixed" windows.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.elasticity import NU
from mmdiff.fem import boundary
from mmdiff.fem.brick import UNIT, Brick, Edges
from mmdiff.fem.fields import pair_energies
from mmdiff.fem.implicit import make_displacement
from mmdiff.fem.solve import no_tangent
from mmdiff.programs import keep_namedtuple
from mmdiff.typing import Array, Bool, Float, Int

TOL, MAXITER = 1e-5, 500


@keep_namedtuple
class Info(NamedTuple):
    """What a homogenization reports beside the tensor, one entry per load.

    Nothing in it is differentiated; see `implicit.make_displacement` for that.

    Attributes:
      iterations: conjugate-gradient iterations.
      residual: |b - K x| / |b| of the returned fields, computed anew at the end.
      converged: whether it meets the tolerance or the tensor has settled, or the
        rounding of the fields in float32 leaves nothing to gain; see `solve.verified`.
      singular: whether more than half of the stiffness C_ii of the load i is owed to
        the void (d log C_ii / d log void > 1/2): the solid has no path for the load,
        and C_ii is of the order of the void's stiffness. A cell of void is singular
        throughout, one of solid nowhere.
      fields: fluctuation fields in the unit of the voxels' edges, for a warm start.
    """

    iterations: Int[Array, "l"]
    residual: Float[Array, "l"]
    converged: Bool[Array, "l"]
    singular: Bool[Array, "l"]
    fields: Float[Array, "l 3 X Y Z"]


def make_solver(
    grid: int | Sequence[int],
    symmetry: str = "cubic",
    *,
    nu: float = NU,
    edges: Edges = UNIT,
) -> Callable:
    """Return `solve_modulus(E, *, tol, maxiter, fields, void, gain) -> (C, info)`.

    It takes element moduli (nx, ny, nz) instead of densities; `void`, the modulus of
    void, serves `Info.singular` only.
    """
    run = make_general_solver(grid, symmetry, brick=Brick("modulus", nu, edges))

    def solve_modulus(stiff, *, void=0.0, **options):
        return run(stiff[None], rest=jnp.reshape(void, 1), **options)

    return solve_modulus


def make_general_solver(
    grid: int | Sequence[int], symmetry: str = "cubic", *, brick: Brick
) -> Callable:
    """Return `solve(coefficients, *, rest, tol, maxiter, fields, gain) -> (C, info)`.

    It takes the coefficients (p, nx, ny, nz) of the elements of a kind; `rest` (p,)
    are those of void and serve `Info.singular` only.
    """
    load_cases = boundary.loads(symmetry)
    pairs, place = boundary.load_pairs(load_cases)
    displacement = make_displacement(grid, symmetry, brick=brick)

    def energies(fields):
        strain = load_cases.strain
        fields = boundary.extend(fields, load_cases)
        if symmetry == "cubic":  # load 22 is load 11 with x and y exchanged
            swapped = jnp.swapaxes(fields[0][jnp.array([1, 0, 2])], 1, 2)
            fields = jnp.concatenate([fields, swapped[None]])
            strain = np.concatenate([strain, np.eye(6)[1:2]])
        if symmetry == "mixed":
            return _mean_stresses(fields, strain, pairs, brick)
        return pair_energies(fields, strain, pairs, brick)

    def tensor(coefficients, energy):
        parts = [
            mean(coefficient[None] * energy[:, k])
            for k, coefficient in enumerate(coefficients)
        ]
        constants = sum(parts[1:], parts[0])
        return jnp.append(constants, jnp.zeros(1, constants.dtype))[place]

    def evaluate(coefficients, fields, rest, tol, maxiter, gain):
        limits = {"tol": tol, "maxiter": maxiter, "gain": gain}
        x, solved = displacement(coefficients, fields=fields, **limits)
        energy = energies(x)
        value = tensor(coefficients, energy)
        everywhere = rest[:, None, None, None] * jnp.ones_like(coefficients)
        of_void = tensor(everywhere, energy)
        load = np.array(load_cases.voigt)
        singular = (of_void > value / 2)[load, load]
        return value, lax.stop_gradient(Info(*solved, singular, x)), energy

    chosen = differentiable(evaluate, tensor, symmetry)

    def solve(coefficients, *, rest, tol=TOL, maxiter=MAXITER, fields=None, gain=0.0):
        return chosen(coefficients, fields, rest, tol, maxiter, gain)

    return solve


def differentiable(evaluate: Callable, contract: Callable, symmetry: str) -> Callable:
    """Return `run(coefficients, ...) -> (value, info)` of an energy form.

    `evaluate` returns the energies of the elements as well, and
    `contract(coefficients, energies)` is the value. The form is stationary in the
    fields, so that its first derivative is the contraction with the change; mean
    stresses, of "mixed" windows, are not, and their derivatives go through the fields.
    """

    def run(*args):
        return evaluate(*args)[:2]

    if symmetry == "mixed":
        return run
    run = jax.custom_jvp(run)

    @run.defjvp
    def derivative(primals, tangents):
        value, info, energy = evaluate(*primals)
        slope = contract(tangents[0], energy)
        return (value, info), (slope, jax.tree.map(no_tangent, info))

    return run


def _mean_stresses(fields, strain, pairs, brick):
    """Return the work of the stresses of one load on the macro strain of another.

    Where loads hold different dofs the energy of two fields is no stress. Its mean is
    not quite symmetric in the loads: both are taken, and their mean returned.
    """
    loads = len(strain)
    fields = jnp.concatenate([fields, jnp.zeros_like(fields)])
    strain = np.concatenate([strain, strain])
    there = tuple((i, loads + j) for i, j in pairs)
    back = tuple((j, loads + i) for i, j in pairs)
    both = pair_energies(fields, strain, there + back, brick)
    return (both[: len(pairs)] + both[len(pairs) :]) / 2


def mean(values: Float[Array, "*b nx ny nz"]) -> Float[Array, "*b"]:
    """Return the mean over the last three axes, accurate in float32.

    One long float32 loop loses up to four digits at 64^3, and XLA merges sums over
    single axes into one; the barriers keep each at n terms.
    """
    size = math.prod(values.shape[-3:])
    for _ in range(3):
        values = lax.optimization_barrier(values.sum(-1))
    return values / size
