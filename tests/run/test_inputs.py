"""Digests of inputs: of content, whatever the files are called."""

import os

import pytest

from mmdiff.run import inputs


def test_a_digest_is_of_the_content(tmp_path):
    one, other = tmp_path / "a.npy", tmp_path / "b.npy"
    one.write_text("cell")
    other.write_text("cell")
    first = inputs.digest(str(one))
    assert first and first == inputs.digest(str(other))
    # Of a function the file, of a list what there is in it.
    assert inputs.digest(f"{one}:function") == inputs.digest(f"random,{one}") == first
    one.write_text("Cell")
    assert inputs.digest(str(one)) != first


@pytest.mark.parametrize("text", ["", "random,plates", "0.1,0.2", "a" * 5000, "a\0b"])
def test_values_that_name_no_file(text):
    assert inputs.digest(text) is None


def test_pipes_and_devices_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert inputs.digest(str(tmp_path / "pipe")) is None
    assert inputs.digest("/dev/zero") is None
    assert inputs.digest(str(tmp_path)) is None


def test_files_that_hardly_a_memory_holds_are_not_read(tmp_path):
    path = tmp_path / "hole.npy"
    with path.open("wb") as file:
        file.truncate(1 << 43)  # takes no space, and hours to read
    first = inputs.digest(str(path))
    assert first and first != inputs.digest(os.devnull)
    with path.open("r+b") as file:
        file.truncate(1 << 42)
    assert inputs.digest(str(path)) != first


def test_a_header_is_its_data_file_too(tmp_path):
    path, data = tmp_path / "a.nhdr", tmp_path / "a b.raw"
    path.write_text("NRRD0004\ntype: uint8\nsizes: 1 1 1\ndata file: a b.raw\n\n")
    first = inputs.digest(str(path))
    data.write_bytes(b"0")
    second = inputs.digest(str(path))
    data.write_bytes(b"1")
    assert len({first, second, inputs.digest(str(path))}) == 3


def test_a_folder_is_its_files_and_their_names(tmp_path):
    (tmp_path / "a.npy").write_text("cell")
    (tmp_path / ".lock").write_text("1")
    first = inputs.digest(str(tmp_path), folders=True)
    (tmp_path / ".lock").write_text("2")
    assert inputs.digest(str(tmp_path), folders=True) == first
    (tmp_path / "a.npy").rename(tmp_path / "b.npy")
    second = inputs.digest(str(tmp_path), folders=True)
    (tmp_path / "c.npy").touch()
    assert len({first, second, inputs.digest(str(tmp_path), folders=True)}) == 3
    # A folder may have the name of an option by chance.
    assert inputs.digest(str(tmp_path)) is None


def test_a_dataset_is_what_its_manifests_say(tmp_path):
    root = tmp_path / "data.zarr"
    (root / "manifests").mkdir(parents=True)
    for name in ("layout.json", "selection.json", "manifests/shard_00000.json"):
        (root / name).write_text("{}")
    first = inputs.digest(str(tmp_path))
    assert first == inputs.digest(str(root))
    (tmp_path / "log.txt").write_text("again")
    (root / "timings.json").touch()
    assert inputs.digest(str(tmp_path)) == first
    (root / "manifests/shard_00000.json").write_text("[]")
    assert inputs.digest(str(tmp_path)) != first


def test_a_family_is_its_archive(tmp_path):
    (tmp_path / "family.npz").write_text("cells")
    first = inputs.digest(str(tmp_path))
    assert first == inputs.digest(str(tmp_path / "family.npz"))
    (tmp_path / "log.txt").write_text("again")
    assert inputs.digest(str(tmp_path)) == first
    (tmp_path / "family.npz").write_text("other cells")
    assert inputs.digest(str(tmp_path)) != first
    # Of a folder of inputs every file counts.
    every = inputs.digest(str(tmp_path), folders=True)
    (tmp_path / "log.txt").write_text("once more")
    assert inputs.digest(str(tmp_path), folders=True) != every


def test_a_function_of_a_module_counts_by_its_file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "own_goals"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit\n")  # it is not imported
    module = package / "stiff.py"
    module.write_text("def f(C):\n    return C[0, 0]\n")
    first = inputs.digest("own_goals.stiff:f")
    assert first and first == inputs.digest("own_goals.stiff:g")
    module.write_text("def f(C):\n    return C[0, 1]\n")
    assert inputs.digest("own_goals.stiff:f") not in (None, first)
    for text in ("own_goals.gone:f", "no.module:f", "bulk", "a b:f", ":f", "sys:f"):
        assert inputs.digest(text) is None
