"""The elastic tensor of a surface, from two grids, and how far it may be off.

A cell given as a level-set field has no voxels of its own: each element of a regular
grid gets the modulus of its solid share f, E = void + f (1 - void). Such a grid is too
stiff, by an error that falls with the square of the element's edge h, so that grids of
h and h/2 give the limit C = C_fine + (C_fine - C_coarse) / 3. Where they differ by
much, at hinges a few elements thick, it falls faster, and the divisor grows with the
difference. That and the uncertainty are fitted to cells whose tensors are known from
body-fitted quadratic tetrahedra; see docs/accuracy.md.
"""

import functools
from typing import NamedTuple

import jax
import numpy as np

from mmdiff.cells import surface
from mmdiff.elasticity import NU, voigt_to_constants
from mmdiff.fem import homogenize, multigrid
from mmdiff.fem.homogenize import MAXITER, TOL, VOID
from mmdiff.typing import AnyArray, Array, Float, Shaped

GAIN = 5e-4  # share of a constant by which a solver's last step changes it, at most
FINER = 64  # elements along the octant of the coarse grid of a check
LEAST_PART = 0.1  # no constant counts as smaller than this part of all three


class Rule(NamedTuple):
    """How the constants of two grids are extrapolated, fitted to their edges.

    Attributes:
      divisor: of the difference of the grids; 3 for an error in the square of the edge.
      faster: the divisor grows by this times the relative difference.
      doubt: share of that difference that may be wrong,
      least: and of the constants themselves.
    """

    divisor: float
    faster: float
    doubt: float
    least: float


RULE = Rule(3.0, 8.0, 0.2, 1.5e-3)  # of 32 and 64 elements along an octant, and finer
COARSE_RULE = Rule(2.0, 5.0, 0.35, 3e-3)  # of 16 and 32


class Estimate(NamedTuple):
    """C11, C12, C44 of a surface for base E = 1, and what they come from.

    Of an orthotropic surface the nine constants of `elasticity.voigt_to_orthotropic`.

    Attributes:
      constants: of the surface, extrapolated from the two grids.
      uncertainty: half width of the interval that holds each constant.
      coarse: constants on the coarse grid.
      fine: constants on the grid of half its element edge.
      volume: solid share on the fine grid.
      residual: relative residual of the worst load on the fine grid.
      converged: whether all loads met the tolerance there.
      fields: fluctuation fields there, where the solve of a similar surface may start.
    """

    constants: Float[np.ndarray, "c"]
    uncertainty: Float[np.ndarray, "c"]
    coarse: Float[np.ndarray, "c"]
    fine: Float[np.ndarray, "c"]
    volume: float
    residual: float
    converged: bool
    fields: Array | None = None


def extrapolate(
    coarse: Float[AnyArray, "*s"], fine: Float[AnyArray, "*s"], rule: Rule = RULE
) -> tuple[Float[AnyArray, "*s"], Float[AnyArray, "*s"]]:
    """Return the limit of stiffnesses on grids of edges h and h/2, and its uncertainty.

    Example:
      >>> import numpy as np
      >>> limit, doubt = extrapolate(np.full(3, 0.104), np.full(3, 0.101))
      >>> bool(np.allclose(limit, 0.1, rtol=1e-3) and np.all(doubt < 0.001))
      True
    """
    size = _norm(fine)
    difference = _norm(fine - coarse) / size
    limit = fine + (fine - coarse) / (rule.divisor + rule.faster * difference)
    parts = (fine**2 + (LEAST_PART * size) ** 2) ** 0.5
    return limit, (rule.doubt * difference + rule.least) * parts


def _norm(constants):
    return (constants**2).sum() ** 0.5


def on_grid(
    psi: Float[AnyArray, "n n n"],
    m: int,
    *,
    symmetry: str = "cubic",
    void: float = VOID,
    nu: float = NU,
    tol: float = TOL,
    maxiter: int = MAXITER,
    fields: Float[AnyArray, "l 3 k k k"] | None = None,
) -> tuple[Float[Array, "6 6"], float, homogenize.Info]:
    """Return tensor, volume and solve on m^3 elements of the octant."""
    share = surface.fractions(psi, m, cubic=symmetry == "cubic")
    limits = {"void": void, "tol": tol, "maxiter": maxiter}
    options = {"symmetry": symmetry, "nu": nu, "fields": fields}
    tensor, info = of_shares(share, **limits, **options)
    return tensor, float(share.mean()), info


def of_shares(
    share: Shaped[AnyArray, "m m m"],
    *,
    void: float = VOID,
    tol: float = TOL,
    maxiter: int = MAXITER,
    **options,
) -> tuple[Float[Array, "6 6"], homogenize.Info]:
    """Return tensor and solve of elements that are solid in part, until it settles.

    Options are those of `homogenize.homogenize`.
    """
    numbers = homogenize.Numbers(void, 1.0, tol, maxiter, GAIN)
    return homogenize.homogenize_to(numbers, share, **options)


def estimate(
    psi: Float[AnyArray, "n n n"],
    *,
    coarse: Float[np.ndarray, "c"] | None = None,
    elements: int | None = None,
    symmetry: str = "cubic",
    fields: Float[AnyArray, "l 3 k k k"] | None = None,
    rule: Rule = RULE,
    **solver,
) -> Estimate:
    """Return the constants of a surface and their uncertainty.

    Args:
      psi: field of the octant, see `mmdiff.cells.surface`.
      coarse: constants on the coarse grid, if they are known.
      elements: along the octant on the coarse grid; None for as many as samples.
      symmetry: "cubic", or "orthotropic" for fields with mirror planes only.
      fields: of the estimate of a similar surface, for a warm start on the fine grid.
      rule: of the extrapolation, for these grids.
      **solver: void, nu, tol and maxiter as for `mmdiff.homogenize`.
    """
    psi = np.asarray(psi, np.float64)
    m, options = elements or psi.shape[-1], {"symmetry": symmetry, **solver}
    cubic = {"cubic": symmetry == "cubic"}
    share = surface.fractions(psi, 2 * m, **cubic)
    if coarse is None:
        if m <= psi.shape[-1]:  # both grids are means over one of half a spacing
            half = surface.halved(share, **cubic)
        else:
            half = surface.fractions(psi, m, **cubic)
        tensor, info = of_shares(half, **options)
        coarse = np.asarray(voigt_to_constants(tensor, symmetry), np.float64)
        fields = refined(info.fields) if fields is None else fields
    tensor, info = of_shares(share, fields=fields, **options)
    fine = np.asarray(voigt_to_constants(tensor, symmetry), np.float64)
    return Estimate(
        *extrapolate(np.asarray(coarse), fine, rule),
        coarse=np.asarray(coarse),
        fine=fine,
        volume=float(share.mean()),
        residual=float(info.residual.max()),
        converged=bool(info.converged.all()),
        fields=info.fields,
    )


def check(psi: Float[AnyArray, "n n n"], **options) -> Estimate:
    """Return the estimate from grids of `FINER` and twice as many elements.

    Options are those of `estimate`.
    """
    return estimate(psi, elements=FINER, **options)


@jax.jit
def refined(fields: Float[Array, "l 3 k k k"]) -> Float[Array, "l 3 m m m"]:
    """Return fields in the edges of elements half as large, m = 2 k - 1 nodes."""
    loads, size = len(fields), 2 * fields.shape[-1] - 1
    shape, half = 3 * (size - 1,), 3 * (fields.shape[-1] - 1,)
    prolong = functools.partial(multigrid.prolong, coarse=half, fine=shape)
    fine = jax.vmap(prolong)(fields.reshape(loads, 3, -1))
    return 2 * fine.reshape(loads, 3, size, size, size)


def of_coarse(
    coarse: Float[np.ndarray, "c"], volume: float, residual: float
) -> Estimate:
    """Return what a coarse grid alone says, without an uncertainty."""
    unknown = np.full(len(coarse), np.nan)
    return Estimate(coarse, unknown, coarse, coarse, float(volume), residual, True)


def of_voxels(
    psi: Float[AnyArray, "n n n"], m: int, *, symmetry: str = "cubic", **solver
) -> Float[np.ndarray, "c"]:
    """Return the constants of the binary octant of m^3 voxels, one element each."""
    octant = surface.voxels(psi, m)
    tensor, _ = of_shares(octant, symmetry=symmetry, **solver)
    return np.asarray(voigt_to_constants(tensor, symmetry), np.float64)
