"""Textbook lattices: symmetry, volume, pieces, thickness, and known cells."""

import numpy as np
import pytest
from fem_helpers import solve

from mmdiff.cells import connectivity, lattices, surface, symmetry
from mmdiff.errors import InputError
from mmdiff.fem.homogenize import modulus

VOLUMES = {
    "P sheet": 0.2, "P network": 0.3, "IWP sheet": 0.3, "IWP network": 0.2,
    "Neovius sheet": 0.3, "Neovius network": 0.4, "bcc struts": 0.15,
    "octet struts": 0.2, "sc plates": 0.3, "bcc plates": 0.35, "re-entrant": 0.12,
}  # fmt: skip
# Pieces of the void. A sheet of P, I-WP or Neovius parts two labyrinths; walls of "bcc"
# plates close twelve tetrahedra, those of "sc" one cube.
VOIDS = {"P sheet": 2, "IWP sheet": 2, "Neovius sheet": 2, "bcc plates": 12}


@pytest.mark.parametrize("name", lattices.NAMES)
def test_symmetry_volume_and_pieces(name):
    psi = lattices.lattice(name, VOLUMES[name])
    assert psi.shape == (32, 32, 32) and psi.dtype == np.float64
    assert symmetry.is_cubic(psi)
    assert surface.volume(psi) == pytest.approx(VOLUMES[name], abs=1e-5)
    cell = symmetry.octant_to_cell(surface.voxels(psi, 64))
    # Voxel centres lie in rows along the flat walls: a voxel more or less at once.
    rows = 15e-3 if "plates" in name else 2e-3
    assert cell.mean() == pytest.approx(VOLUMES[name], abs=rows)
    assert connectivity.periodic_pieces(cell)[1] == 1
    assert connectivity.periodic_pieces(1 - cell)[1] == VOIDS.get(name, 1)
    assert all(connectivity.winding_axes(cell))


@pytest.mark.parametrize("name", lattices.NAMES)
def test_near_the_surface_the_field_is_a_distance(name):
    psi = lattices.lattice(name, VOLUMES[name])
    points = surface.corners(32, 64)
    value = surface.sample(psi, points)
    slope = np.sqrt((surface.slopes(psi, points) ** 2).sum(0))
    # Fillets and thin walls have lesser slopes, and the middle of walls none.
    assert 0.8 < np.median(slope[abs(value) < 0.3]) < 1.1
    assert abs(psi).max() < 3.01


@pytest.mark.parametrize(
    "name, exact",
    [
        # The level 0 of P and of Neovius is the surface itself: half of the cell.
        ("P network", lambda x, y, z: x + y + z),
        ("Neovius network", lambda x, y, z: 3 * (x + y + z) + 4 * x * y * z),
    ],
)
def test_half_of_the_cell_is_balanced(name, exact):
    psi = lattices.lattice(name, 0.5)
    cosine = np.cos(np.pi * (np.arange(32) + 0.5) / 32)
    value = exact(*np.meshgrid(cosine, cosine, cosine, indexing="ij"))
    np.testing.assert_array_equal(psi > 0, value > 0)
    # Solid and void are one shape, half a cell apart.
    np.testing.assert_allclose(psi, -psi[::-1, ::-1, ::-1], atol=1e-6)


def test_flat_walls_have_the_thickness_of_their_volume():
    # V = 1 - (1 - t)^3 for flat plates of thickness t; fillets in the corners only.
    psi = lattices.lattice("sc plates", 0.3)
    grid = tuple(np.linspace(-0.5, 31.5, 321))
    middle = surface.sample(psi, grid)[:, 240, 240]  # far from the other plates
    half = np.interp(0.0, -middle[:200], np.array(grid)[:200]) + 0.5
    flat = 32 * (1 - 0.7 ** (1 / 3))
    assert flat - 0.3 < half < flat  # the fillets take the rest of the volume


def test_sheets_grow_thicker_in_proportion_to_their_volume():
    # V = a t for thin sheets of area a, and so are the levels beside the surface.
    low, high = 0.12, 0.16
    psi = lattices.lattice("P sheet", low), lattices.lattice("P sheet", high)
    inner = [field.max() for field in psi]
    assert inner[1] / inner[0] == pytest.approx(high / low, rel=0.1)


def test_volume_of_other_resolutions():
    for n in (16, 24):
        psi = lattices.lattice("IWP network", 0.4, n)
        assert psi.shape == (n, n, n)
        assert surface.volume(psi) == pytest.approx(0.4, abs=1e-5)


@pytest.mark.slow
def test_the_re_entrant_cell_grows_wider():
    psi = lattices.lattice("re-entrant", 0.12)
    stiff = modulus(surface.fractions(psi, 32), penal=1.0).astype(np.float32)
    tensor = np.asarray(solve(stiff, tol=1e-5)[0])
    assert tensor[0, 1] < -0.05 * tensor[0, 0]


def test_errors_name_the_value():
    with pytest.raises(InputError, match="lattice 'gyroid' is unknown; use one of"):
        lattices.lattice("gyroid", 0.3)
    # Two spacings of 32 samples: thinner walls are refused.
    with pytest.raises(InputError, match="P sheet with 32 samples has no .* 0.05"):
        lattices.lattice("P sheet", 0.05)
    with pytest.raises(InputError, match="take one from 0.2.* to 0.7"):
        lattices.lattice("P network", 0.1)
