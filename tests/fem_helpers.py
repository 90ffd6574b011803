"""Compiled solvers and random cells shared by the tests of the physics.

A homogenizer takes seconds to compile, so the tests of all modules share few of them:
void, tolerance, start and weights are arguments of the compiled function, and grids are
those of `GRIDS`, or octants of 8 and 16 where levels or accuracy matter.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
from scipy import ndimage

from mmdiff.cells import symmetry
from mmdiff.fem import boundary, homogenize

# Five times as quick to compile; the programs are small, so their speed is no matter.
QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
try:
    jax.jit(lambda x: x, compiler_options=QUICK).lower(0.0).compile()
except jax.errors.JaxRuntimeError:  # options come and go with XLA
    QUICK = {}
# Elements per side that are solved for a cell of 8^3 voxels.
GRIDS = {"cubic": 4, "orthotropic": 4, "periodic": 8}


def quick_jit(function, **options):
    """Return the jitted function, compiled in a hurry."""
    return jax.jit(function, compiler_options=QUICK, **options)


@functools.lru_cache
def _compiled(n, kind):
    solver = homogenize.make_solver(n, kind)

    def weighted(stiff, weights, **options):
        tensor, info = solver(stiff, **options)
        return (weights * tensor).sum(), (tensor, info)

    return quick_jit(jax.value_and_grad(weighted, has_aux=True))


def solve(stiff, kind="cubic", *, weights=None, fields=None, maxiter=200, **numbers):
    """Homogenize moduli (n, n, n): C, info and the gradient of sum(weights * C).

    Numbers are `tol`, 1e-10 unless given, and `void` of `homogenize.make_solver`.
    """
    n, dtype = stiff.shape[0], jnp.asarray(stiff).dtype
    weights = np.ones((6, 6)) if weights is None else weights
    if fields is None:
        fields = np.zeros(boundary.loads(kind).field_shape(n))
    numbers = {"tol": 1e-10, "void": 0.0} | numbers
    arrays = {"fields": fields, **numbers}
    arrays = {name: jnp.asarray(array, dtype) for name, array in arrays.items()}
    (_, (tensor, info)), gradient = _compiled(n, kind)(
        jnp.asarray(stiff), jnp.asarray(weights, dtype), maxiter=maxiter, **arrays
    )
    return tensor, info, gradient


def random_moduli(kind, seed, decades):
    """Moduli from 10^-decades to 1, log-uniform, of the least symmetry a kind takes."""
    n = GRIDS[kind]
    if kind == "cubic":
        return 10 ** (-decades * random_octant(n, seed))
    return 10 ** (-decades * np.random.default_rng(seed).random((n, n, n)))


def random_coefficients(brick, shape, seed=0, decades=1.0):
    """Coefficients (p, nx, ny, nz) of all admissible kinds, log-uniform."""
    kinds = {"modulus": 1, "isotropic": 2, "cubic": 3}[brick.kind]
    modes = 10 ** (-decades * np.random.default_rng(seed).random((kinds, *shape)))
    if brick.kind == "modulus":
        return modes
    bulk, shear = modes[:2]  # lambda and C12 are negative where shear > 1.5 bulk
    if brick.kind == "isotropic":
        return np.stack([bulk - 2 / 3 * shear, shear])
    return np.stack([bulk + 4 / 3 * shear, bulk - 2 / 3 * shear, modes[2]])


def element_tensors(coefficients, brick):
    """Stiffness tensors (nx, ny, nz, 6, 6) of coefficients (p, nx, ny, nz)."""
    coefficients = np.asarray(coefficients)
    if brick.kind == "modulus":
        return oracles.isotropic(coefficients[0], brick.nu)
    if brick.kind == "isotropic":
        lam, mu = coefficients
        return oracles.cubic(lam + 2 * mu, lam, mu)
    return oracles.cubic(*coefficients)


def assembled(coefficients, brick):
    """Sparse K of coefficients (p, nx, ny, nz), without boundary conditions."""
    return oracles.assemble(element_tensors(coefficients, brick), brick.edges)


def stiffness_matrix(modulus, nu=0.3):
    """Assemble K (d, d) of element moduli, without boundary conditions.

    Dofs are ordered component, x, y, z.
    """
    return oracles.assemble(oracles.isotropic(modulus, nu)).toarray()


def random_octant(n, seed=0, low=0.0):
    """Random cubic octant (n, n, n), every orbit uniform in [low, 1]."""
    values = np.random.default_rng(seed).uniform(low, 1, symmetry.num_independent(n))
    return symmetry.spread(values, n)


def smooth_octant(n, seed=0, length=2.5):
    """Random cubic octant (n, n, n) with features of some `length` voxels."""
    noise = random_octant(n, seed) - 0.5
    return symmetry.symmetrize(ndimage.gaussian_filter(noise, length, mode="reflect"))


def random_binary(n, seed=0, volume=0.5, void=1e-6):
    """Random cubic octant (n, n, n) of moduli 1 and `void`: contrast at its worst."""
    return np.where(random_octant(n, seed) < volume, 1.0, void)


def strut_octant(n, width):
    """Octant of a simple-cubic frame: three square struts along the cell's edges."""
    line = np.arange(n) < width
    x, y, z = line[:, None, None], line[:, None], line
    return ((x & y) | (y & z) | (z & x)).astype(np.uint8)
