"""Boundary conditions from the parity of the fields, and periodic images."""

import itertools

import numpy as np
import pytest

from mmdiff.fem import boundary, element


def test_unknown_symmetry_is_named():
    with pytest.raises(ValueError, match="symmetry 'hexagonal' is unknown"):
        boundary.loads("hexagonal")


@pytest.mark.parametrize(
    "symmetry, voigt",
    [("cubic", (0, 3)), ("orthotropic", range(6)), ("periodic", range(6))],
)
def test_load_cases(symmetry, voigt):
    load_cases = boundary.loads(symmetry)
    assert load_cases.voigt == tuple(voigt)
    np.testing.assert_array_equal(load_cases.strain, np.eye(6)[list(voigt)])
    assert load_cases.nodes(8) == (8 if symmetry == "periodic" else 9)


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


def test_free_mask_is_zero_at_fixed_dofs():
    load_cases = boundary.loads("cubic")
    n, fixed = 3, load_cases.fixed()
    mask = np.asarray(boundary.free_mask(load_cases, n, np.float32))
    assert mask.shape == (2, 3, 4, 4, 4)
    for load, c in itertools.product(range(2), range(3)):
        for node in itertools.product(range(n + 1), repeat=3):
            held = any(fixed[load, c, a] and node[a] in (0, n) for a in range(3))
            assert mask[load, c][node] == (0.0 if held else 1.0)


def test_periodic_fields_are_free():
    load_cases = boundary.loads("periodic")
    assert not load_cases.fixed().any()
    np.testing.assert_array_equal(boundary.free_mask(load_cases, 4, np.float32), 1)


def test_extend_appends_images_and_fold_is_its_transpose(x64):
    load_cases = boundary.loads("periodic")
    rng = np.random.default_rng(0)
    u = rng.standard_normal((6, 3, 4, 4, 4))
    f = rng.standard_normal((6, 3, 5, 5, 5))
    extended = np.asarray(boundary.extend(u, load_cases))
    np.testing.assert_array_equal(
        extended, np.pad(u, [(0, 0), (0, 0), *[(0, 1)] * 3], mode="wrap")
    )
    # The same products summed in another order.
    np.testing.assert_allclose(
        np.sum(extended * f), np.sum(u * boundary.fold(f, load_cases)), rtol=1e-12
    )


def test_octants_have_no_images():
    load_cases = boundary.loads("cubic")
    u = np.ones((2, 3, 5, 5, 5))
    assert boundary.extend(u, load_cases) is u
    assert boundary.fold(u, load_cases) is u
