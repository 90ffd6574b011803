"""Curves for TensorBoard: what is written, and what is said where it is missing."""

import sys
import types

import pytest

from mmdiff.errors import InputError
from mmdiff.run.tensorboard import scalars

REPORTS = ({"step": 2, "loss": 0.5, "seconds": 1.0}, {"step": 4, "loss": 0.25})


def test_every_number_is_a_point_over_the_step(tmp_path, monkeypatch):
    calls = []

    class SummaryWriter:
        def __init__(self, folder):
            calls.append(("open", folder))

        def add_scalar(self, name, value, step):
            calls.append((name, value, step))

        def flush(self):
            calls.append("flush")

        def close(self):
            calls.append("close")

    fake = types.SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "tensorboardX", fake)
    with pytest.raises(KeyboardInterrupt), scalars(tmp_path / "tb") as write:
        for report in REPORTS:
            write(report)
        raise KeyboardInterrupt
    assert calls == [
        ("open", str(tmp_path / "tb")),
        ("loss", 0.5, 2),
        ("seconds", 1.0, 2),
        "flush",
        ("loss", 0.25, 4),
        "flush",
        "close",
    ]


def test_event_files_hold_the_names(tmp_path):
    pytest.importorskip("tensorboardX")
    with scalars(tmp_path / "tb") as write:
        for report in REPORTS:
            write(report)
    (path,) = (tmp_path / "tb").iterdir()
    assert path.read_bytes().count(b"loss") == 2


def test_without_the_package_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with (
        pytest.raises(InputError, match=r"pip install 'mmdiff\[tb\]'"),
        scalars(tmp_path / "tb"),
    ):
        pass
    assert not (tmp_path / "tb").exists()
