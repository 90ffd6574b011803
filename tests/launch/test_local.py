import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def local():
    spec = importlib.util.spec_from_file_location("local", ROOT / "launch" / "local.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_start_hands_back_the_exit_code(local):
    assert local.start(["--config=configs/no_such_file.py"]) == 2
