"""Lists of targets: every form of line, and which line is at fault."""

import os
import re

import pytest

from mmdiff import assets
from mmdiff.errors import InputError
from mmdiff.targets import table, target


def _write(tmp_path, text, name="list.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _read(tmp_path, text, **options):
    return table.read(_write(tmp_path, text), **options)


def test_empty_fields_are_free(tmp_path):
    lines = _read(
        tmp_path,
        "name,C11,C12,C44,E,nu,V,remark\n"
        "soft,0.1,0.04,0.03,,,0.3,first\n"
        "\n"
        ",,,,0.1,-0.2,,\n"
        "bulky,0.2\n",
    )
    assert [line.target for line in lines] == [
        target.of_constants((0.1, 0.04, 0.03), 0.3),
        target.parse("E=0.1,nu=-0.2"),
        target.parse("C11=0.2"),
    ]
    assert [line.name for line in lines] == ["soft", "target_001", "bulky"]
    assert [line.number for line in lines] == [2, 4, 5]
    assert [line.index for line in lines] == [0, 1, 2]
    assert not any(line.problem for line in lines)
    assert not any(line.known is not None for line in lines)


def test_a_list_may_say_of_which_targets_a_cell_is_known(tmp_path):
    lines = _read(tmp_path, "C11,Known\n0.1,1\n0.2,0\n0.3,\n0.4,maybe\n")
    assert [line.known for line in lines] == [True, False, None, None]
    assert not any(line.problem for line in lines)


def test_titles_may_be_written_as_people_do(tmp_path):
    text = "\ufeff c11 , Zener, VF\n 20 , 1.5 , 0.4 \n"
    (line,) = _read(tmp_path, text, base=100.0)
    assert line.target == target.Target((("C11", 0.2), ("zener", 1.5)), 0.4)


def test_the_shipped_list_is_one():
    lines = table.read(assets.dataset_path() / "targets.csv")
    assert len(lines) == 1660
    assert all(line.target.is_determined and line.target.volume for line in lines)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a,high,,", "C11 'high' is not a number."),
        ("a,inf,,", "C11 'inf' is not finite."),
        ("a,,,0.3", "the volume alone is met by any cell"),
        ("a,0.1,,1.5", "volume fraction 1.5 is not between 0 and 1"),
        ("a/b,0.1,,", "name 'a/b' is no name of a folder: use letters"),
        ("ok,0.1,,", "name 'ok' stands above already."),
        ("a,0.1,,0.3,7", "5 fields under 4 titles."),
    ],
)
def test_lines_that_cannot_be_read(tmp_path, row, problem):
    path = _write(tmp_path, f"name,C11,E,V\nok,0.2,,\n{row}\n")
    good, bad = table.read(path)
    assert not good.problem and problem in bad.problem
    with pytest.raises(InputError) as error:
        table.refuse([good, bad], path, ", or do without")
    message = str(error.value)
    assert message.startswith(
        f"line 3 of {path} is no target to work on: {bad.problem}"
    )
    assert message.endswith(" Correct the file, or do without.")
    table.refuse([good], path)


def test_what_no_cell_can_reach_is_a_problem(tmp_path):
    path = _write(tmp_path, "K,G,V\n0.05,0.03,0.3\n0.21,,0.3\n,-1,\n")
    good, high, unstable = table.check(table.read(path))
    assert not good.problem
    assert "exceeds the Hashin-Shtrikman limit" in high.problem
    assert "G = -1 must be positive" in unstable.problem
    lines = table.check(table.read(path), allow_infeasible=True)
    assert [bool(line.problem) for line in lines] == [False, False, True]
    with pytest.raises(InputError, match=re.escape("1 more cannot be used: 4.")):
        table.refuse([good, high, unstable], path)


def test_many_bad_lines_are_counted(tmp_path):
    path = _write(tmp_path, "K\n" + 20 * "soft\n")
    numbers = ", ".join(str(number) for number in range(3, 13))
    with pytest.raises(InputError, match=f"19 more cannot be used: {numbers}, ...."):
        table.refuse(table.read(path), path)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (
            None,
            r"no list of targets at .*list.csv \(No such file or directory\)",
        ),
        (b"\xff\xfe\x00\x00", r"\(its text is not in UTF-8\)"),
        ("K,V\n0.1,0.3\n".encode("utf-16-le"), r"\(its text is not in UTF-8\)"),
        ("K;V\n0.1;0.3\n", r"only K;V, separated by ';' and not by commas. Give a"),
        ("K\tV\n0.1\t0.3\n", r"separated by '\\t' and not by commas. Give a"),
        ("x," * 9000, r"only x, x, .{80}.* \.\.\. .*x,\. Give a CSV"),
        ("K\n" + "1" * 200_000, r"\(field larger than field limit"),
        ("", "list.csv has no column of a target, only nothing. Give a CSV"),
        ("a,V\n1,0.3\n", "has no column of a target, only a, V."),
        ("K,E,k\n1,2,3\n", "has two columns for K. Remove one of them."),
    ],
)
def test_files_that_are_no_list(tmp_path, content, part):
    path = tmp_path / "list.csv"
    if content is not None:
        _write(tmp_path, content)
    with pytest.raises(InputError, match=part):
        table.read(path)


def test_columns_of_an_orthotropic_tensor_are_refused(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("C11,C22,C12,C44\n0.1,0.2,0.04,0.03\n")
    with pytest.raises(InputError, match="has a column C22, and lists hold cubic"):
        table.read(path)


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(InputError, match=r"\(not a regular file\). Give a CSV"):
            table.read(path)
    with (tmp_path / "long.csv").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match=r"\(1099511627776 bytes, more than 10000"):
        table.read(tmp_path / "long.csv")
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(InputError, match="pipe.txt cannot be read .not a regular file"):
        target.parse(str(tmp_path / "pipe.txt"))
