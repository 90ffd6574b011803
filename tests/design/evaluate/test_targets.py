"""Targets of an evaluation: the first of a list, or those of cells."""

import numpy as np
import pytest

from mmdiff.design.evaluate import targets
from mmdiff.errors import InputError


def test_the_first_lines_are_read_and_the_infeasible_noted(tmp_path, capsys):
    path = tmp_path / "list.csv"
    path.write_text("K,V\n0.1,\n0.21,0.3\n0.22,0.3\nsoft,\n")
    lines = targets.read_list(path, 3)
    assert [line.number for line in lines] == [2, 3, 4]
    assert targets.infeasible(lines) == [1, 2]
    said = capsys.readouterr().out
    assert "2 of 3 targets cannot be reached by any cell, the first in line 3" in said
    assert "To try anyway" not in said
    assert targets.infeasible(lines[:1]) == [] and not capsys.readouterr().out
    with pytest.raises(InputError, match="line 5 of .* K 'soft' is not a number"):
        targets.read_list(path, 4)
    with pytest.raises(InputError, match="has 4 targets. Set `num_targets` to one of"):
        targets.read_list(path, 5)


def test_targets_of_cells_are_always_the_same():
    constants = np.array([0.2, 0.08, 0.06]) * np.arange(1, 7)[:, None] / 6
    volume = np.linspace(0.3, 0.8, 6)
    every = targets.of_cells(constants, volume, 6)
    got = sorted((*target.constants, target.volume) for target in every)
    np.testing.assert_allclose(got, np.c_[constants, volume])
    assert targets.of_cells(constants, volume, 2) == every[:2]
    with pytest.raises(InputError, match="the dataset has 6 test cells"):
        targets.of_cells(constants, volume, 7)
