import importlib.util
import math
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def local():
    spec = importlib.util.spec_from_file_location("local", ROOT / "launch" / "local.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_units_come_back_in_order(local):
    found = local.map_units(math.factorial, [5, 1, 3], workers=2)
    assert found == [120, 1, 6]


def test_a_failing_unit_is_raised(local):
    with pytest.raises(ValueError, match="factorial"):
        local.map_units(math.factorial, [2, -1], workers=1)


def test_start_hands_back_the_exit_code(local):
    assert local.start(["--config=configs/no_such_file.py"]) == 2
