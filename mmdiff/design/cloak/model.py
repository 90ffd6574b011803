"""A mechanical cloak: cells around a hole that hide it from the body outside.

A box of cubic cells, each one or several trilinear elements of its constants, has a
column of void along z. The cells around it, the cloak, are to make the displacement
outside what it would be without the hole (arXiv 2401.13570, Fig. 6). What is designed
are the constants of the cloak, equal in mirror images, inside the region that known
cells fill; see `assign` for the cells themselves. Distortion is that of
`mmdiff.fem.structure.distortion`, over the nodes at or beyond the radius of the cloak.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from mmdiff.design.cloak import region
from mmdiff.design.cloak.geometry import Geometry, LoadCase
from mmdiff.fem import structure
from mmdiff.typing import Array, Float

LOW, HIGH = 0.02, 1.0  # bounds of the coordinates of the constants
PRICES = (3.0, 30.0, 300.0)  # of the mean square distance from the region, in turn
POWER = 8  # of the norm over several loads: nearly the worst one
TOL = 1e-4  # of the solves while designing


def fill(
    geometry: Geometry, reference: Float[Array, "3"], constants: Float[Array, "k 3"]
) -> Float[Array, "x y z 3"]:
    """Return the constants of every cell: the reference, void, or of its class."""
    solid = jnp.asarray(~geometry.hole.reshape(-1, 1), constants.dtype)
    rest = solid * jnp.asarray(reference, constants.dtype)[None]
    rows = np.flatnonzero(geometry.cloak)
    field = rest.at[rows].set(constants[geometry.index])
    return field.reshape(*geometry.hole.shape, 3)


class Model(NamedTuple):
    """A body under a load case; `constants` are those (k, 3) of the classes.

    `slope` gives the norm of `POWER` over the loads, the distortions, and the gradient
    (k, 3) of the norm. Displacements are in edges of the elements.
    """

    response: Callable  # response(constants) -> (u (l, 3, X, Y, Z), info)
    u0: Float[np.ndarray, "l 3 X Y Z"]  # u of the body without hole and cloak
    distortion: Callable  # distortion(constants) -> (l,)
    slope: Callable  # slope(constants) -> (norm, distortion, gradient)
    before: Float[np.ndarray, "l"]  # with the reference in place of the cloak


def make_model(geometry: Geometry, load_case: LoadCase) -> Callable[..., Model]:
    """Return `model(reference, offset=None) -> Model`, compiled once for all.

    The offset (l, 3, X, Y, Z) is what displacements of a better model differ, with the
    cloak more than without hole and cloak: it is added to those whose distortion is
    asked for (deferred correction).
    """
    times = geometry.elements
    shape = tuple(times * size for size in geometry.hole.shape)
    displacement = structure.make_displacement(shape, load_case.fixed)
    # As arguments, since XLA folds large constants for minutes.
    loads = [jnp.asarray(a, jnp.float32) for a in (load_case.values, load_case.forces)]
    outside = jnp.asarray(geometry.outside)
    run = jax.jit(lambda field, loads: displacement(field, *loads))
    of_loads = jax.jit(jax.vmap(structure.distortion, (0, 0, None)))

    def filled(reference, constants):
        field = fill(geometry, reference, constants)
        for axis in range(3) if times > 1 else ():
            field = jnp.repeat(field, times, axis)
        return field

    def value(constants, reference, loads, u0, outside):
        u, _ = displacement(filled(reference, constants), *loads, tol=TOL)
        each = of_loads(u, u0, outside)
        worst = each.max()
        return worst * ((each / worst) ** POWER).mean() ** (1 / POWER), each

    graded = jax.jit(jax.value_and_grad(value, has_aux=True))

    def model(reference, offset=None):
        reference = jnp.asarray(reference, jnp.float32)
        plain, _ = run(jnp.broadcast_to(reference, (*shape, 3)), loads)
        u0 = plain if offset is None else plain - jnp.asarray(offset, jnp.float32)

        def response(constants):
            constants = jnp.asarray(constants, jnp.float32)
            return run(filled(reference, constants), loads)

        def distortion(constants):
            return np.asarray(of_loads(response(constants)[0], u0, outside))

        def slope(constants):
            (norm, each), gradient = graded(
                jnp.asarray(constants, jnp.float32), reference, loads, u0, outside
            )
            return float(norm), np.asarray(each), np.asarray(gradient, np.float64)

        before = distortion(np.tile(reference, (geometry.num_classes, 1)))
        return Model(response, np.asarray(plain), distortion, slope, before)

    return model


def design(
    model: Model,
    start: Float[np.ndarray, "k 3"],
    excess: Callable[[Array], Array],
    *,
    steps: int,
    after: Callable[[int, np.ndarray], None] = lambda step, distortion: None,
) -> Float[np.ndarray, "k 3"]:
    """Return constants of the classes that distort less, inside the region of cells.

    L-BFGS on the square of the distortion, over that without a cloak, plus a rising
    price of the mean square distance from the region (`excess`, see
    `region.make_excess`). `steps` iterations at most are shared out over the prices;
    `after` is called with the number of evaluations and the distortions.
    """
    scale = float(np.max(model.before)) ** 2
    numbers = itertools.count(1)
    outlying = jax.jit(jax.value_and_grad(lambda y: (excess(y) ** 2).mean()))

    @jax.jit
    def pull_back(y, gradient):
        return jax.vjp(region.constants_at, y)[1](gradient)[0]

    def function(y, price):
        y = jnp.asarray(y.reshape(-1, 3), jnp.float32)
        norm, each, gradient = model.slope(region.constants_at(y))
        after(next(numbers), each)
        far, uphill = outlying(y)
        total = norm**2 / scale + price * float(far)
        slope = pull_back(y, jnp.asarray(2 * norm / scale * gradient, jnp.float32))
        return total, np.asarray(slope + price * uphill, np.float64).ravel()

    y = np.clip(region.coordinates(start), LOW, HIGH).ravel()
    share = max(steps // len(PRICES), 1)
    settings = {
        "method": "L-BFGS-B",
        "jac": True,
        "bounds": [(LOW, HIGH)] * y.size,
        "options": {"maxiter": share, "maxcor": 20, "ftol": 1e-7},
    }
    for price in PRICES:
        y = optimize.minimize(function, y, args=(price,), **settings).x
    return np.asarray(region.constants_at(jnp.asarray(y.reshape(-1, 3))), np.float64)
