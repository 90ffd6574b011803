"""Manifests: every file counts, and nothing that changes after it."""

import json

import pytest

from mmdiff.io.json import write_json
from mmdiff.run import manifest


@pytest.fixture
def folder(tmp_path):
    for name in ("a.stl", "sub/b.npz", "run.json", "state/x", "sub/state/y", ".lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(name)
    write_json(tmp_path / "run.json", {"settings_sha256": "aa"})
    manifest.seal(tmp_path)
    return tmp_path


def test_a_manifest_lists_the_files_of_the_results(folder):
    entry = json.loads((folder / manifest.NAME).read_text())
    assert list(entry["files"]) == ["a.stl", "sub/b.npz", "sub/state/y"]
    assert entry["files"]["a.stl"]["bytes"] == 5 and entry["origin"] == "aa"
    assert manifest.flaws(folder) == {} and manifest.is_whole(folder)
    manifest.seal(folder, ["sub"])
    entry = json.loads((folder / manifest.NAME).read_text())
    assert list(entry["files"]) == ["a.stl"]


def test_every_flipped_bit_of_results_and_manifest_is_seen(folder, capsys):
    for name in ("a.stl", "sub/b.npz", manifest.NAME):
        content = (folder / name).read_bytes()
        for i in range(8 * len(content)):
            damaged = bytearray(content)
            damaged[i // 8] ^= 1 << i % 8
            (folder / name).write_bytes(damaged)
            assert manifest.flaws(folder), (name, i)
        (folder / name).write_bytes(content)
    (folder / "a.stl").write_bytes(b"")
    assert not manifest.is_whole(folder)
    assert "a.stl is damaged. It is made again." in capsys.readouterr().out
    (folder / "a.stl").unlink()
    assert manifest.flaws(folder) == {"a.stl": "is missing"}


def test_results_of_other_settings_are_not_whole(folder):
    write_json(folder / "run.json", {"settings_sha256": "ab"})
    assert manifest.flaws(folder) == {manifest.NAME: "is of other settings or inputs"}
    (folder / manifest.NAME).unlink()
    assert not manifest.is_whole(folder)
