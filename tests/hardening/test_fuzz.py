"""Damaged files of every format, a few hundred of each: see `fuzz`."""

import importlib

import pytest
from hardening import fuzz

KEPT = 200  # files of a format
APART = 10  # of what a library reads, each in a process apart, as users have it
NEEDS = {
    **{"stack.tif": ("tifffile",), "set.h5": ("h5py",)},
    **{name: ("trimesh",) for name in ("box.stl", "box.ply", "box.obj")},
    "box.3mf": ("trimesh", "lxml", "networkx"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzz.FORMATS)
def test_damaged_files_are_read_or_refused(tmp_path, name):
    found = fuzz.fuzz(name, fuzz.FORMATS[name], range(KEPT), tmp_path)
    assert found.wrong == [] and found.refused > KEPT / 4
    assert found.read + found.refused == KEPT


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_files_of_libraries_are_read_or_refused(tmp_path, name):
    for library in NEEDS[name]:
        pytest.importorskip(library)
    place = fuzz.Format(
        fuzz.LIBRARIES[name], lambda path: fuzz.read.read(path, voxels=8)
    )
    found = fuzz.fuzz(name, place, range(APART), tmp_path)
    assert found.wrong == [] and found.refused > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_libraries_outlive_damaged_files(tmp_path, monkeypatch, name):
    for library in NEEDS[name]:
        pytest.importorskip(library)
    monkeypatch.syspath_prepend(tmp_path)
    found, peak = fuzz.fuzz_library(name, range(KEPT), tmp_path)
    assert found.read + found.refused == KEPT and found.refused > KEPT / 8
    assert peak < fuzz.BYTES


def test_a_fuzzer_sees_what_is_wrong(tmp_path):
    def broken(path):
        if path.read_bytes() != b"whole":
            raise ZeroDivisionError("a bug")

    place = fuzz.Format(lambda path: path.write_bytes(b"whole"), broken)
    found = fuzz.fuzz("a.bin", place, range(9), tmp_path)
    assert len(found.wrong) + found.read == 9 and "ZeroDivisionError" in found.wrong[0]


def test_archives_are_damaged_inside_too(tmp_path):
    path = tmp_path / "packed.npz"
    fuzz.WRITERS[path.name](path)
    path.write_bytes(fuzz.damaged(path.name, path.read_bytes(), 1))
    with importlib.import_module("zipfile").ZipFile(path) as archive:
        assert archive.testzip() is None
