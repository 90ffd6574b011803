"""Names of files are safe and unique, and nothing is written outside of the workdir."""

import os
import re

import pytest

from mmdiff import places
from mmdiff.errors import InputError
from mmdiff.io import write
from mmdiff.run import console, workdir

ODD = [
    "..",
    ".",
    "",
    "...",
    "a/b",
    "../../etc",
    "-",
    "=cmd|x",
    "a\nb",
    "a\0",
    "x.",
    "x ",
]
TAKEN = ("log.txt", "run.json", ".lock")


def test_safe_names_stay():
    names = ["cell", "cell (2)", "a b", "größe", "12", "a+b=c", "v1.2"]
    assert places.safe_names(names) == names


def test_unsafe_and_taken_names_get_numbers():
    found = places.safe_names([*ODD, "Log.TXT", "run.json", ".lock", "n" * 300], TAKEN)
    assert all(re.fullmatch(r"\w[\w.+=()@-]{0,120}", name) for name in found)
    assert not {name.casefold() for name in found} & set(TAKEN)
    assert places.safe_names(["log.txt", "log.txt_0", "log.txt"], TAKEN) == [
        "log.txt_0",
        "log.txt_0_0",
        "log.txt_1",
    ]


def test_no_name_comes_twice():
    names = [*ODD, "a", "A", "a", "a_0", "A_1", *ODD]
    found = places.safe_names(names)
    assert len({name.casefold() for name in found}) == len(names)


@pytest.fixture
def inside(tmp_path):
    folder = tmp_path / "work"
    (folder / "deeper").mkdir(parents=True)
    with places.confined_to(folder):
        yield folder
    assert places.VARIABLE not in os.environ


def test_files_stay_in_the_workdir(inside):
    write.write_bytes(inside / "deeper" / "a", b"x")
    for place in (inside / ".." / "a", inside.parent / "a", inside / "deeper/../../a"):
        with pytest.raises(InputError, match="lies outside of the workdir"):
            write.write_bytes(place, b"x")
    assert [path.name for path in inside.parent.iterdir()] == ["work"]


def test_links_are_not_followed(inside):
    other = inside.parent / "other"
    other.mkdir()
    target = other / "file"
    target.write_bytes(b"mine")
    (inside / "folder").symlink_to(other)
    with pytest.raises(InputError, match="lies outside of the workdir .* Remove the l"):
        write.write_bytes(inside / "folder" / "file", b"x")
    (inside / "a.npz").symlink_to(target)
    write.write_bytes(inside / "a.npz", b"x")  # in place of the link
    assert (inside / "a.npz").read_bytes() == b"x" and not (
        inside / "a.npz"
    ).is_symlink()
    for name in ("log.txt", "metrics.jsonl"):
        (inside / name).symlink_to(target)
    with pytest.raises(InputError, match="log.txt is a link"):
        with console.logging_to(inside / "log.txt"):
            pass
    with pytest.raises(InputError, match="metrics.jsonl is a link"):
        workdir.append_metrics(inside, {"a": 1})
    assert target.read_bytes() == b"mine"


def test_a_run_in_the_folder_of_another_leaves_it_to_that_one(inside):
    with places.confined_to(inside / "deeper"):
        write.write_bytes(inside / "a", b"x")
        with pytest.raises(InputError, match="lies outside of the workdir"):
            write.write_bytes(inside.parent / "a", b"x")
    assert os.environ[places.VARIABLE] == str(inside.resolve())


def test_without_a_run_files_go_anywhere(tmp_path):
    write.write_bytes(tmp_path / "a", b"x")
    with places.confined_to(tmp_path / "in"), places.confined_to(tmp_path):
        write.write_bytes(tmp_path / "a", b"y")
