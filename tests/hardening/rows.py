"""The tables of bad inputs: one row an input, its exit code, a part of the sentence.

A line of `early.txt` and `late.txt` is a row: config, keys, code and part, with ` | `
between. Rows of `EARLY` are refused before JAX is loaded and before the workdir exists;
those of `LATE` by an experiment, before it computes anything. FOLDER stands for a
folder with the files of `bad_files`, and {ab*30} for "ab" thirty times.
"""

import re
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """A command line that must be refused, and how."""

    config: str  # name of a file of configs/, or a path
    keys: str  # the other arguments, with spaces between
    code: int
    part: str  # of the sentence


def _read(name: str) -> list[Row]:
    text = Path(__file__).with_name(name).read_text("utf-8")
    rows = [line.split(" | ") for line in text.splitlines()]
    whole = [[_spelled(cell) for cell in row] for row in rows]
    return [Row(config, keys, int(code), part) for config, keys, code, part in whole]


def _spelled(cell: str) -> str:
    return re.sub(r"\{(.{1,2}?)\*(\d+)\}", lambda found: found[1] * int(found[2]), cell)


EARLY, LATE = _read("early.txt"), _read("late.txt")
