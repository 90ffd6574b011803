"""The homogenizer against theory: what mechanics says the numbers must be.

To be read from top to bottom. Cells whose tensor is known in closed form come first,
then bounds that no cell may exceed, symmetries, a direct solution, convergence with the
mesh, and last the properties of the iterative solver that the rest relies on. Notation:
E(x) Young's modulus, nu = 0.3, C the 6x6 tensor in Voigt order 11 22 33 23 13 12 with
engineering shear strain, base material E = 1. `solve` takes moduli, not densities.
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from fem_helpers import GRIDS, quick_jit, random_moduli, solve

from mmdiff import bounds, elasticity
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.bench import specimens
from mmdiff.fem import boundary, device, element, homogenize, multigrid
from mmdiff.fem.brick import Brick

NU = 0.3
SOLID = element.stiffness_tensor(NU)
all_symmetries = pytest.mark.parametrize("kind", GRIDS)


def whole_cell(moduli, kind):
    return moduli if kind == "periodic" else octant_to_cell(moduli)


# Closed forms


@all_symmetries
@pytest.mark.parametrize("modulus", [1.0, 0.3, 1e-9])
def test_a_uniform_cell_is_its_material(x64, kind, modulus):
    # A uniform strain is in equilibrium in a uniform body, so C = E C0 for any E.
    moduli = np.full(3 * (GRIDS[kind],), modulus)
    tensor, info, _ = solve(moduli, kind)
    # Sums of up to 512 equal terms in float64.
    rounding = {"rtol": 1e-13, "atol": 1e-13 * modulus}
    np.testing.assert_allclose(tensor, modulus * SOLID, **rounding)
    # The load vanishes up to rounding: nothing is left to iterate on.
    assert info.converged.all() and info.iterations.max() == 0
    np.testing.assert_array_equal(info.residual, 0)


def laminate(moduli, axis):
    """Tensor of layers stacked along an axis, exact for any number of layers.

    Across a layer the stresses s = (11, 12, 13 for axis 1) and along it the strains e =
    (22, 33, 23) are the same in all layers. Solved for the other two,

        strain of s = Css^-1 (s - Cse e),  stress of e = Ces strain of s + Cee e,

    so their means are linear in s and e; solving the first for s gives C.
    """
    across = [axis] + [3 + other for other in range(3) if other != axis]
    along = [i for i in range(6) if i not in across]
    css, cse = SOLID[np.ix_(across, across)], SOLID[np.ix_(across, along)]
    cee = SOLID[np.ix_(along, along)]
    # C0 is scaled by E in every layer: ratios of its blocks are not.
    soft = np.mean(1 / moduli) * np.linalg.inv(css)
    ratio = np.linalg.solve(css, cse)
    rest = np.mean(moduli) * (cee - cse.T @ ratio)
    stiff = np.linalg.inv(soft)
    tensor = np.zeros((6, 6))
    tensor[np.ix_(across, across)] = stiff
    tensor[np.ix_(across, along)] = stiff @ ratio
    tensor[np.ix_(along, across)] = (stiff @ ratio).T
    tensor[np.ix_(along, along)] = rest + ratio.T @ stiff @ ratio
    return tensor


LAYERS = {
    "stiff and soft": lambda n: np.where(np.arange(n) % 4 < 2, 1.0, 1e-2),
    "a thin stiff layer": lambda n: np.where(np.arange(n) == 1, 1.0, 1e-3),
    "a thin soft layer": lambda n: np.where(np.arange(n) == 1, 1e-3, 1.0),
    "graded": lambda n: np.geomspace(1e-3, 1, n),
    "stiff and void": lambda n: np.where(np.arange(n) < n // 2, 1.0, 1e-9),
}


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("kind", ["orthotropic", "periodic"])
def test_laminates_are_exact(x64, kind, layers, axis):
    # Fields of a laminate are piecewise linear across the layers: trilinear elements
    # hold them without any discretization error. (A cubic octant cannot be layered.)
    n = GRIDS[kind]
    profile = LAYERS[layers](n)
    moduli = np.moveaxis(np.ones((n, n, n)) * profile[:, None, None], 0, axis)
    tensor, info, _ = solve(moduli, kind, tol=1e-11)
    assert info.converged.all()
    want = laminate(profile, axis)
    # Float64 rounding of sums of order one; the solve's own error is its square.
    np.testing.assert_allclose(tensor, want, rtol=0, atol=1e-12)
    # Stiffness across the layers, of order 1e-9 with void: the solution there is known
    # to rounding times the contrast.
    across = [axis] + [3 + other for other in range(3) if other != axis]
    got, want = np.diag(tensor)[across], np.diag(want)[across]
    np.testing.assert_allclose(got, want, rtol=1e-6)


# Bounds


@pytest.fixture(scope="module")
def solved_specimens():
    """Moduli and cubic constants of all specimens at 16^3, in float32 as by default."""
    out = {}
    for name, octant in specimens.specimens(8).items():
        stiff = homogenize.modulus(octant).astype(np.float32)
        tensor, info, _ = solve(stiff, tol=1e-5)
        assert info.converged.all(), name
        out[name] = np.asarray(stiff, float), np.asarray(tensor, float)
    return out


def test_voigt_and_reuss_bound_every_specimen(solved_specimens):
    # A uniform strain and a uniform stress are trial fields of the two energy
    # principles: <1/E>^-1 C0 <= C <= <E> C0 as quadratic forms, on every mesh.
    for name, (stiff, tensor) in solved_specimens.items():
        upper, lower = stiff.mean(), 1 / np.mean(1 / stiff)
        # The relative accuracy of the float32 energy sums, on either side.
        slack = 1e-5 * upper
        assert np.linalg.eigvalsh(upper * SOLID - tensor).min() > -slack, name
        assert np.linalg.eigvalsh(tensor - lower * SOLID).min() > -1e-5 * lower, name


@all_symmetries
def test_voigt_and_reuss_bound_noise(x64, kind):
    # The same with voxels of log-uniform random moduli, the hardest cells there are.
    for seed in range(3):
        stiff = random_moduli(kind, seed, decades=4)
        tensor, _, _ = solve(stiff, kind)
        upper, lower = stiff.mean(), 1 / np.mean(1 / stiff)
        # Rounding of the eigenvalues in float64.
        assert np.linalg.eigvalsh(upper * SOLID - tensor).min() > -1e-12
        assert np.linalg.eigvalsh(tensor - lower * SOLID).min() > -1e-12


def hashin_shtrikman_bulk(stiff):
    """Both bounds of K for phases of moduli `stiff`: <1 / (K + 4 G0 / 3)>^-1 - 4 G0/3.

    G0 is the largest shear modulus for the upper and the smallest for the lower one
    (Hashin & Shtrikman 1963, in the form of Walpole 1966; any number of phases).
    """
    bulk, shear = stiff / (3 * (1 - 2 * NU)), stiff / (2 * (1 + NU))
    stars = 4 / 3 * np.array([shear.min(), shear.max()])
    return [1 / np.mean(1 / (bulk + star)) - star for star in stars]


def test_hashin_shtrikman_bounds_every_specimen(solved_specimens):
    # Among all isotropic and cubic arrangements of given phases none is stiffer or
    # softer in bulk than coated spheres.
    for name, (stiff, tensor) in solved_specimens.items():
        bulk = tensor[:3, :3].sum() / 9
        lower, upper = hashin_shtrikman_bulk(stiff)
        # Accuracy of float32 sums, relative.
        assert lower * (1 - 1e-5) < bulk < upper * (1 + 1e-5), name


def test_the_bounds_reduce_to_the_known_formula():
    # With a void second phase the upper bound is that of `elasticity`.
    stiff = np.where(np.arange(100) < 37, 1.0, 1e-12)
    upper = hashin_shtrikman_bulk(stiff)[1]
    # The void phase adds its own stiffness, 1e-12.
    assert upper == pytest.approx(bounds.hashin_shtrikman(0.37)[0], rel=1e-10)


# Symmetry


@pytest.mark.parametrize("name", ["schwarz_p", "plates", "graded", "random"])
def test_an_octant_is_its_whole_cell(x64, name):
    # A mirror plane of the cell makes every load even or odd, and with it the fields,
    # which leaves boundary conditions on the octant; a threefold axis makes the loads
    # of a kind equal. Nothing else changes: the nodal equations are the same.
    if name == "random":
        octant = random_moduli("cubic", 0, decades=4)
    else:
        octant = homogenize.modulus(getattr(specimens, name)(4))
    want, info, _ = solve(octant_to_cell(octant), "periodic", tol=1e-11)
    assert info.converged.all()
    for kind in ("cubic", "orthotropic"):
        tensor, info, _ = solve(octant, kind, tol=1e-11)
        assert info.converged.all()
        # The residual 1e-11 squared times the contrast, and float64 rounding.
        np.testing.assert_allclose(tensor, want, rtol=0, atol=1e-12, err_msg=kind)


def test_an_orthotropic_octant_has_nine_constants(x64):
    # Mirrors alone leave the constants of the three axes independent of each other.
    tensor, _, _ = solve(random_moduli("orthotropic", 0, decades=2), "orthotropic")
    tensor = np.asarray(tensor)
    assert len(set(np.round(np.diag(tensor), 6))) == 6
    assert len(set(np.round([tensor[0, 1], tensor[0, 2], tensor[1, 2]], 6))) == 3
    # Normal loads and each of the shears are of different parity: exact zeros.
    np.testing.assert_array_equal(tensor[:3, 3:], 0)
    np.testing.assert_array_equal(tensor[3:, 3:], np.diag(np.diag(tensor)[3:]))


def test_a_cell_without_symmetry_couples_normal_and_shear(x64):
    _, tensor = asymmetric_cell()
    assert (abs(tensor[:3, 3:]) > 1e-4).all()
    np.testing.assert_array_equal(tensor, tensor.T)


@functools.lru_cache
def asymmetric_cell():
    """Moduli of a cell without any symmetry, and its tensor; for x64 mode."""
    moduli = random_moduli("periodic", 1, decades=3)
    return moduli, np.asarray(solve(moduli, "periodic", tol=1e-11)[0])


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, 3, 0), (5, 2, 7)])
def test_the_origin_of_a_periodic_cell_is_free(x64, shift):
    # The infinite body is the same wherever its period is cut out.
    moduli, want = asymmetric_cell()
    moved, _, _ = solve(np.roll(moduli, shift, (0, 1, 2)), "periodic", tol=1e-11)
    # Two solves to 1e-11.
    np.testing.assert_allclose(moved, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("axis", range(3))
def test_a_turned_cell_has_the_turned_tensor(x64, axis):
    # C'_ijkl = R_ia R_jb R_kc R_ld C_abcd with the rotation R of the body.
    moduli, tensor = asymmetric_cell()
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turned, _, _ = solve(np.rot90(moduli, axes=(first, second)), "periodic", tol=1e-11)
    rotation = np.zeros((3, 3))
    rotation[axis, axis] = rotation[second, first] = 1
    rotation[first, second] = -1
    place = np.zeros((3, 3), int)
    for voigt, (i, j) in enumerate(element.VOIGT):
        place[i, j] = place[j, i] = voigt
    full = tensor[place[:, :, None, None], place]
    full = np.einsum("ia,jb,kc,ld,abcd->ijkl", *4 * (rotation,), full)
    rows, columns = np.array(element.VOIGT).T
    want = full[rows[:, None], columns[:, None], rows, columns]
    assert abs(want - tensor).max() > 1e-3  # it is another tensor
    np.testing.assert_allclose(turned, want, rtol=0, atol=1e-12)


# A direct solution


@all_symmetries
@pytest.mark.parametrize("decades", [1, 6])
def test_all_loads_against_a_dense_matrix(x64, kind, decades):
    # The same equations, assembled and solved by elimination on the whole 8^3 cell.
    moduli = random_moduli(kind, 2, decades)
    want = oracles.dense_periodic(whole_cell(moduli, kind))
    tensor, info, _ = solve(moduli, kind, tol=1e-11)
    assert info.converged.all()
    # Elimination rounds by 1e-16 times the condition number, about 1e4 per 1e3 of
    # contrast; the iterative solution is better than that.
    np.testing.assert_allclose(tensor, want, rtol=0, atol=1e-10 * want.max())


# Convergence with the mesh


@pytest.mark.parametrize("finest", [16, pytest.param(32, marks=pytest.mark.slow)])
def test_the_error_of_a_smooth_cell_falls_with_the_square_of_the_mesh(finest):
    # Energies of linear elements converge as h^2 where the modulus is smooth, so each
    # halving divides the change by four.
    levels = []
    for n in (finest // 4, finest // 2, finest):
        stiff = homogenize.modulus(specimens.graded(n), penal=2.0).astype(np.float32)
        tensor, info, _ = solve(stiff, tol=1e-5)
        assert info.converged.all()
        levels.append(elasticity.voigt_to_cubic(np.asarray(tensor, float)))
    first, second = levels[0] - levels[1], levels[1] - levels[2]
    order = np.log2(first / second)
    # Higher orders of h leave less than a tenth with 4 elements per half wave on the
    # coarsest grid; float32 leaves 1e-7 of changes of 1e-4.
    np.testing.assert_allclose(order, 2, atol=0.1)


# The equations


def test_rigid_motions_of_an_element_store_no_energy():
    # Strain, and so energy, is blind to the three translations and, for small angles,
    # to the three rotations, and to nothing else.
    corners = np.array(element.CORNERS, float).T
    zero, one = np.zeros(8), np.ones(8)
    x, y, z = corners
    motions = np.array(
        [
            [one, zero, zero],
            [zero, one, zero],
            [zero, zero, one],
            [zero, -z, y],
            [z, zero, -x],
            [-y, x, zero],
        ]
    ).reshape(6, 24)
    stiffness = element.stiffness(NU)
    # 24 products of order one.
    np.testing.assert_allclose(stiffness @ motions.T, 0, atol=1e-14)
    assert np.linalg.matrix_rank(stiffness) == 24 - np.linalg.matrix_rank(motions)


@pytest.mark.parametrize("load", range(6))
def test_affine_fields_give_the_tractions_of_their_stress(load):
    # Uniform stress s pulls on a cube's faces with +-s n; a corner carries a quarter of
    # each of its three faces. These are the forces of the macro strain.
    i, j = element.VOIGT[load]
    gradient = np.zeros((3, 3))
    gradient[i, j] += 0.5
    gradient[j, i] += 0.5
    corners = np.array(element.CORNERS, float)
    force = element.stiffness(NU) @ (gradient @ corners.T).ravel()
    stress = np.zeros((3, 3))
    for voigt, (k, m) in enumerate(element.VOIGT):
        stress[k, m] = stress[m, k] = SOLID[voigt, load]
    want = stress @ (2 * corners - 1).T / 4
    np.testing.assert_allclose(force, want.ravel(), atol=1e-15)


def test_a_translation_of_the_start_changes_nothing(x64):
    # Periodic fields are unique up to rigid translations, which carry no energy.
    moduli, want = asymmetric_cell()
    shift = np.random.default_rng(0).standard_normal((6, 3, 1, 1, 1))
    start = jnp.asarray(np.broadcast_to(shift, (6, 3, 8, 8, 8)))
    tensor, info, _ = solve(moduli, "periodic", fields=start, tol=1e-11)
    assert info.converged.all()
    np.testing.assert_allclose(tensor, want, rtol=0, atol=1e-12)


def test_the_error_is_the_square_of_the_residual_and_from_above(x64):
    # C_ii is the minimum of the energy over all fluctuations, so unfinished fields give
    # too much, by the square of their error in the energy norm.
    stiff = homogenize.modulus(specimens.schwarz_p(8))
    exact = np.asarray(solve(stiff, tol=1e-12)[0])
    errors, residuals = [], []
    for steps in range(1, 9):
        tensor, info, _ = solve(stiff, tol=1e-12, maxiter=steps)
        errors.append(np.diag(tensor - exact)[[0, 3]])
        residuals.append(info.residual)
        # C12 as well, of either sign; an average stress would err by the residual.
        assert abs(tensor - exact).max() < float(info.residual.max()) ** 2
    errors, residuals = np.array(errors), np.array(residuals)
    assert (errors > 0).all() and (np.diff(errors, axis=0) < 0).all()
    for error, residual in zip(errors.T, residuals.T, strict=True):
        slope = np.polyfit(np.log(residual), np.log(error), 1)[0]
        # The ratio of residual and energy norm wanders a little from step to step.
        assert slope == pytest.approx(2, abs=0.25)


# The solver


@pytest.mark.parametrize(
    "sizes", [(8, 16), pytest.param((8, 16, 32), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", ["schwarz_p", "plates", "graded"])
def test_iterations_hardly_depend_on_the_mesh(name, sizes):
    # Multigrid reduces errors of every wavelength alike; without it the number of steps
    # doubles with n.
    counts = []
    for n in sizes:
        stiff = homogenize.modulus(getattr(specimens, name)(n)).astype(np.float32)
        _, info, _ = solve(stiff, tol=1e-5)
        assert info.converged.all()
        counts.append(int(info.iterations.max()))
    # They would grow twofold and fourfold.
    assert counts[-1] <= 1.5 * counts[0] + 1 and max(counts) <= 15


def random_free(load_cases, n, rng, count=None):
    """Random fields (l, 3, s) on (n + 1)^3 nodes, zero where a load fixes them."""
    masks = [
        boundary.free_mask(f, (n, n, n), np.float64, periodic=load_cases.periodic)
        for f in load_cases.fixed()
    ]
    masks = np.reshape(masks, (len(masks), 3, -1))
    shape = masks.shape if count is None else (count, *masks.shape)
    return masks * rng.standard_normal(shape)


@functools.lru_cache
def preconditioner(kind):
    """The jitted `moduli, forces (l, 3, s) -> corrections` on an 8^3 grid."""
    load_cases = boundary.loads(kind)
    periodic = {"periodic": load_cases.periodic}
    grids = multigrid.grids((8, 8, 8), Brick("modulus", NU))
    most = 3 * math.prod(load_cases.nodes(grids[-1].shape))
    setup, cycle = multigrid.make_multigrid(grids, most_free=most, **periodic)

    def run(moduli, forces):
        def one(fixed, force):
            free = multigrid.cell_masks(fixed, grids, moduli.dtype, **periodic)
            return cycle(setup(moduli[None], free), force)

        return device.each(one, jnp.asarray(load_cases.fixed()), forces)

    return quick_jit(run)


@all_symmetries
@pytest.mark.parametrize("decades", [3, 9])
def test_the_preconditioner_is_symmetric_and_positive_definite(x64, kind, decades):
    # Conjugate gradients need an inner product: <a, M b> = <b, M a> and <a, M a> > 0,
    # whatever the moduli, on forces that fields can balance.
    load_cases = boundary.loads(kind)
    rng = np.random.default_rng(3)
    moduli = jnp.asarray(10 ** (-decades * rng.random((8, 8, 8))))
    forces = random_free(load_cases, 8, rng, count=6)
    if kind == "periodic":
        mean = forces.sum(-1, keepdims=True) / 8**3
        forces = np.where(forces == 0, 0, forces - mean)  # images carry none
    moved = np.stack([preconditioner(kind)(moduli, jnp.asarray(b)) for b in forces])
    gram = np.einsum("alcs,blcs->lab", forces, moved)
    for matrix in gram:
        scale = np.sqrt(np.diag(matrix))
        matrix = matrix / np.outer(scale, scale)
        # Corrections in the softest elements exceed those in the stiffest by the
        # contrast: that many digits may go in the sums. Periodic cells have a singular
        # coarsest matrix, which costs a few digits as well.
        assert abs(matrix - matrix.T).max() < 1e-8 + 10.0 ** (decades - 13)
        assert np.linalg.eigvalsh(matrix + matrix.T).min() > 0
