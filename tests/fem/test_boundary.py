"""Boundary conditions from the parity of the fields, and periodic images."""

import functools
import itertools

import jax
import numpy as np
import pytest
from fem_helpers import quick_jit

from mmdiff.fem import boundary, element

SHAPE = (3, 5, 4)
NODES = tuple(n + 1 for n in SHAPE)


def test_unknown_symmetry_is_named():
    with pytest.raises(ValueError, match="symmetry 'hexagonal' is unknown"):
        boundary.loads("hexagonal")


@pytest.mark.parametrize(
    "symmetry, voigt",
    [("cubic", (0, 3)), *((kind, range(6)) for kind in boundary.SYMMETRIES[1:])],
)
def test_load_cases(symmetry, voigt):
    load_cases = boundary.loads(symmetry)
    assert load_cases.voigt == tuple(voigt)
    np.testing.assert_array_equal(load_cases.strain, np.eye(6)[list(voigt)])
    more = 0 if symmetry == "periodic" else 1
    assert load_cases.nodes((8, 9, 5)) == (8 + more, 9 + more, 5 + more)
    assert load_cases.field_shape(8) == load_cases.field_shape((8, 8, 8))
    assert load_cases.field_shape((8, 9, 5))[2:] == load_cases.nodes((8, 9, 5))


@pytest.mark.parametrize("symmetry", ["cubic", "orthotropic"])
def test_fixed_components_follow_from_parity(symmetry):
    load_cases = boundary.loads(symmetry)
    fixed = load_cases.fixed()
    for load, voigt in enumerate(load_cases.voigt):
        i, j = element.VOIGT[voigt]
        strain = np.zeros((3, 3))
        strain[i, j] = strain[j, i] = 1.0
        for axis in range(3):
            mirror = np.diag(np.where(np.arange(3) == axis, -1.0, 1.0))
            # The mirrored load is the load itself or its opposite, and so is the field:
            # u(mirror x) = sign * mirror u(x); on the plane the odd components vanish.
            mirrored = mirror @ strain @ mirror
            sign = 1.0 if np.array_equal(mirrored, strain) else -1.0
            np.testing.assert_array_equal(mirrored, sign * strain)
            odd = sign * np.diag(mirror) == -1
            np.testing.assert_array_equal(fixed[load, :, axis], odd)


@pytest.mark.parametrize("symmetry", ["cubic", "orthotropic"])
def test_free_mask_is_zero_at_fixed_dofs(symmetry):
    fixed = boundary.loads(symmetry).fixed()
    for load in fixed:
        mask = boundary.free_mask(load, SHAPE, np.float32, periodic=False)
        assert mask.shape == (3, *NODES) and mask.dtype == np.float32
        mask = np.asarray(mask)
        for c, *node in itertools.product(range(3), *map(range, NODES)):
            held = any(load[c, a] and node[a] in (0, SHAPE[a]) for a in range(3))
            assert mask[c, *node] == (0.0 if held else 1.0)


def test_free_mask_may_be_traced():
    # One compiled set-up serves the loads of an octant.
    fixed = boundary.loads("cubic").fixed()

    def mask(fixed):
        return boundary.free_mask(fixed, SHAPE, np.float32, periodic=False)

    got = jax.vmap(mask)(fixed)
    np.testing.assert_array_equal(got, [mask(load) for load in fixed])


def test_periodic_fields_are_free_but_for_their_images():
    fixed = boundary.loads("periodic").fixed()
    assert fixed.shape == (6, 3, 3) and not fixed.any()
    mask = boundary.free_mask(fixed[0], SHAPE, np.float32, periodic=True)
    want = np.zeros((3, *NODES))
    want[:, :-1, :-1, :-1] = 1
    np.testing.assert_array_equal(mask, want)


@pytest.mark.parametrize("components", [3, 4])
def test_images_on_a_line_are_those_on_a_grid(x64, components):
    load_cases = boundary.loads("periodic")
    rng = np.random.default_rng(0)
    u, f = rng.standard_normal((2, components, *NODES))
    first = u[:, :-1, :-1, :-1]
    copy, fold = (
        quick_jit(functools.partial(f, shape=SHAPE))
        for f in (boundary.copy_images, boundary.fold_images)
    )
    copied = copy(u.reshape(components, -1))
    want = np.pad(first, [(0, 0), *[(0, 1)] * 3], mode="wrap")
    np.testing.assert_array_equal(copied, want.reshape(components, -1))
    np.testing.assert_array_equal(want, boundary.extend(first, load_cases))
    folded = fold(f.reshape(components, -1))
    want = np.pad(boundary.fold(f, load_cases), [(0, 0), *[(0, 1)] * 3])
    # Up to eight forces meet in a corner, added in another order.
    np.testing.assert_allclose(folded, want.reshape(folded.shape), atol=1e-15)
    # Transposes: the same products summed in another order.
    left = np.sum(copied * f.reshape(components, -1))
    right = np.sum(u.reshape(components, -1) * folded)
    np.testing.assert_allclose(left, right, rtol=1e-12)
    # What is folded or copied already stays.
    np.testing.assert_array_equal(fold(folded), folded)
    np.testing.assert_array_equal(copy(copied), copied)


def test_extend_appends_images_and_fold_is_its_transpose(x64):
    load_cases = boundary.loads("periodic")
    rng = np.random.default_rng(0)
    u = rng.standard_normal((6, 3, *SHAPE))
    f = rng.standard_normal((6, 3, *NODES))
    extended = np.asarray(boundary.extend(u, load_cases))
    np.testing.assert_array_equal(
        extended, np.pad(u, [(0, 0), (0, 0), *[(0, 1)] * 3], mode="wrap")
    )
    # The same products summed in another order.
    np.testing.assert_allclose(
        np.sum(extended * f), np.sum(u * boundary.fold(f, load_cases)), rtol=1e-12
    )


@pytest.mark.parametrize("symmetry", ["orthotropic", "mixed", "kinematic"])
def test_pairs_of_loads_fill_the_tensor(symmetry):
    pairs, place = boundary.load_pairs(boundary.loads(symmetry))
    np.testing.assert_array_equal(place, place.T)
    for i, j in itertools.product(range(6), repeat=2):
        # Mirrors alone leave no coupling with shear.
        if symmetry == "orthotropic" and i != j and max(i, j) > 2:
            assert place[i, j] == len(pairs)
        else:
            assert pairs[place[i, j]] == (max(i, j), min(i, j))


def test_windows_of_fixed_displacements():
    kinematic, mixed = (boundary.loads(k).fixed() for k in ("kinematic", "mixed"))
    assert kinematic.all()
    np.testing.assert_array_equal(mixed, boundary.loads("orthotropic").fixed())


def test_octants_have_no_images():
    load_cases = boundary.loads("cubic")
    u = np.ones((2, 3, 5, 5, 5))
    assert boundary.extend(u, load_cases) is u
    assert boundary.fold(u, load_cases) is u
