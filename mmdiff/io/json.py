"""Plain values as text files: JSON, CSV and Markdown tables.

JSON is strict: NaN and infinity become null, arrays lists, paths text. Files appear at
once, see `mmdiff.io.write.write_bytes`.
"""

import csv
import io
import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def plain(value: Any) -> Any:
    """Return `value` in JSON's types: arrays as lists, NaN as None, paths as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # NumPy and JAX arrays and scalars
        return plain(value.tolist())
    return str(value)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, a line for each row."""
    lines = ["| " + " | ".join(line) + " |" for line in [header, *rows]]
    lines.insert(1, "|---" * len(header) + "|")
    return "\n".join(lines) + "\n"


def card_head(name: str, *tags: str, **further: str) -> str:
    """Return the YAML head by which hubs of models and datasets know a card.

    Example:
      >>> print(card_head("Cells", "elasticity"), end="")
      ---
      license: apache-2.0
      pretty_name: Cells
      tags:
      - metamaterials
      - elasticity
      ---
      <BLANKLINE>
    """
    every = {"license": "apache-2.0", "pretty_name": name, **further}
    lines = [f"{key}: {value}" for key, value in every.items()]
    lines += ["tags:", *(f"- {tag}" for tag in ("metamaterials", *tags))]
    return "\n".join(["---", *lines, "---", "", ""])


def write_json(
    path: str | os.PathLike, data, *, indent: int | None = 2
) -> pathlib.Path:
    """Write nested data as strict JSON; arrays are lists and NaN is null."""
    text = json.dumps(plain(data), indent=indent, allow_nan=False, ensure_ascii=False)
    return _write(path, text + "\n")


def write_csv(path: str | os.PathLike, rows: Iterable[Mapping]) -> pathlib.Path:
    """Write rows as CSV; columns are all keys in order of first appearance.

    Missing and non-finite values become empty fields. A text that a spreadsheet would
    take for a formula has an apostrophe in front.
    """
    rows = [{k: _defused(v) for k, v in plain(row).items()} for row in rows]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return _write(path, buffer.getvalue())


def _defused(value):
    """Return a field of a table, with an apostrophe where it would be a formula."""
    starts = isinstance(value, str) and value.lstrip(" ")[:1] in tuple("=+-@\t\r")
    return f"'{value}" if starts and not _is_number(value) else value


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _write(path, text):
    # NumPy, without which the command line answers sooner.
    from mmdiff.io.write import write_bytes

    return write_bytes(path, text.encode())
