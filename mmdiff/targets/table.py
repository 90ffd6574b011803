"""A CSV file of many targets: every line is read and checked before any is computed.

Columns are quantities by name (C11, C12, C44, K, G, E, nu, zener), V for the volume,
`name` and `known`, in any order and case; an empty field is free. Other columns are not
read. A line keeps its number, so that a person finds it, and its place among all lines,
so that leaving one out changes nothing for the others.
"""

import csv
import io
import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from mmdiff import elasticity, places
from mmdiff.errors import InputError, cut
from mmdiff.targets import feasibility, quantities
from mmdiff.targets.target import Target, from_values

_COLUMNS = {name.lower(): name for name in (*quantities.NAMES, "V", "name", "known")}
_COLUMNS |= {"vf": "V"}
_MOST = 100_000_000  # bytes of a list
_EXAMPLE = (
    f"Give a CSV file with some of the columns {', '.join(quantities.NAMES)} and V; an "
    "empty field is free."
)


class Line(NamedTuple):
    """One line of a list: its number in the file, from 1, and index among the targets.

    `target` is None where the line cannot be read; `problem` says why it is of no use;
    `known` is whether a cell near the target is known (1 or 0 in the list), else None.
    """

    number: int
    index: int
    name: str
    target: Target | None
    problem: str = ""
    known: bool | None = None


def read(path: str | os.PathLike, *, base: float = 1.0) -> list[Line]:
    """Return all lines of a CSV file in units of a base material.

    Raises:
      InputError: the file is missing, is not text, or has no column of a target.
    """
    path = pathlib.Path(path)
    try:
        text = places.read_text(path, _MOST)
        reader = csv.reader(io.StringIO(text, newline=""))
        header = next(reader, [])
        rows = [(reader.line_num, r) for r in reader if any(map(str.strip, r))]
    except (OSError, ValueError, csv.Error) as error:
        why = error if isinstance(error, csv.Error) else places.reason(error)
        raise InputError(f"no list of targets at {path} ({why}). {_EXAMPLE}") from error
    columns = [_COLUMNS.get(title.strip().lower()) for title in header]
    more = set(elasticity.ORTHOTROPIC) - set(elasticity.NAMES)
    if nine := [t.strip() for t in header if t.strip().upper() in more]:
        raise InputError(
            f"{path} has a column {nine[0]}, and lists hold cubic targets. Give an "
            "orthotropic tensor by itself, as `target=tensor.txt`."
        )
    if not set(columns) & set(quantities.NAMES):
        titles = cut(", ".join(title.strip() for title in header)) or "nothing"
        other = next((mark for mark in ";\t|" if mark in "".join(header)), None)
        separated = f", separated by {other!r} and not by commas" if other else ""
        raise InputError(
            f"{path} has no column of a target, only {titles}{separated}. {_EXAMPLE}"
        )
    twice = {name for name in columns if name and columns.count(name) > 1}
    if twice:
        raise InputError(
            f"{path} has two columns for {min(twice)}. Remove one of them."
        )
    lines, names = [], set()
    for index, (number, row) in enumerate(rows):
        line = _line(index, number, columns, row, base)
        if line.name in names:
            line = line._replace(problem=f"name {line.name!r} stands above already.")
        names.add(line.name)
        lines.append(line)
    return lines


def _line(index, number, columns, row, base):
    fields = {
        column: field.strip()
        for column, field in zip(columns, row, strict=False)
        if column and field.strip()
    }
    name = cut(fields.pop("name", f"target_{index:03d}"))
    known = {"0": False, "1": True}.get(fields.pop("known", ""))
    line = Line(number, index, name, None, known=known)
    if not re.fullmatch(r"[\w-]{1,100}", name):
        return line._replace(
            problem=f"name {name!r} is no name of a folder: use letters, digits, - and "
            "_ alone."
        )
    if len(row) > len(columns):
        return line._replace(problem=f"{len(row)} fields under {len(columns)} titles.")
    values = {}
    for column, field in fields.items():
        try:
            values[column] = float(field)
        except ValueError:
            return line._replace(
                problem=f"{column} {cut(repr(field))} is not a number."
            )
        if not abs(values[column]) < float("inf"):
            return line._replace(problem=f"{column} {cut(field)!r} is not finite.")
    try:
        return line._replace(target=from_values(values, base=base))
    except InputError as error:
        return line._replace(problem=str(error))


def check(
    lines: Sequence[Line], *, nu: float = elasticity.NU, allow_infeasible: bool = False
) -> list[Line]:
    """Return the lines, with the problem of those that `check_feasible` refuses."""
    options = {"nu": nu, "allow_infeasible": allow_infeasible}
    checked = []
    for line in lines:
        if not line.problem:
            try:
                feasibility.check_feasible(line.target, **options)
            except InputError as error:
                line = line._replace(problem=str(error))
        checked.append(line)
    return checked


def refuse(lines: Sequence[Line], path: str | os.PathLike, advice: str = "") -> None:
    """Raise InputError if any line of a file has a problem, with that of the first one.

    The advice is what else a person can do.
    """
    bad = [line for line in lines if line.problem]
    if not bad:
        return
    more = ""
    if len(bad) > 1:
        numbers = ", ".join(str(line.number) for line in bad[1:11])
        numbers += ", ..." if len(bad) > 11 else ""
        more = f" {len(bad) - 1} more cannot be used: {numbers}."
    problem = bad[0].problem.removesuffix(".")
    raise InputError(
        f"line {bad[0].number} of {path} is no target to work on: {problem}.{more} "
        f"Correct the file{advice}."
    )
