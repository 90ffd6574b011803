"""The rows of `rows`, each a test: refused, in one sentence, before any work."""

import pytest
from hardening import bad_files, inputs, rows

from mmdiff import assets


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with every bad file."""
    return bad_files.write(tmp_path_factory.mktemp("bad"))


def _ids(table):
    return [f"{config}-{keys}"[:60].replace("/", "_") for config, keys, _, _ in table]


@pytest.mark.parametrize("row", rows.EARLY, ids=_ids(rows.EARLY))
def test_refused_before_anything_is_loaded(row, folder, tmp_path):
    assert not inputs.flaw(row, inputs.early(row, folder, tmp_path / "out"))


@pytest.mark.parametrize("row", rows.LATE, ids=_ids(rows.LATE))
def test_refused_before_anything_is_computed(row, folder, tmp_path):
    assert not inputs.flaw(row, inputs.answer(row, folder, tmp_path / "out"))


def test_the_table_is_long():
    assert len(rows.EARLY) >= 300 and len(rows.LATE) >= 250
    known = {config.partition(".")[0] for config, *_ in (*rows.EARLY, *rows.LATE)}
    configs = {path.stem for path in inputs.CONFIGS.glob("*.py")}
    assert configs <= known
    assert assets.weights_path().is_file()  # what rows of `LATE` fall back on


def test_flaws_of_answers_are_seen():
    row = ("generate", "--config.vf=2", 2, "vf=2")
    good = "error: vf=2 is too large. Set it to 1.\n"
    assert inputs.flaw(row, inputs.Answer(2, good)) == ""
    for code, message, words in (
        (1, good, "exit code 1"),
        (2, good + good, "not one line"),
        (2, "vf=2", "not one line"),
        (2, "error: internal error, vf=2\n", "an internal error"),
        (2, f"error: vf=2 {9999 * 'a'}\n", "letters"),
        (2, "error: no.\n", "is not in the sentence"),
    ):
        assert words in inputs.flaw(row, inputs.Answer(code, message))
