"""Boxes of any edges, phases of any materials and windows, against assembled solves.

All 21 constants are compared, relative to the largest of them.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from fem_helpers import quick_jit

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.errors import InputError
from mmdiff.fem import boundary, fields, homogenize, phases
from mmdiff.fem.brick import UNIT, Brick
from mmdiff.fem.tensor import make_general_solver, make_solver

SMALL, SHAPE = (4, 5, 6), (5, 6, 7)  # solved on one grid, on two
UNEQUAL = (1.0, 0.8, 1.3)
slow = pytest.mark.slow


def _phases(shape, seed=0, soft=1e-2):
    """Blocks of three phases of different Poisson's ratios, without any symmetry."""
    block = -(-min(shape) // 4)
    coarse = np.random.default_rng(seed).integers(0, 3, [-(-n // block) for n in shape])
    x, y, z = shape
    labels = np.kron(coarse, np.ones(3 * (block,), int))[:x, :y, :z]
    return np.array([1.0, 0.3, soft])[labels], np.array([0.3, 0.45, -0.2])[labels]


@functools.lru_cache
def _solver(shape, kind, edges):
    """Return `moduli, ratios, void -> (C, info)` and that as a compiled function."""
    brick = Brick("isotropic", edges=edges)
    solve = make_general_solver(shape, kind, brick=brick)

    def run(young, poisson, void):
        rest = jnp.stack(phases.lame(*void))
        coefficients = jnp.stack(phases.lame(young, poisson))
        tol = 1e-9 if young.dtype == jnp.float64 else 1e-6
        return solve(coefficients, rest=rest, tol=tol, maxiter=200)

    return run, quick_jit(run)


def _solve(young, poisson, kind="periodic", edges=UNIT, void=(0.0, 0.0)):
    """The tensor of phases and what is reported, compiled in a hurry."""
    _, run = _solver(young.shape, kind, edges)
    void = np.array(void, young.dtype)
    tensor, info = run(*map(jnp.asarray, (young, poisson, void)))
    assert info.converged.all()
    return np.asarray(tensor), info


def _check(tensor, want):
    np.testing.assert_allclose(tensor, want, rtol=0, atol=1e-7 * abs(want).max())
    constants = abs(want) > 1e-3 * abs(want).max()
    np.testing.assert_allclose(tensor[constants], want[constants], rtol=1e-5)


def _largest_shear_coupling(tensor):
    return abs(tensor[:3, 3:]).max() / abs(tensor).max()


# Cells


@pytest.mark.parametrize(
    "shape, edges",
    [
        (SHAPE, UNEQUAL),
        ((4, 4, 11), UNIT),
        pytest.param((7, 11, 13), (1.0, 1.0, 2.5), marks=slow),
        pytest.param((20, 24, 30), UNIT, marks=slow),
        pytest.param((4, 24, 9), (1.0, 0.1, 0.4), marks=slow),
    ],
)
def test_anisotropic_cells_of_phases(x64, shape, edges):
    young, poisson = _phases(shape)
    tensor, info = _solve(young, poisson, edges=edges)
    want = oracles.effective(oracles.isotropic(young, poisson), edges)
    assert _largest_shear_coupling(want) > 1e-3
    _check(tensor, want)
    assert info.iterations.max() <= 30


def test_the_function_for_phases(x64):
    young, poisson = _phases(SMALL)
    want = oracles.effective(oracles.isotropic(young, poisson), UNEQUAL)
    options = {"tol": 1e-9, "edges": UNEQUAL}
    # In any unit, and of lists as well.
    ratios = poisson.tolist()
    tensor, info = phases.homogenize_phases(70e9 * young, ratios, **options)
    _check(tensor / 70e9, want)
    assert info.fields.shape == (6, 3, *SMALL) and not info.singular.any()
    options["fields"] = info.fields
    again, warm = phases.homogenize_phases(70e9 * young, poisson, **options)
    assert warm.iterations.max() <= 1
    _check(again / 70e9, want)


def test_only_ratios_of_edges_count(x64):
    young, poisson = _phases(SMALL)
    want, _ = _solve(young, poisson, edges=UNEQUAL)
    larger, _ = _solve(young, poisson, edges=tuple(3.0 * edge for edge in UNEQUAL))
    np.testing.assert_allclose(larger, want, rtol=0, atol=1e-9)


def test_the_function_for_densities(x64):
    density = np.random.default_rng(3).random(SMALL)
    tensor, info = homogenize.homogenize(
        density, symmetry="periodic", edges=UNEQUAL, nu=0.2, tol=1e-9, void=1e-3
    )
    stiff = homogenize.modulus(density, 1e-3)
    want = oracles.effective(oracles.isotropic(stiff, 0.2), UNEQUAL)
    assert info.converged.all()
    _check(tensor, want)


def test_single_precision_of_a_box():
    young, poisson = (x.astype(np.float32) for x in _phases(SHAPE))
    tensor, info = _solve(young, poisson, edges=UNEQUAL)
    assert tensor.dtype == info.fields.dtype == np.float32
    want = oracles.effective(oracles.isotropic(*_phases(SHAPE)), UNEQUAL)
    np.testing.assert_allclose(tensor, want, rtol=0, atol=2e-6)


def test_axes_may_be_exchanged(x64):
    young, poisson = _phases(SHAPE)
    want, _ = _solve(young, poisson, edges=UNEQUAL)
    turned = [np.moveaxis(x, 0, 2) for x in (young, poisson)]  # y, z, x
    got, _ = _solve(*turned, edges=(*UNEQUAL[1:], UNEQUAL[0]))
    order = [1, 2, 0, 4, 5, 3]
    np.testing.assert_allclose(got, want[np.ix_(order, order)], rtol=0, atol=1e-8)


def test_one_ratio_is_the_same_for_both_kinds_of_bricks(x64):
    young, _ = _phases(SHAPE)
    want, _ = _solve(young, np.full(SHAPE, 0.3), edges=UNEQUAL)
    run = make_solver(SHAPE, "periodic", edges=UNEQUAL)
    tensor, _ = quick_jit(lambda e: run(e, tol=1e-9))(jnp.asarray(young))
    np.testing.assert_allclose(tensor, want, rtol=0, atol=1e-8)


# Octants


@pytest.mark.parametrize(
    "shape, edges", [(SHAPE, UNEQUAL), pytest.param((7, 5, 9), UNIT, marks=slow)]
)
def test_an_octant_is_its_mirrored_cell(x64, shape, edges):
    young, poisson = _phases(shape, 1)
    tensor, info = _solve(young, poisson, "orthotropic", edges)
    tensors = oracles.isotropic(*(octant_to_cell(x) for x in (young, poisson)))
    want = oracles.effective(tensors, edges)
    _check(tensor, want)
    np.testing.assert_array_equal(tensor[:3, 3:], 0)
    assert info.fields.shape == (6, 3, *(n + 1 for n in shape))


def test_fields_of_a_box_add_up_to_its_tensor(x64):
    young, poisson = _phases(SHAPE, 1)
    brick = Brick("isotropic", edges=UNEQUAL)
    coefficients = jnp.stack(phases.lame(*map(jnp.asarray, (young, poisson))))
    for kind in ("orthotropic", "mixed"):
        tensor, info = _solve(young, poisson, kind, UNEQUAL)
        options = {"symmetry": kind, "brick": brick}
        energy = fields.strain_energy(coefficients, info.fields, **options)
        assert energy.shape == (6, *SHAPE)
        np.testing.assert_allclose(
            np.mean(energy, (1, 2, 3)), np.diag(tensor) / 2, rtol=1e-12
        )
        assert fields.on_cell(energy, "orthotropic").shape == (6, 10, 12, 14)
        strain = fields.strain(info.fields, symmetry=kind, edges=UNEQUAL)
        mean = fields.strain_on_cell(strain, "orthotropic").mean((2, 3, 4))
        np.testing.assert_allclose(mean, np.eye(6), atol=1e-13)
    # Displacements have these strains.
    u = fields.displacement(info.fields, symmetry="mixed", edges=UNEQUAL)
    slope = np.diff(u[0, 0], axis=0).mean() * SHAPE[0]
    np.testing.assert_allclose(slope, strain[0, 0].mean(), rtol=1e-12)
    jump = (u[2, 2, :, :, -1] - u[2, 2, :, :, 0]) * SHAPE[0] / SHAPE[2]
    np.testing.assert_allclose(jump, UNEQUAL[2], rtol=1e-12)


# Windows


@pytest.mark.parametrize("kind", ["kinematic", "mixed"])
@pytest.mark.parametrize(
    "shape, edges", [(SHAPE, UNEQUAL), pytest.param((11, 8, 9), UNIT, marks=slow)]
)
def test_windows(x64, kind, shape, edges):
    young, poisson = _phases(shape, 1)
    tensor, _ = _solve(young, poisson, kind, edges)
    want = oracles.effective(oracles.isotropic(young, poisson), edges, kind)
    assert _largest_shear_coupling(want) > 1e-3
    _check(tensor, want)
    np.testing.assert_allclose(tensor, tensor.T, rtol=0, atol=1e-14)


def test_the_less_is_held_the_softer_is_a_window(x64):
    for seed in range(3):
        moduli = _phases(SHAPE, seed, soft=1e-4)
        kinematic, mixed = (
            _solve(*moduli, kind, UNEQUAL)[0] for kind in ("kinematic", "mixed")
        )
        voigt = oracles.isotropic(*moduli).mean((0, 1, 2))
        assert np.linalg.eigvalsh(voigt - kinematic)[0] > -1e-9
        # Normal strains share their boundary conditions, shear strains do not.
        softer = kinematic - mixed
        assert np.linalg.eigvalsh(softer[:3, :3])[0] > -1e-9
        assert np.diag(softer).min() > -1e-9
        # Mirrors couple no shear; all else is the same.
        mirrored, _ = _solve(*moduli, "orthotropic", UNEQUAL)
        np.testing.assert_allclose(np.diag(mirrored), np.diag(mixed), rtol=1e-7)
        np.testing.assert_allclose(mirrored[:3, :3], mixed[:3, :3], rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["kinematic", "mixed", "orthotropic"])
def test_uniform_windows_are_their_material(x64, kind):
    young, poisson = np.full(SHAPE, 0.7), np.full(SHAPE, 0.1)
    tensor, info = _solve(young, poisson, kind, UNEQUAL)
    want = oracles.isotropic(0.7, 0.1)
    np.testing.assert_allclose(tensor, want, rtol=0, atol=1e-13)
    assert info.iterations.max() == 0


# Derivatives


@pytest.mark.parametrize("kind", ["periodic", "kinematic", "mixed"])
def test_gradients_in_both_moduli_are_those_of_differences(x64, kind):
    young, poisson = _phases(SHAPE)
    rng = np.random.default_rng(4)
    weights = rng.standard_normal((6, 6))
    run, _ = _solver(SHAPE, kind, UNEQUAL)

    @quick_jit
    def slopes(*moduli):
        def value(*moduli):
            return (weights * run(*moduli, jnp.zeros(2))[0]).sum()

        return jax.grad(value, (0, 1))(*moduli)

    for i, slope in enumerate(slopes(young, poisson)):
        way = rng.standard_normal(SHAPE) * young
        ends = []
        for step in (1e-4, -1e-4):
            moved = [young, poisson]
            moved[i] = moved[i] + step * way
            ends.append((weights * _solve(*moved, kind, UNEQUAL)[0]).sum())
        want = (ends[0] - ends[1]) / 2e-4
        # Truncation h^2 = 1e-8.
        assert float((slope * way).sum()) == pytest.approx(want, rel=1e-6)


@slow
def test_gradients_of_the_function_for_phases(x64):
    labels = np.random.default_rng(5).integers(0, 2, SHAPE)

    def value(young, ratio):
        moduli = young[labels], ratio[labels]
        tensor, _ = phases.homogenize_phases(*moduli, tol=1e-9, edges=UNEQUAL)
        return tensor[0, 0] + tensor[4, 4] + tensor[0, 4]

    table = jnp.array([2.0, 0.1]), jnp.array([0.1, 0.4])
    slopes = jax.grad(value, (0, 1))(*table)
    for i, k in ((0, 0), (0, 1), (1, 0), (1, 1)):
        ends = []
        for step in (1e-4, -1e-4):
            moved = list(table)
            moved[i] = moved[i].at[k].add(step)
            ends.append(float(value(*moved)))
        want = (ends[0] - ends[1]) / 2e-4
        assert float(slopes[i][k]) == pytest.approx(want, rel=1e-5)
    # C is homogeneous of degree one in the moduli (Euler).
    assert float(slopes[0] @ table[0]) == pytest.approx(float(value(*table)), rel=1e-7)


# Reports


def test_what_has_no_path_for_a_load_is_marked(x64):
    # A plate normal to z in a soft phase, which may stand for void or not.
    void = 1e-6, 0.1
    young, poisson = np.full(SMALL, void[0]), np.full(SMALL, void[1])
    young[:, :, :3], poisson[:, :, :3] = 1, 0.3
    _, info = _solve(young, poisson, edges=UNEQUAL, void=void)
    np.testing.assert_array_equal(
        info.singular, [False, False, True, True, True, False]
    )
    options = {"tol": 1e-9, "edges": UNEQUAL}
    _, info = phases.homogenize_phases(5 * young, poisson, **options)
    assert not info.singular.any()
    void = 5 * void[0], void[1]
    _, info = phases.homogenize_phases(5 * young, poisson, void=void, **options)
    np.testing.assert_array_equal(
        info.singular, [False, False, True, True, True, False]
    )


# Refusals


@pytest.mark.parametrize(
    "shape, options, message",
    [
        ((8, 8), {}, r"density has shape \(8, 8\); three axes are needed"),
        ((8, 3, 8), {}, r"shape \(8, 3, 8\); 4 voxels or more are needed along each"),
        ((5, 6, 7), {"symmetry": "cubic"}, r"needs three equal edges.*orthotropic"),
        (
            (4, 4, 4),
            {"symmetry": "cubic", "edges": UNEQUAL},
            r"voxels of edges \(1.0, 0.8, 1.3\).*needs three equal edges",
        ),
        ((4, 4, 4), {"edges": (1.0, 0.0, 1.0)}, "must be three positive numbers"),
        ((4, 4, 4), {"edges": (1.0, np.inf, 1.0)}, "must be three positive numbers"),
        ((4, 4, 4), {"symmetry": "static"}, "symmetry 'static' is unknown"),
    ],
)
def test_wrong_grids_are_named(shape, options, message):
    options = {"symmetry": "periodic"} | options
    with pytest.raises(InputError, match=message):
        homogenize.homogenize(np.ones(shape, np.float32), **options)
    with pytest.raises(InputError, match=message):
        phases.homogenize_phases(np.ones(shape), np.zeros(shape), **options)
    if len(shape) == 3:
        with pytest.raises(InputError, match=message):
            homogenize.make_homogenizer(shape, **options)


@pytest.mark.parametrize(
    "young, poisson, message",
    [
        (0.0, 0.3, r"Young's modulus has values from 0 to 1; .*\(0, inf\).*1e-6"),
        (-1.0, 0.3, r"Young's modulus has values from -1 to 1"),
        (np.nan, 0.3, "Young's modulus has values from nan"),
        (np.inf, 0.3, "Young's modulus has values from 1 to inf"),
        (1.0, 0.5, r"Poisson's ratio has values from 0.2 to 0.5; .*\(-1, 0.5\)"),
        (1.0, -1.0, r"Poisson's ratio has values from -1 to 0.2"),
    ],
)
def test_wrong_moduli_are_named(young, poisson, message):
    moduli, ratios = np.ones((4, 5, 6), np.float32), np.full((4, 5, 6), np.float32(0.2))
    moduli[1, 2, 3], ratios[1, 2, 3] = young, poisson
    for xp in (np, jnp):
        with pytest.raises(InputError, match=message):
            phases.homogenize_phases(xp.asarray(moduli), xp.asarray(ratios))


def test_fields_of_both_moduli_must_fit():
    with pytest.raises(InputError, match=r"\(4, 5, 6\) and \(4, 5, 7\)\. Give one"):
        phases.homogenize_phases(np.ones((4, 5, 6)), np.zeros((4, 5, 7)))
    start = np.zeros((6, 3, 4, 4, 4))
    with pytest.raises(InputError, match=r"4x5x6 elements needs \(6, 3, 4, 5, 6\)"):
        phases.homogenize_phases(np.ones((4, 5, 6)), np.zeros((4, 5, 6)), fields=start)
    expected = boundary.loads("mixed").field_shape((4, 5, 6))
    with pytest.raises(InputError, match=r"a mixed solve .*needs \(6, 3, 5, 6, 7\)"):
        homogenize.homogenize(np.ones((4, 5, 6)), symmetry="mixed", fields=start)
    assert expected == (6, 3, 5, 6, 7)
