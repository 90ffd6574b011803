"""The two cells that a path lies between."""

import numpy as np
import pytest

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.data.dataset import Dataset
from mmdiff.design.interpolate import ends
from mmdiff.design.interpolate.family import Member
from mmdiff.errors import InputError
from mmdiff.topopt.interface import Evaluation

CUBE = np.zeros((8, 8, 8), np.uint8)
CUBE[:4, :4, :4] = 1
CELLS = np.stack([1 - CUBE, 1 - CUBE[::-1, ::-1, ::-1]])
DATA = Dataset(CELLS, np.array([[1.0, 2, 3], [4, 5, 6]]), CELLS.mean((1, 2, 3)), {})


def _evaluate(octant, converged=True):
    np.testing.assert_array_equal(octant, CUBE)
    return Evaluation(np.arange(3.0), np.zeros(1), 0.2, converged, None)


@pytest.fixture
def file(tmp_path):
    """Voxel files: a cubic cell, a bar and two cells at once."""
    bar = np.zeros((16, 16, 16), np.uint8)
    bar[:, 6:10, 6:10] = 1
    arrays = {"cell": octant_to_cell(CUBE), "bar": bar, "two": np.stack([bar, bar])}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return lambda text: str(tmp_path / text) if text.endswith("npy") else text


def test_ends_are_files_numbers_or_the_usual_cells(file):
    first, second = ends.read((file("cell.npy"), "1"), None, DATA, _evaluate)
    np.testing.assert_array_equal(first.octant, CUBE)
    assert first.kind == "cell.npy" and first.constants.tolist() == [0, 1, 2]
    assert second.kind == "dataset 1" and second.constants.tolist() == [4, 5, 6]
    assert first.theta == 0 and second.theta == np.pi / 2
    usual = Member(CUBE, np.ones(3), "usual")
    found = ends.read(("", "0"), (usual, usual), DATA, _evaluate)
    assert [member.kind for member in found] == ["usual", "dataset 0"]


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("gone.npy", "is neither the number of a cell"),
        ("2", "first=2 is no cell of the dataset, which holds 2. Pass `first=0` to 1"),
        ("1", "first and second are the same cell"),
        ("bar.npy", "bar.npy is orthotropic and not cubic"),
        ("two.npy", "two.npy holds 2 cells"),
        ("cell.npy", "cannot be homogenized .residual 0.2."),
    ],
)
def test_ends_that_cannot_be_used_are_refused(file, first, words):
    with pytest.raises(InputError, match=words):
        ends.read(
            (file(first), "1"), None, DATA, lambda octant: _evaluate(octant, False)
        )
