"""Known cells to begin an optimization with: the best of a dataset for a problem.

They have a topology already, so that their surface alone is moved. What is best goes by
the constants and volumes of the dataset: cells near the volume asked for that nearly
meet the constraints, by their score.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import elasticity
from mmdiff.data.dataset import Dataset, distinct
from mmdiff.design.optimize.problem import Request
from mmdiff.topopt.problem import constraints
from mmdiff.typing import Float

NEAR = 0.05  # from the volume asked for: what a surface is easily moved by
LOOSE = 0.1  # violation of a constraint that its steps mend
ALIKE = 0.95  # share of equal voxels from which two cells count as one


def best_rows(
    data: Dataset,
    request: Request,
    count: int,
    *,
    nu: float = elasticity.NU,
    drainable: bool = False,
) -> list[int]:
    """Return the rows of at most `count` different cells, best first.

    Those farther from volume and constraints than `NEAR` and `LOOSE` come last, and so
    do cells with closed pores where `drainable` is asked; `nu` is that of the base
    material, for the bounds that scores are shares of.
    """
    value, violation = _outputs(data.constants, request)
    merit = request.goal.merit(value, data.volume, nu)
    keys = (
        -np.nan_to_num(merit, nan=-np.inf),
        np.maximum(violation, LOOSE),
        np.maximum(abs(data.volume - request.limits.volume), NEAR),
        drainable & ~data.drainable,
    )
    return distinct(data, np.lexsort(keys), count=count, alike=ALIKE)


def _outputs(
    known: Float[np.ndarray, "N 3"], request: Request
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]]:
    """Return objective and violation of the worst constraint but for the volume."""
    problem, limits = request.problem, request.limits
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), limits.params)
    objective, asked = problem.objective(params), float(limits.volume)

    def one(constants):
        tensor = elasticity.constants_to_voigt(constants)
        g = constraints(problem, limits, tensor, asked)
        return objective(tensor), g.max()

    found = jax.jit(jax.vmap(one))(jnp.asarray(known, jnp.float32))
    return tuple(np.asarray(part, np.float64) for part in found)
