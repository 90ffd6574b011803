"""Effective tensors of voxels of any number of isotropic phases."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.errors import InputError
from mmdiff.fem.brick import UNIT, Brick, Edges
from mmdiff.fem.homogenize import check_shape, floating, start
from mmdiff.fem.tensor import MAXITER, TOL, Info, make_general_solver
from mmdiff.programs import kept
from mmdiff.typing import AnyArray, Array, Float, Scalar, Shaped


@functools.lru_cache(maxsize=16)
def _phases_program(shape, symmetry, edges):
    solve = make_general_solver(shape, symmetry, brick=Brick("isotropic", 0.0, edges))

    def run(moduli, fields, rest, numbers):
        coefficients = jnp.stack(lame(*moduli))
        tol, maxiter, gain = numbers
        limits = {"tol": tol, "maxiter": maxiter, "gain": gain}
        return solve(coefficients, rest=rest, fields=fields, **limits)

    return kept(run, shape, symmetry, edges)


def homogenize_phases(
    young: Shaped[AnyArray, "..."] | Sequence,
    poisson: Shaped[AnyArray, "..."] | Sequence,
    *,
    symmetry: str = "periodic",
    void: tuple[Scalar, Scalar] | None = None,
    tol: Scalar = TOL,
    maxiter: Scalar = MAXITER,
    edges: Edges = UNIT,
    fields: Float[AnyArray, "l 3 X Y Z"] | None = None,
) -> tuple[Float[Array, "6 6"], Info]:
    """Return the effective tensor of isotropic phases, in the unit of their moduli.

    As `homogenize`, and differentiable in both moduli: with `young = table[labels]`,
    also in the moduli of the phases.

    Args:
      young: Young's modulus of every voxel (nx, ny, nz), positive.
      poisson: Poisson's ratio of every voxel, in (-1, 0.5).
      symmetry: see `homogenize`.
      void: Young's modulus and Poisson's ratio of the phase that stands for void, for
        `Info.singular`; None if there is none.
      tol: relative residual of the solves.
      maxiter: most conjugate-gradient iterations.
      edges: of a voxel along x, y and z; their ratios count.
      fields: `Info.fields` of a similar design, for a warm start.

    Raises:
      InputError: for wrong shapes, and for moduli that are out of range.

    Example:
      A laminate is as stiff across as the harmonic mean of its layers:

      >>> young = np.ones((4, 4, 4), "f")
      >>> young[:2] = 3
      >>> C, info = mm.homogenize_phases(young, np.zeros((4, 4, 4), "f"))
      >>> round(float(C[0, 0]), 4)
      1.5
    """
    young, poisson = (
        x if hasattr(x, "shape") else np.asarray(x) for x in (young, poisson)
    )
    shape, edges = tuple(young.shape), tuple(map(float, edges))
    check_shape(shape, symmetry, edges)
    if poisson.shape != shape:
        raise InputError(
            f"the fields of Young's modulus and of Poisson's ratio have shapes {shape} "
            f"and {tuple(poisson.shape)}. Give one of each for every voxel."
        )
    _check_moduli(young, poisson)
    young, poisson = floating(young), floating(poisson)
    kind = jnp.promote_types(young.dtype, poisson.dtype)
    scale = lax.stop_gradient(young.max())
    moduli = (young / scale).astype(kind), poisson.astype(kind)
    rest = jnp.zeros(2, kind)
    if void is not None:
        rest = jnp.stack(lame(*(jnp.asarray(x, kind) for x in void))) / scale
    numbers = (
        jnp.asarray(tol, kind),
        jnp.asarray(maxiter, jnp.int32),
        jnp.zeros((), kind),
    )
    fields = start(fields, shape, symmetry, kind)
    run = _phases_program(shape, symmetry, edges)
    tensor, info = run(moduli, fields, rest, numbers)
    return scale * tensor, info


def lame(
    young: Float[AnyArray, "..."], poisson: Float[AnyArray, "..."]
) -> tuple[Float[AnyArray, "..."], Float[AnyArray, "..."]]:
    """Return Lame's constants lambda and mu of isotropic materials."""
    shear = young / (2 * (1 + poisson))
    return 2 * shear * poisson / (1 - 2 * poisson), shear


def _check_moduli(young, poisson):
    if isinstance(young, jax.core.Tracer) or isinstance(poisson, jax.core.Tracer):
        return
    ranges = (
        ("Young's modulus", young, 0, np.inf),
        ("Poisson's ratio", poisson, -1, 0.5),
    )
    for name, values, least, most in ranges:
        low, high = float(values.min()), float(values.max())
        if not least < low <= high < most:
            raise InputError(
                f"{name} has values from {low:g} to {high:g}; it must lie in "
                f"({least}, {most}). Give void a small stiffness, 1e-6 of the solid."
            )
