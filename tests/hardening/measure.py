"""Measure how reliable mmdiff is, and write docs/reliability.md.

    python tests/hardening/measure.py [PART ...] [--count N] [--seed S] [--out DIR]

Parts: inputs (bad inputs), fuzz (mutated files), kills, flips (single bits), soak (a
long list, workers killed), server (clients and malformed requests), table (the page
alone); all if none is named. `--count` is how many of a part, else what COUNTS says;
`--only` names some experiments, formats or configs,
`--kinds` some kinds of flips. What was measured is kept in
DIR/results.json, and a measure that was stopped goes on. Processes may be killed and
wait for others here: keep to one core with `taskset -c 0`.
"""

import argparse
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
)
PAGE = ROOT / "docs" / "reliability.md"
COUNTS = {
    "inputs": 0,  # all of them
    "fuzz": 10_000,
    "kills": 100,
    "flips": 20,
    "soak": 1_000,
    "server": 10_000,
}


class Results:
    """What was measured: rows by part and name, in a file that grows."""

    def __init__(self, path: Path):
        """Read the file, if there is one."""
        self._path = path
        self._parts = json.loads(path.read_text()) if path.is_file() else {}

    def has(self, part: str, name: str) -> bool:
        """Whether something was measured already."""
        return name in self._parts.get(part, {})

    def rows(self, part: str) -> list[dict[str, Any]]:
        """Return the rows of a part."""
        return list(self._parts.get(part, {}).values())

    def add(self, part: str, name: str, row: dict[str, Any]) -> None:
        """Keep a row, and print it."""
        from mmdiff.io.json import write_json

        self._parts.setdefault(part, {})[name] = row
        write_json(self._path, self._parts)
        print(part, name, json.dumps(row), flush=True)


def main(argv: list[str]) -> None:
    """Measure the parts that a command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(COUNTS))
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "reliability")
    parser.add_argument("--only", default="", help="names with commas between")
    parser.add_argument("--kinds", default="", help="of flips, with ; between")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args(argv)
    unknown = set(given.parts) - {*COUNTS, "table"}
    if unknown:
        parser.error(f"no part {sorted(unknown)[0]!r}; there are {', '.join(COUNTS)}")
    given.out.mkdir(parents=True, exist_ok=True)
    results = Results(given.out / "results.json")
    names = given.kinds.split(";") if given.kinds else given.only.split(",")
    only = tuple(filter(None, names))
    for part in given.parts or COUNTS:
        if part != "table":
            importlib.import_module(f"hardening.{part}").measure(
                results, given.count or COUNTS[part], given.seed, given.out, only
            )
    importlib.import_module("hardening.summary").write(given.page, results)


if __name__ == "__main__":
    main(sys.argv[1:])
