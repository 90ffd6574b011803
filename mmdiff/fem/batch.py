"""Labels of many cells by one compiled program.

How a batch is walked depends on the device, see `device.each`; the numbers do not.
"""

import functools

import jax

from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.fem import homogenize
from mmdiff.fem.device import each


def map_batch(function):
    """Return the jitted `function` over a leading batch axis of every argument."""
    return jax.jit(functools.partial(each, function))


@functools.lru_cache(maxsize=8)
def labeller(
    n: int,
    *,
    void: float = homogenize.VOID,
    nu: float = NU,
    tol: float = homogenize.TOL,
    maxiter: int = homogenize.MAXITER,
):
    """Return `octants (b, n, n, n) -> (constants, residual, converged)`.

    Constants are (b, 3); residual and flag (b,) are those of the worst load. Arguments
    as in `make_homogenizer`.
    """
    run = homogenize.make_homogenizer(n, void=void, nu=nu, tol=tol, maxiter=maxiter)

    def label(density):
        tensor, info = run(density)
        return voigt_to_cubic(tensor), info.residual.max(), info.converged.all()

    return map_batch(label)
