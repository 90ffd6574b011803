"""A mechanical cloak: cells around a hole that hide it from the body outside.

A box of cubic cells, each a trilinear element of its homogenized constants, has a
column of void along z. The cells around it, the cloak, are to make the displacement
outside what it would be without the hole (arXiv 2401.13570, Fig. 6). What is designed
are the constants of the cloak, equal in mirror images, inside the region that known
cells fill; see `cloak_cells` for the cells themselves. Distortion is that of
`mmdiff.fem.structure.distortion`, over the nodes at or beyond the radius of the cloak.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from mmdiff.design.cloak import region
from mmdiff.fem import structure
from mmdiff.fem.cubic import Shape
from mmdiff.typing import Array, Bool, Float, Int

HOLE, CLOAK = 1 / 6, 1 / 3  # radii by the edge of the box
SHAPES = ("cylinder", "square")
LOW, HIGH = 0.02, 1.0  # coordinates of the constants that are looked at
PRICES = (3.0, 30.0, 300.0)  # of the mean square distance from the region, in turn
POWER = 8  # of the norm over several loads: nearly the worst one
TOL = 1e-4  # of the solves while designing


class Body(NamedTuple):
    """Where what is.

    Attributes:
      hole: (nx, ny, nz) elements of void.
      cloak: (nx, ny, nz) elements to be designed.
      outside: (nx + 1, ny + 1, nz + 1) nodes where the displacement counts.
      index: (m,) for the elements of the cloak, in C order, the number of their class;
        what the symmetry of the test makes equal is of one class.
    """

    hole: Bool[np.ndarray, "x y z"]
    cloak: Bool[np.ndarray, "x y z"]
    outside: Bool[np.ndarray, "X Y Z"]
    index: Int[np.ndarray, "m"]

    @property
    def num_classes(self) -> int:
        """Number of different cells in the cloak."""
        return int(self.index.max()) + 1


@dataclasses.dataclass(frozen=True, eq=False)
class Test:
    """What the body is subjected to.

    Attributes:
      name: of the loads.
      fixed: (3, X, Y, Z) dofs whose displacement is given.
      values: (l, 3, X, Y, Z) the displacements, in element edges.
      forces: (l, 3, X, Y, Z) nodal forces, base E = 1.
      mirrors: whether the plane x = 0 is one of symmetry, as y = 0 and z = 0 are of
        all tests.
      swaps: whether x and y may be exchanged.
    """

    name: str
    fixed: Bool[np.ndarray, "3 X Y Z"]
    values: Float[np.ndarray, "l 3 X Y Z"]
    forces: Float[np.ndarray, "l 3 X Y Z"]
    mirrors: bool = True
    swaps: bool = False


def pulled(shape: Shape) -> Test:
    """Return the test of one load: one face normal to x is held, its opposite pulled.

    The traction is uniform and a tenth of the base material's Young's modulus; all
    other faces are free. Everything is linear, so that its size is of no account.
    """
    nodes = (3, *(n + 1 for n in shape))
    fixed = np.zeros(nodes, bool)
    fixed[:, 0] = True
    forces = np.zeros((1, *nodes))
    lines = [np.ones(n + 1) for n in shape[1:]]
    for line in lines:
        line[[0, -1]] = 0.5
    forces[0, 0, -1] = 0.1 * np.outer(*lines)
    return Test("pull", fixed, np.zeros_like(forces), forces, mirrors=False)


def gripped(shape: Shape) -> Test:
    """Return the test of a slab: its faces normal to x are held and moved apart.

    Those normal to z stay in their planes, those normal to y are free.
    """
    values = structure.affine(shape)[:1]
    fixed = np.zeros(values.shape[1:], bool)
    fixed[:, [0, -1]] = True
    fixed[2, :, :, [0, -1]] = True
    return Test("grips", fixed, values, np.zeros_like(values))


def strained(shape: Shape) -> Test:
    """Return the test of six loads: all faces are moved as the unit strains move them.

    In a homogeneous body the strain is uniform then.
    """
    values = structure.affine(shape)
    free = np.zeros_like(values)
    return Test("strains", structure.faces(shape), values, free, swaps=True)


def body(
    shape: Shape,
    column: str,
    *,
    mirrors: bool = True,
    swaps: bool = False,
    hole: float = HOLE,
    cloak: float = CLOAK,
) -> Body:
    """Return the box of a case.

    Args:
      shape: elements along x, y and z; the first two equal.
      column: "cylinder", or "square" of the same width.
      mirrors: whether mirror images by the plane x = 0 are of one class, as those by
        y = 0 and z = 0 are.
      swaps: whether elements that x and y exchanged make equal are; with mirrors.
      hole: radius, or half the width of a square, by the edge along x.
      cloak: the same of the cloak, which has the shape of the hole.

    Raises:
      ValueError: for an unknown column.
    """
    if column not in SHAPES:
        raise ValueError(f"column {column!r} is none of {', '.join(SHAPES)}.")
    n = shape[0]
    # In half edges: exact, so that mirror images agree.
    away = [abs(2 * np.arange(m) + 1 - m) for m in shape]
    x, y, z = np.meshgrid(*away, indexing="ij")
    away_from_axis = np.hypot if column == "cylinder" else np.maximum
    radius = away_from_axis(x, y) / 2
    void = radius < hole * n
    ring = (radius < cloak * n) & ~void
    nodes = [abs(np.arange(m + 1) - m / 2) for m in shape]
    at = away_from_axis(nodes[0][:, None], nodes[1])[:, :, None]
    outside = np.broadcast_to(at >= cloak * n, [m + 1 for m in shape])
    if not mirrors:
        x = (2 * np.arange(n) + 1 - n)[:, None, None] + 0 * y
    elif swaps:
        x, y = np.minimum(x, y), np.maximum(x, y)
    place = np.stack([x[ring], y[ring], z[ring]])
    _, index = np.unique(place, axis=1, return_inverse=True)
    return Body(void, ring, outside, index.ravel())


def fill(
    where: Body, reference: Float[Array, "3"], constants: Float[Array, "k 3"]
) -> Float[Array, "x y z 3"]:
    """Return the constants of every element: reference, void, and those of the classes.

    Args:
      where: the body.
      reference: constants outside of the cloak.
      constants: those of the classes.
    """
    solid = jnp.asarray(~where.hole.reshape(-1, 1), constants.dtype)
    rest = solid * jnp.asarray(reference, constants.dtype)[None]
    rows = np.flatnonzero(where.cloak)
    field = rest.at[rows].set(constants[where.index])
    return field.reshape(*where.hole.shape, 3)


class Model(NamedTuple):
    """A body under a test.

    Attributes:
      response: `response(field) -> (u, info)` of constants (x, y, z, 3) of all
        elements; u (l, 3, X, Y, Z) in element edges.
      field: `field(constants (k, 3)) -> (x, y, z, 3)`, those of all elements.
      wanted: (l, 3, X, Y, Z) u of the body without hole and cloak.
      distortion: `distortion(constants) -> (l,)` of constants of the classes.
      slope: `slope(constants) -> (value, distortion, gradient (k, 3))`, of the norm of
        `POWER` over the loads.
      before: (l,) distortion with the reference in place of the cloak.
    """

    response: Callable
    field: Callable
    wanted: Float[np.ndarray, "l 3 X Y Z"]
    distortion: Callable
    slope: Callable
    before: Float[np.ndarray, "l"]


def make_model(where: Body, test: Test) -> Callable[[Float[np.ndarray, "3"]], Model]:
    """Return `model(reference) -> Model`, compiled once for all references.

    Args:
      where: the body.
      test: its loads.
    """
    shape = where.hole.shape
    displacement = structure.make_displacement(shape, test.fixed)
    # As arguments, since XLA folds large constants for minutes.
    loads = [jnp.asarray(a, jnp.float32) for a in (test.values, test.forces)]
    outside = jnp.asarray(where.outside)
    run = jax.jit(lambda field, loads: displacement(field, *loads))
    of_loads = jax.jit(jax.vmap(structure.distortion, (0, 0, None)))

    def value(constants, reference, loads, wanted, outside):
        u, _ = displacement(fill(where, reference, constants), *loads, tol=TOL)
        each = of_loads(u, wanted, outside)
        worst = each.max()
        norm = worst * ((each / worst) ** POWER).mean() ** (1 / POWER)
        return norm, each

    graded = jax.jit(jax.value_and_grad(value, has_aux=True))

    def model(reference):
        reference = jnp.asarray(reference, jnp.float32)

        def response(field):
            return run(jnp.asarray(field, jnp.float32), loads)

        def field(constants):
            return fill(where, reference, jnp.asarray(constants, jnp.float32))

        wanted, _ = response(jnp.broadcast_to(reference, (*shape, 3)))

        def distortion(constants):
            return np.asarray(of_loads(response(field(constants))[0], wanted, outside))

        def slope(constants):
            (norm, each), gradient = graded(
                jnp.asarray(constants, jnp.float32), reference, loads, wanted, outside
            )
            return float(norm), np.asarray(each), np.asarray(gradient, np.float64)

        before = distortion(np.tile(reference, (where.num_classes, 1)))
        return Model(response, field, np.asarray(wanted), distortion, slope, before)

    return model


def design(
    model: Model,
    start: Float[np.ndarray, "k 3"],
    excess: Callable[[Array], Array],
    *,
    steps: int,
    prices: tuple[float, ...] = PRICES,
    after: Callable[[int, np.ndarray], None] = lambda step, distortion: None,
) -> Float[np.ndarray, "k 3"]:
    """Return constants of the classes that distort less, inside the region of cells.

    L-BFGS on the square of the distortion, plus a rising price of the mean square
    distance from the region.

    Args:
      model: the body under its test.
      start: constants to begin with.
      excess: distance from the region, see `reachable.make_excess`.
      steps: most iterations, shared out over the prices.
      prices: of the square distance, by the square of the distortion without a cloak.
      after: called with the number of evaluations and the distortions.
    """
    scale = float(np.max(model.before)) ** 2
    count = 0

    @jax.jit
    def outlying(y):
        return jax.value_and_grad(lambda y: (excess(y) ** 2).mean())(y)

    @jax.jit
    def chain(y, gradient):
        return jax.vjp(region.constants_at, y)[1](gradient)[0]

    def function(y, price):
        nonlocal count
        y = jnp.asarray(y.reshape(-1, 3), jnp.float32)
        norm, each, gradient = model.slope(region.constants_at(y))
        count += 1
        after(count, each)
        far, uphill = outlying(y)
        total = norm**2 / scale + price * float(far)
        slope = chain(y, jnp.asarray(2 * norm / scale * gradient, jnp.float32))
        return total, np.asarray(slope + price * uphill, np.float64).ravel()

    y = np.clip(region.coordinates(start), LOW, HIGH).ravel()
    share = max(steps // len(prices), 1)
    for price in prices:
        found = optimize.minimize(
            functools.partial(function, price=price),
            y,
            jac=True,
            method="L-BFGS-B",
            bounds=[(LOW, HIGH)] * y.size,
            options={"maxiter": share, "maxcor": 20, "ftol": 1e-7},
        )
        y = found.x
    return np.asarray(region.constants_at(jnp.asarray(y.reshape(-1, 3))), np.float64)
