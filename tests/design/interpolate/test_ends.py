"""The two cells that a path lies between, and the one a chain grows from."""

import field_helpers
import numpy as np
import pytest
from design_helpers import dataset_of_voxels

from mmdiff.cells import lattices, surface
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.interpolate import ends
from mmdiff.design.interpolate.family import Member
from mmdiff.errors import InputError
from mmdiff.fem import accuracy

CUBE = np.zeros((8, 8, 8), np.uint8)
CUBE[:4, :4, :4] = 1
CELLS = np.stack([1 - CUBE, 1 - CUBE[::-1, ::-1, ::-1]])
DATA = dataset_of_voxels(CELLS, [[1.0, 2, 3], [4, 5, 6]])


@pytest.fixture(autouse=True)
def elements(monkeypatch):
    field_helpers.patch(monkeypatch)


@pytest.fixture
def file(tmp_path):
    """Voxel files: a cubic cell, a bar and two cells at once."""
    bar = np.zeros((16, 16, 16), np.uint8)
    bar[:, 6:10, 6:10] = 1
    frame, fine = 1 - CUBE, np.ones((2, 2, 2), np.uint8)
    arrays = {
        "cell": octant_to_cell(frame),
        "fine": octant_to_cell(np.kron(frame, fine)),
        "block": octant_to_cell(CUBE[::-1, ::-1, ::-1]),
        "bar": bar,
        "two": np.stack([bar, bar]),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return lambda text: str(tmp_path / text) if text.endswith("npy") else text


def _read(*texts, usual=None):
    given = ends.read(texts, DATA)
    return ends.both(given, usual or given)


def test_ends_are_files_numbers_or_the_usual_cells(file):
    first, second = _read(file("cell.npy"), "1")
    np.testing.assert_array_equal(first.psi, surface.from_voxels(1 - CUBE))
    assert first.kind == "cell.npy" and second.kind == "dataset 1"
    constants = surface.volume(first.psi) * field_helpers.RATES
    np.testing.assert_allclose(first.constants, constants, rtol=1e-3)
    # A cell of the dataset is what that says of it.
    np.testing.assert_array_equal(second.psi, DATA.fields(1))
    assert second.constants.tolist() == [4, 5, 6] and second.volume == DATA.volume[1]
    np.testing.assert_allclose(second.uncertainty, [0.04, 0.05, 0.06])
    assert first.theta == 0 and second.theta == np.pi / 2
    usual = Member(CUBE - 0.5, np.ones(3), np.ones(3), 0.5, "usual")
    found = _read("", "0", usual=(usual, usual))
    assert [member.kind for member in found] == ["usual", "dataset 0"]


def test_a_finer_file_keeps_what_it_tells(file):
    first, _ = _read(file("fine.npy"), "1")
    octant = np.kron(1 - CUBE, np.ones((2, 2, 2), np.uint8))
    np.testing.assert_array_equal(first.psi, surface.from_voxels(octant, 8))
    assert np.any(first.psi != surface.from_voxels(1 - CUBE))


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("gone.npy", "is neither the number of a cell"),
        ("2", "first=2 is no cell of the dataset, which holds 2. Pass `first=0` to 1"),
        ("1", "first and second are the same cell"),
        ("bar.npy", "bar.npy is orthotropic and not cubic"),
        ("two.npy", "two.npy holds 2 cells"),
        ("block.npy", "block.npy is not load bearing once its steps are rounded off"),
    ],
)
def test_ends_that_cannot_be_used_are_refused(file, first, words):
    with pytest.raises(InputError, match=words):
        _read(file(first), "1")


def test_ends_that_cannot_be_homogenized_are_refused(monkeypatch, file):
    def estimate(psi):
        return field_helpers.estimate(psi)._replace(converged=False, residual=0.2)

    monkeypatch.setattr(accuracy, "estimate", estimate)
    with pytest.raises(InputError, match="cell.npy is not homogenized .residual 0.2."):
        _read(file("cell.npy"), "1")


def _members(*volumes):
    return [Member(CUBE - 0.5, np.ones(3), np.ones(3), v, str(v)) for v in volumes]


@pytest.mark.parametrize(
    ("volumes", "expected"),
    [
        ((0.1, 0.28, 0.33, 0.41, 0.52, 0.8), ("0.28", "0.52")),
        # Where one is the nearest to both, the ends of the family are taken.
        ((0.5, 0.6, 0.7), ("0.5", "0.7")),
        ((0.1, 0.2, 0.3), ("0.1", "0.3")),
    ],
)
def test_the_usual_ends_are_nearest_to_two_volumes(volumes, expected):
    found = ends.usual(_members(*volumes))
    assert tuple(member.kind for member in found) == expected


def test_a_chain_grows_from_a_lattice_at_the_volume():
    psi = ends.seed("P network", DATA, 0.4)
    np.testing.assert_array_equal(psi, lattices.lattice("P network", 0.4, 8))
    assert surface.volume(psi) == pytest.approx(0.4, abs=1e-3)


@pytest.mark.parametrize("asked", [0.01, 0.99])
def test_a_lattice_that_cannot_have_the_volume_is_next_to_it(asked):
    least, most = lattices.volumes("P network", 8)
    volume = surface.volume(ends.seed("P network", DATA, asked))
    assert volume == pytest.approx(least if asked < 0.5 else most, abs=2e-3)


def test_a_chain_grows_from_a_cell_of_the_dataset_or_a_file(file):
    np.testing.assert_array_equal(ends.seed("1", DATA, 0.4), DATA.fields(1))
    psi = ends.seed(file("cell.npy"), DATA, 0.4)
    np.testing.assert_array_equal(psi, surface.from_voxels(1 - CUBE))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sponge", "seed_cell='sponge' is no lattice .* Use one of P sheet, P network"),
        ("", "seed_cell='' is no lattice"),
        ("gyroid sheet", "seed_cell='gyroid sheet' is no lattice with mirror planes"),
        ("gone.npy", "seed_cell='gone.npy' is no lattice .* and no file"),
        ("2", "seed_cell=2 is no cell of the dataset, which holds 2. Pass `seed_cell="),
        ("bar.npy", "seed_cell=.*bar.npy is orthotropic and not cubic"),
        # Its thinnest walls are two samples: of 16 an edge they fill all that is open.
        ("Neovius sheet", "the 16 samples an edge .* Take another `seed_cell`"),
    ],
)
def test_a_seed_that_cannot_be_used_is_refused(file, text, words):
    text = text if text == "gone.npy" else file(text)
    with pytest.raises(InputError, match=words):
        ends.seed(text, DATA, 0.4)


ENDS = "1.npy", "2"


@pytest.mark.parametrize(
    ("conditions", "family", "count", "texts", "words"),
    [
        ("all", "chain", 1, ENDS, "conditions='all' is unknown. Use none or ends"),
        ("ends", "tree", 1, ENDS, "family='tree' is unknown. Use chain, ladder or n"),
        ("ends", "none", 0, ENDS, "family=none and num_path=0 leave nothing to do"),
        ("ends", "none", 1, ("", "2"), "first is empty, and with family=none"),
        ("ends", "none", 1, ("2", ""), "second is empty, .* with `second`"),
    ],
)
def test_settings_that_do_not_go_together(conditions, family, count, texts, words):
    with pytest.raises(InputError, match=words):
        ends.check(conditions, family, count, texts)


@pytest.mark.parametrize(
    ("family", "count", "texts"),
    [("chain", 0, ("", "")), ("ladder", 3, ("", "2")), ("none", 1, ENDS)],
)
def test_settings_that_go_together(family, count, texts):
    ends.check("ends", family, count, texts)
