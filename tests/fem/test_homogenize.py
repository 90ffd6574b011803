"""Effective tensors against references, derivatives, reports and refusals.

What mechanics says of them stands in test_validation.py.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from fem_helpers import (
    GRIDS,
    quick_jit,
    random_binary,
    random_octant,
    smooth_octant,
    solve,
    strut_octant,
)

from mmdiff import elasticity
from mmdiff.cells import symmetry, voxels
from mmdiff.data.recipe import Recipe
from mmdiff.design.bench import specimens
from mmdiff.fem import boundary, homogenize, stencil
from mmdiff.fem.brick import Brick
from mmdiff.run.environment import CompileClock

SOLID = elasticity.cubic_to_voigt(elasticity.isotropic())

# Cubic constants of the `specimens` with n^3 voxels, penal 3, from a sparse
# direct solution of the full periodic cell in float64.
REFERENCE = {
    ("schwarz_p", 16, 1e-6): (0.11851941437, 0.011292654212, 0.019401881841),
    ("schwarz_p", 16, 1e-9): (0.1185173971, 0.011291773769, 0.019401272651),
    ("graded", 16, 1e-6): (0.017714631116, 0.0011313991114, 0.0029762312862),
    ("graded", 16, 1e-9): (0.017709872318, 0.0011288465035, 0.0029752210077),
    ("schwarz_p", 32, 1e-6): (0.12339766561, 0.012124337742, 0.020190275591),
    ("schwarz_p", 32, 1e-9): (0.12339577806, 0.012123465993, 0.020189683826),
    ("graded", 32, 1e-6): (0.016965530854, 0.0010890665464, 0.0028534012121),
    ("graded", 32, 1e-9): (0.016960680493, 0.0010864227368, 0.0028523734587),
}


def _reference_octant(name, n, void):
    density = getattr(specimens, name)(n // 2)
    return homogenize.modulus(density, void, 3.0)


@pytest.mark.parametrize("name, n, void", REFERENCE)
def test_reference_in_float32(name, n, void):
    stiff = _reference_octant(name, n, void).astype(np.float32)
    tensor, info, _ = solve(stiff, tol=homogenize.TOL)
    assert tensor.dtype == jnp.float32 and info.converged.all()
    want = REFERENCE[name, n, void]
    # The accuracy the README promises, at the default tolerance.
    np.testing.assert_allclose(
        elasticity.voigt_to_cubic(tensor), want, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("name, n, void", REFERENCE)
def test_reference_in_float64(x64, name, n, void):
    tensor, info, _ = solve(_reference_octant(name, n, void), tol=1e-10)
    assert tensor.dtype == jnp.float64 and info.converged.all()
    want = elasticity.cubic_to_voigt(np.array(REFERENCE[name, n, void]))
    # The accuracy asked of the float64 path; zeros are exact.
    np.testing.assert_allclose(tensor, want, rtol=1e-8, atol=0)


@pytest.mark.parametrize("times", [2, 3])
def test_repeating_the_cell_changes_nothing(x64, times):
    # Three repetitions make an octant of 12 and a coarsest grid of 3 elements.
    octant = random_octant(4, 4, low=1e-2)
    want, _, _ = solve(octant, tol=1e-11)
    repeated = np.tile(symmetry.octant_to_cell(octant), 3 * (times,))
    tensor, info, _ = solve(repeated[: 4 * times, : 4 * times, : 4 * times], tol=1e-11)
    assert info.converged.all()
    # Sums of up to 27 times as many terms.
    np.testing.assert_allclose(tensor, want, rtol=0, atol=1e-12)


def test_uniform_cell_in_float32_needs_no_iteration():
    for stiff in (1.0, 1e-6):
        tensor, info, _ = solve(np.full((8, 8, 8), stiff, np.float32), tol=1e-5)
        # Three float32 sums of 8 terms; a single loop over all 512 errs by 4e-6.
        np.testing.assert_allclose(tensor, stiff * SOLID, rtol=1e-6)
        assert info.iterations.max() == 0 and info.converged.all()


def test_poisson_ratio_of_the_base_material(x64):
    octant = random_octant(4, 3, low=0.01)
    run = quick_jit(homogenize.make_solver(4, nu=0.2))
    tensor, _ = run(jnp.asarray(octant), tol=1e-11)
    want = oracles.dense_periodic(symmetry.octant_to_cell(octant), nu=0.2)
    np.testing.assert_allclose(tensor, want, rtol=0, atol=1e-12)


def test_stiffness_scales_with_the_base_material(x64):
    stiff = random_octant(4, 5, low=0.01)
    one, _, _ = solve(stiff)
    many, _, _ = solve(210e9 * stiff)
    np.testing.assert_allclose(many, 210e9 * one, rtol=1e-12)


@pytest.mark.parametrize("kind, n", [*GRIDS.items(), ("cubic", 8)])
def test_gradient_is_the_directional_derivative(x64, kind, n):
    rng = np.random.default_rng(0)
    shape = (n, n, n)
    # A cubic octant may only be varied within its symmetry.
    direction = random_octant(n, 7) - 0.5
    if kind != "cubic":
        direction = rng.standard_normal(shape)
    density = random_octant(n, 8, low=0.3)
    weights = rng.standard_normal((6, 6))

    def value(step):
        stiff = homogenize.modulus(density + step * direction)
        tensor, _, gradient = solve(stiff, kind, weights=weights, tol=1e-11)
        return float(np.sum(weights * tensor)), gradient

    _, gradient = value(0.0)
    slope = 3 * density**2 * (1 - homogenize.VOID)
    got = float(np.sum(gradient * slope * direction))
    h = 1e-4
    want = (value(h)[0] - value(-h)[0]) / (2 * h)
    # Truncation h^2 = 1e-8, rounding 1e-16 / h = 1e-12; 1e-6 is what is promised.
    assert got == pytest.approx(want, rel=1e-6)


def test_gradient_of_one_voxel_is_its_energy(x64):
    octant = random_octant(4, 9, low=0.1)
    weights = np.zeros((6, 6))
    weights[:3, :3] = 1 / 9  # bulk modulus
    _, _, gradient = solve(octant, weights=weights)
    assert (np.asarray(gradient) > 0).all()
    # C is homogeneous of degree one in the moduli (Euler).
    tensor, _, _ = solve(octant)
    # Two sums of 64 terms, with fields of residual 1e-10.
    assert np.sum(gradient * octant) == pytest.approx(np.sum(tensor[:3, :3]) / 9)


def test_unmet_tolerance_is_reported():
    stiff = _reference_octant("schwarz_p", 16, 1e-6).astype(np.float32)
    tensor, info, _ = solve(stiff, tol=1e-5, maxiter=1)
    assert not info.converged.any()
    np.testing.assert_array_equal(info.iterations, 1)
    assert (info.residual > 1e-5).all() and np.isfinite(tensor).all()


def test_converged_means_below_the_tolerance():
    # Smooth cells have small loads, near the rounding of float32.
    for contrast, tol in itertools.product((1.0, 1e-2, 1e-4), (1e-4, 1e-5, 1e-6)):
        stiff = 0.5 + contrast * (_reference_octant("graded", 32, 1e-6) - 0.5)
        _, info, _ = solve(stiff.astype(np.float32), tol=tol)
        # Storing the fields in float32 leaves 1e-5 at this size.
        assert info.converged.all() and (info.residual <= tol + 1e-5).all()


@pytest.mark.parametrize("void", [1e-3, 1e-9])
def test_the_residual_is_that_of_the_fields(x64, void):
    # Forces of the macro strain and of the fluctuation, by the plain operator.
    stiff = _reference_octant("schwarz_p", 16, void).astype(np.float32)
    node = np.stack(np.indices((9, 9, 9))).astype(float)
    affine = np.zeros((2, 3, 9, 9, 9))
    affine[0, 0] = node[0]  # load 11
    affine[1, 1], affine[1, 2] = node[2] / 2, node[1] / 2  # load 23
    fixed = boundary.loads("cubic").fixed()

    def relative_residual(stiff, fields):
        def force(u):
            masks = [
                boundary.free_mask(f, (8, 8, 8), stiff.dtype, periodic=False)
                for f in fixed
            ]
            return stencil.plain_apply(stiff[None], u, Brick()) * jnp.stack(masks)

        b, r = force(affine), force(affine + fields)
        return jnp.sqrt((r**2).sum((1, 2, 3, 4)) / (b**2).sum((1, 2, 3, 4)))

    check = quick_jit(relative_residual)
    for tol in (1e-3, 1e-5):
        _, info, _ = solve(stiff, tol=tol)
        want = check(stiff.astype(np.float64), info.fields.astype(np.float64))
        # The float32 evaluation has rounding of its own, of the same 1e-6.
        np.testing.assert_allclose(info.residual, want, rtol=0.01, atol=1e-6)


def _corner(n, kind):
    """An island: a block about the lattice points, or anywhere in a whole cell."""
    cell = np.zeros((n, n, n))
    cell[: n // 2, : n // 2, : n // 2] = 1
    return np.roll(cell, 3, (0, 1, 2)) if kind == "periodic" else cell


def _plate(n, kind):
    """A plate normal to z, apart from its images."""
    cell = np.zeros((n, n, n))
    cell[:, :, : n // 2] = 1
    return cell


def _frame(n, kind):
    cell = strut_octant(n // 2, 2) if kind == "periodic" else strut_octant(n, 2)
    return symmetry.octant_to_cell(cell) if kind == "periodic" else cell


def _with_void(density, kind, void, tol):
    stiff = homogenize.modulus(density, density.dtype.type(void), 3.0)
    tensor, info, _ = solve(stiff, kind, tol=tol, maxiter=300, void=void)
    return tensor, info


NO_PATH = {"corner": (0, 1, 2, 3, 4, 5), "plate": (2, 3, 4), "frame": ()}


@pytest.mark.parametrize("dtype, tol", [(np.float32, 1e-5), (np.float64, 1e-9)])
@pytest.mark.parametrize("kind", GRIDS)
def test_cells_without_a_load_path_are_marked(x64, kind, dtype, tol):
    for make, void in itertools.product((_corner, _plate, _frame), (1e-3, 1e-6, 1e-9)):
        if kind == "cubic" and make is _plate:
            continue
        density = make(GRIDS[kind], kind).astype(dtype)
        tensor, info = _with_void(density, kind, void, tol)
        assert info.converged.all() and info.singular.shape == info.converged.shape
        assert tensor.dtype == dtype and np.isfinite(tensor).all()
        no_path = NO_PATH[make.__name__[1:]]
        for load, singular in zip(
            boundary.loads(kind).voigt, info.singular, strict=True
        ):
            assert bool(singular) == (load in no_path), (make, void, load)
            # Some more than the void alone, half as thick as the cell; in float32 the
            # energy of strains of 3e-4 that rounding puts into a loose solid.
            soft = 10 * void + (1e-7 if dtype == np.float32 else 0)
            assert tensor[load, load] > 0 and (
                not singular or tensor[load, load] < soft
            )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", GRIDS)
def test_void_is_singular_and_solid_is_not(x64, kind, dtype):
    for full, void in itertools.product((0.0, 1.0), (1e-3, 1e-9)):
        density = np.full(3 * (GRIDS[kind],), full, dtype)
        tensor, info = _with_void(density, kind, void, 1e-5)
        want = (1.0 if full else void) * SOLID
        # Rounding of sums of eight terms, three times; zeros are exact.
        np.testing.assert_allclose(tensor, want, rtol=8 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(info.iterations, 0)
        np.testing.assert_array_equal(info.residual, 0)
        assert info.converged.all()
        np.testing.assert_array_equal(info.singular, full == 0)


def test_periodic_cells_converge_in_float32(x64):
    # Rounding puts a mean force on the cell, which no periodic field can balance.
    stiff = homogenize.modulus(symmetry.octant_to_cell(specimens.graded(4)))
    stiff = stiff.astype(np.float32)
    tensor, info, _ = solve(stiff, "periodic", tol=1e-6)
    assert info.converged.all() and info.iterations.max() < 20
    want, _, _ = solve(stiff.astype(float), "periodic")
    np.testing.assert_allclose(tensor, want, rtol=0, atol=1e-6)


def test_warm_start_saves_iterations():
    stiff = _reference_octant("schwarz_p", 16, 1e-6).astype(np.float32)
    cold, info, _ = solve(stiff, tol=1e-5)
    again, same, _ = solve(stiff, tol=1e-5, fields=info.fields)
    # The true residual of a float32 solution is not much above the reported one.
    assert same.iterations.max() <= 2
    np.testing.assert_allclose(again, cold, atol=1e-7)
    softer = stiff * (1 - 0.01 * random_octant(8).astype(np.float32))
    warm, warm_info, _ = solve(softer, tol=1e-5, fields=info.fields)
    cold, cold_info, _ = solve(softer, tol=1e-5)
    assert (warm_info.iterations < cold_info.iterations).all()
    # Both met the tolerance; the error of C is quadratic in it.
    np.testing.assert_allclose(warm, cold, atol=1e-7)


def test_start_fields_need_not_meet_the_boundary_conditions(x64):
    stiff = random_octant(4, 10, low=0.1)
    want, info, _ = solve(stiff)
    noise = np.random.default_rng(0).standard_normal(info.fields.shape)
    got, info, _ = solve(stiff, fields=jnp.asarray(noise), tol=1e-11)
    assert info.converged.all()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


def test_members_of_a_batch_are_those_of_a_loop(x64):
    stiffs = [random_binary(8, 1), np.ones((8, 8, 8)), random_octant(8, 2, low=0.3)]
    solver = homogenize.make_solver(8)

    def first(stiff):
        tensor, info = solver(stiff, tol=1e-6)
        return tensor[0, 0], (tensor, info.iterations, info.fields)

    run = quick_jit(jax.vmap(jax.value_and_grad(first, has_aux=True)))
    (_, (tensors, steps, fields)), gradients = run(np.stack(stiffs))
    weights = np.zeros((6, 6))
    weights[0, 0] = 1
    for i, stiff in enumerate(stiffs):
        tensor, info, gradient = solve(stiff, weights=weights, tol=1e-6)
        # Not a step more than alone: another one would change the sixth digit.
        np.testing.assert_array_equal(steps[i], info.iterations)
        np.testing.assert_allclose(fields[i], info.fields, rtol=0, atol=1e-10)
        # Products are summed in another order.
        np.testing.assert_allclose(tensors[i], tensor, rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(gradients[i], gradient, rtol=1e-6, atol=1e-9)
    assert len(set(np.asarray(steps[:, 0]).tolist())) == 3


# As the dataset labels its cells, so that its tests share one compiled function.
LABEL = {"void": Recipe.void, "tol": Recipe.tol, "maxiter": Recipe.maxiter}


def test_batches_give_the_constants_of_single_cells():
    octants = [voxels.threshold_to_volume(smooth_octant(8, s), 0.4) for s in range(3)]
    density = np.stack([*octants, np.ones((8, 8, 8))]).astype(np.float32)
    density[1, 0, 0, 0] = np.nan
    run = homogenize.batched_homogenizer(8, **LABEL)
    constants, residual, converged = run(density)
    assert constants.shape == (4, 3) and residual.shape == converged.shape == (4,)
    # A bad member is found, and does not touch the others.
    np.testing.assert_array_equal(converged, [True, False, True, True])
    for i in (0, 2):
        assert residual[i] <= LABEL["tol"]
        tensor, _, _ = solve(homogenize.modulus(density[i]), tol=LABEL["tol"])
        # Two float32 solves of the same tolerance; its square is below rounding.
        want = elasticity.voigt_to_cubic(tensor)
        np.testing.assert_allclose(constants[i], want, rtol=0, atol=1e-6)
    # float32 sums of equal terms.
    np.testing.assert_allclose(constants[3], elasticity.isotropic(), rtol=1e-6)
    # The program is made once.
    assert homogenize.batched_homogenizer(8, **LABEL) is run


def test_homogenize_compiles_once_for_all_cells():
    density = _reference_octant("schwarz_p", 16, 0.0).astype(np.float32)
    tensor, info = homogenize.homogenize(density)
    want = REFERENCE["schwarz_p", 16, 1e-6]
    np.testing.assert_allclose(
        elasticity.voigt_to_cubic(tensor), want, rtol=0, atol=1e-6
    )
    assert info.converged.all() and not info.singular.any()
    options = [
        {"void": 1e-3},
        {"void": np.float64(1e-3), "tol": 1e-3, "maxiter": 7},
        {"penal": 1, "maxiter": np.int32(100)},
        {"fields": info.fields},
        {"fields": np.asarray(info.fields, np.float64)},
    ]
    with CompileClock() as clock:
        for other in (1 - density, random_octant(8), density > 0):
            homogenize.homogenize(other)
        outcomes = [homogenize.homogenize(density, **option)[1] for option in options]
    # Conversions of the arguments may compile; the solver takes seconds.
    assert clock.seconds < 1
    assert (outcomes[1].iterations < info.iterations).all()
    assert outcomes[3].iterations.max() <= 1


def test_integer_cells_are_taken_as_densities():
    # The same compiled function as in the test above.
    binary = specimens.schwarz_p(8)
    want, _ = homogenize.homogenize(binary.astype(np.float32))
    got, _ = homogenize.homogenize(binary.astype(np.uint8))
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "shape, message",
    [
        ((8, 8, 4), r"density has shape \(8, 8, 4\) with .* needs three equal edges"),
        ((8, 8), r"density has shape \(8, 8\)"),
        ((3, 3, 3), r"shape \(3, 3, 3\); 4 voxels or more.*Repeat the cell, or divide"),
        ((8, 8, 8, 1), r"density has shape \(8, 8, 8, 1\); three axes"),
    ],
)
def test_wrong_shapes_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        homogenize.homogenize(np.ones(shape, np.float32))


def test_octant_without_cubic_symmetry_is_refused():
    octant = np.random.default_rng(0).random((8, 8, 8)).astype(np.float32)
    with pytest.raises(ValueError, match='use symmetry="orthotropic"'):
        homogenize.homogenize(octant)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: 255 * d, r"density holds values from 0 to 255; .* divide by 255"),
        (lambda d: d - 0.5, "density holds values from -0.5 to 0.5"),
        (lambda d: np.where(d > 0, d, np.nan), "density holds NaN"),
    ],
)
def test_wrong_values_are_named(change, message):
    density = strut_octant(8, 2).astype(np.float32)
    for array in (change(density), jnp.asarray(change(density))):
        with pytest.raises(ValueError, match=message):
            homogenize.homogenize(array)


@pytest.mark.parametrize("void", [0, -1.0, 1.5])
def test_void_must_be_some_stiffness(void):
    with pytest.raises(ValueError, match=r"void=.* must lie in \(0, 1\]"):
        homogenize.homogenize(np.ones((8, 8, 8), np.float32), void=void)


def test_fields_of_another_grid_are_refused():
    with pytest.raises(ValueError, match=r"needs \(2, 3, 9, 9, 9\)"):
        homogenize.homogenize(
            np.ones((8, 8, 8), np.float32), fields=np.zeros((2, 3, 8, 8, 8))
        )


def test_float64_needs_the_x64_mode():
    tensor, _ = homogenize.homogenize(np.ones((8, 8, 8)))
    assert tensor.dtype == jnp.float32


def test_unknown_symmetry_is_named():
    with pytest.raises(ValueError, match="symmetry 'tetragonal' is unknown"):
        homogenize.homogenize(np.ones((8, 8, 8), np.float32), symmetry="tetragonal")


def test_modulus_interpolates_between_void_and_solid():
    got = homogenize.modulus(np.array([0.0, 0.5, 1.0]), 1e-3, 2.0)
    np.testing.assert_allclose(got, [1e-3, 1e-3 + 0.25 * (1 - 1e-3), 1])
