"""Textbook lattices: symmetry, volume, pieces, thickness, and known cells."""

import functools

import numpy as np
import pytest
from fem_helpers import solve

from mmdiff import elasticity
from mmdiff.cells import connectivity, lattices, surface, symmetry
from mmdiff.cells.printable import printability
from mmdiff.elasticity import NU
from mmdiff.errors import InputError
from mmdiff.fem import accuracy
from mmdiff.fem.homogenize import modulus

VOLUMES = {
    "P sheet": 0.2, "P network": 0.3, "IWP sheet": 0.3, "IWP network": 0.2,
    "Neovius sheet": 0.3, "Neovius network": 0.4, "bcc struts": 0.15,
    "octet struts": 0.2, "sc plates": 0.3, "bcc plates": 0.35, "re-entrant": 0.12,
    "sc struts": 0.1, "fcc struts": 0.15, "Kelvin struts": 0.1, "octet plates": 0.4,
}  # fmt: skip
# Pieces of the void. A sheet of P, I-WP or Neovius parts two labyrinths; walls of "bcc"
# plates close twelve tetrahedra, those of "sc" one cube.
VOIDS = {"P sheet": 2, "IWP sheet": 2, "Neovius sheet": 2, "bcc plates": 12}
VOIDS["octet plates"] = 12  # four octahedra and eight tetrahedra
BOXES = {"gyroid sheet": (0.3, 2), "gyroid network": (0.3, 1)}
BOXES |= {"diamond sheet": (0.3, 2), "diamond network": (0.4, 1)}


@pytest.mark.parametrize("name", lattices.MIRRORED)
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


@pytest.mark.parametrize("name", lattices.MIRRORED)
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
    with pytest.raises(InputError, match="'gyroid sheet' has no mirror planes"):
        lattices.lattice("gyroid sheet", 0.3)
    # Two spacings of 32 samples: thinner walls are refused.
    with pytest.raises(InputError, match="P sheet with 32 samples has no .* 0.05"):
        lattices.lattice("P sheet", 0.05)
    with pytest.raises(InputError, match="take one from 0.2.* to 0.7"):
        lattices.lattice("P network", 0.1)
    with pytest.raises(InputError, match="P network has necks instead of walls"):
        lattices.parameter_of_thickness("P network", 0.1)
    with pytest.raises(InputError, match="no thickness of 0.02 edges; take .* 0.03125"):
        lattices.parameter_of_thickness("bcc struts", 0.02)
    with pytest.raises(InputError, match="take one from 0.03125 to 0.399"):
        lattices.parameter_of_thickness("bcc struts", 0.5)


@pytest.mark.parametrize("name", BOXES)
def test_lattices_without_mirror_planes(name):
    volume, voids = BOXES[name]
    value = lattices.parameter(name, volume)
    share = lattices.box_shares(name, value, 64)
    assert share.mean() == pytest.approx(volume, abs=1e-5)
    assert 0 <= share.min() and share.max() <= 1
    along = (np.arange(64) + 0.5) / 64
    points = lattices.make_points(along, along, along)
    solid = lattices.sample(name, value, points) > 0
    assert solid.mean() == pytest.approx(volume, abs=3e-3)
    assert connectivity.periodic_pieces(solid)[1] == 1
    assert connectivity.periodic_pieces(~solid)[1] == voids
    assert not np.array_equal(solid, solid[::-1])  # no mirror plane,
    assert np.array_equal(solid, solid.transpose(1, 2, 0))  # but a threefold axis


def test_one_field_in_the_octant_and_anywhere():
    value = lattices.parameter("octet struts", 0.2, 16)
    along = np.array([0.3, 0.7, -0.3, 1.3])  # four images of one place
    points = lattices.make_points(along, [0.2], [0.1], 16)
    field = lattices.sample("octet struts", value, points)
    np.testing.assert_allclose(field, field[:1].repeat(4, 0), atol=1e-9)
    centres = (np.arange(16) + 0.5) / 32
    points = lattices.make_points(centres, centres, centres, 16)
    np.testing.assert_allclose(
        lattices.sample("octet struts", value, points),
        lattices.octant("octet struts", value, 16),
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ("name", "thickness"),
    [("sc struts", 0.08), ("sc plates", 0.08), ("P sheet", 0.08)],
)
def test_a_thickness_is_that_of_the_wall(name, thickness):
    psi = lattices.octant(name, lattices.parameter_of_thickness(name, thickness))
    assert printability(psi).wall == pytest.approx(thickness, rel=0.05)


def test_parameters_of_a_graded_lattice_have_its_volumes():
    shares = np.array([0.25, 0.32, 0.5])
    found = lattices.graded_parameters("gyroid sheet", shares, 16)
    exact = [lattices.parameter("gyroid sheet", v, 16) for v in shares]
    np.testing.assert_allclose(found, exact, rtol=2e-3)
    alike = lattices.graded_parameters("P sheet", np.full(3, 0.3), 16)
    np.testing.assert_array_equal(alike, lattices.parameter("P sheet", 0.3, 16))


# Stiffness for base E = 1 of what is thin, from the struts or plates alone.
CLOSED = {
    # Struts that only stretch: Deshpande, Fleck & Ashby, J. Mech. Phys. Solids 49
    # (2001) 1747, of the octet truss; the others by the same sum over the struts.
    "octet struts": lambda v: (v / 6, v / 12, v / 12),
    "sc struts": lambda v: (v / 3, None, None),
    "bcc struts": lambda v: (None, v / 9, v / 9),
    # Plates in plane stress, a third of the volume along each axis.
    "sc plates": lambda v: (
        2 * v / 3 / (1 - NU**2),
        v / 3 * NU / (1 - NU**2),
        v / 6 / (1 + NU),
    ),
}


@functools.cache
def found(name, thickness):
    value = lattices.parameter_of_thickness(name, thickness)
    return accuracy.estimate(lattices.octant(name, value), tol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLOSED)
def test_thin_lattices_are_as_stiff_as_their_parts(name):
    off = []
    for thickness in (0.12, 0.06):
        cell = found(name, thickness)
        pairs = zip(cell.constants, CLOSED[name](cell.volume), strict=True)
        off.append([c / e - 1 for c, e in pairs if e is not None])
    # Nodes and seams are stiffer: by a part that falls with the thickness.
    assert (0 < np.array(off[1])).all() and (np.array(off[1]) < 0.32).all()
    assert (np.array(off[1]) < 0.65 * np.array(off[0])).all()


@pytest.mark.slow
def test_struts_that_bend_and_struts_that_stretch():
    # E grows with the volume itself, and with its square: Deshpande, Ashby & Fleck,
    # Acta Mater. 49 (2001) 1035. Nodes add to both.
    def exponent(name):
        cells = [found(name, thickness) for thickness in (0.12, 0.06)]
        young = [elasticity.moduli(cell.constants)["E"] for cell in cells]
        return np.log(young[0] / young[1]) / np.log(cells[0].volume / cells[1].volume)

    assert (
        1.0 < exponent("octet struts") < 1.3 and 2.0 < exponent("Kelvin struts") < 2.3
    )
