"""docs/reliability.md: the results of `measure`, as a page of tables."""

import os
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from hardening.flips import OUTCOMES
from hardening.inputs import CONFIGS

HEAD = """# How reliable it is

What was measured by `python tests/hardening/measure.py`, which wrote this page: bad
inputs, damaged files, runs that are killed, flipped bits, a long list whose processes
are killed, and the page's server under malformed requests. The same command goes on
where it was stopped, and measures more with `--count` or another `--seed`; each part
says in its file of `tests/hardening` how it does it. Small numbers of each run in the
slow tests.

Measured with {versions}, on {cores} of {machine}.
"""
NO_ROWS = "Not measured yet.\n"
Rows = Sequence[dict[str, Any]]


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table in Markdown.

    Example:
      >>> print(table(["a"], [[1]]), end="")
      | a |
      |---|
      | 1 |
    """
    lines = [titles, *rows]
    texts = ["| " + " | ".join(str(x) for x in line) + " |" for line in lines]
    return "\n".join([texts[0], "|" + len(titles) * "---|", *texts[1:]]) + "\n"


def by(rows: Rows, key: str) -> dict[str, Rows]:
    """Return rows by a value of theirs, in the order in which they came."""
    found: dict[str, list] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return found


def inputs(rows: Rows) -> str:
    """Return the table of bad inputs by config."""
    known = {path.stem for path in CONFIGS.glob("*.py")}
    others = ("none of configs/", [row for row in rows if row["config"] not in known])
    parts = [(name, part) for name, part in by(rows, "config").items() if name in known]
    lines = [
        [name, len(part), sum(not row["flaw"] for row in part)]
        for name, part in (*sorted(parts), others)
    ]
    lines.append(["all", len(rows), sum(not row["flaw"] for row in rows)])
    text = table(["config", "inputs", "refused as they should be"], lines)
    wrong = [f"- `{row['answer'][:80]}`: {row['flaw']}" for row in rows if row["flaw"]]
    return text + "".join(f"{line}\n" for line in wrong[:20])


def fuzz(rows: Rows) -> str:
    """Return the table of damaged files by format."""
    titles = ["format", "files", "read", "refused", "crash, hang, other", "peak MB"]
    lines = [_fuzzed(name, part) for name, part in by(rows, "format").items()]
    return table(titles, [*lines, _fuzzed("all", rows)])


def _fuzzed(name: str, rows: Rows) -> list:
    counts = [sum(row[key] for row in rows) for key in ("read", "refused")]
    wrong = sum(len(row["wrong"]) for row in rows)
    peak = round(max(row["bytes"] for row in rows) / 1e6)
    return [name, sum(counts) + wrong, *counts, wrong, peak]


def kills(rows: Rows) -> str:
    """Return the table of killed runs by experiment."""
    lines = [_killed(name, part) for name, part in by(rows, "experiment").items()]
    titles = ["experiment", "SIGKILL", "SIGTERM", "finished", "bit for bit the same"]
    return table(titles, [*lines, _killed("all", rows)])


def _killed(name: str, rows: Rows) -> list:
    killed = [row for row in rows if row["killed"]]
    counts = Counter(row["signal"] for row in killed)
    done = sum(row["codes"][-1] == 0 for row in killed)
    same = sum(row["identical"] for row in killed)
    return [name, counts["SIGKILL"], counts["SIGTERM"], done, same]


def flips(rows: Rows) -> str:
    """Return the table of flipped bits by kind."""
    lines = [_flipped(name, part) for name, part in by(rows, "kind").items()]
    return table(["kind", "flips", *OUTCOMES], [*lines, _flipped("all", rows)])


def _flipped(name: str, rows: Rows) -> list:
    counts = Counter(row["outcome"] for row in rows)
    return [name, len(rows), *(counts[outcome] for outcome in OUTCOMES)]


def soak(rows: Rows) -> str:
    """Return the table of long lists."""
    titles = ["targets", "done", "killed", "starts", "MB, begin", "middle", "end"]
    titles += ["sample", "of these the same"]
    lines = []
    for row in rows:
        memory = row["megabytes"] or [0]
        places = (memory[len(memory) // 10], memory[len(memory) // 2], memory[-1])
        killed = ", ".join(f"{n} {what}" for what, n in Counter(row["killed"]).items())
        same = row["sample"] - len(row["different"])
        head = [row["targets"], row["done"], killed or "none", len(row["codes"])]
        lines.append([*head, *places, row["sample"], same])
    return table(titles, lines)


def server(rows: Rows) -> str:
    """Return the table of attacks on the server."""
    titles = ["requests", "clients", "answers", "alive", "MB, first to last"]
    titles += ["files outside", "tracebacks"]
    lines = []
    for row in rows:
        answers = ", ".join(f"{n} {what}" for what, n in row["answers"].items())
        memory = " ".join(map(str, row["megabytes"]))
        line = [row["requests"], row["clients"], answers, row["alive"], memory]
        lines.append([*line, len(row["outside"]), row["tracebacks"]])
    return table(titles, lines)


PARTS: dict[str, tuple[str, str, Callable[[Rows], str]]] = {
    "inputs": (
        "Bad inputs",
        "Every row of `tests/hardening/early.txt` and `late.txt`: the exit code (2 "
        "input, 3 data, 4 memory), one line that holds what it should, no traceback, "
        "and for most of them no workdir.",
        inputs,
    ),
    "fuzz": (
        "Damaged files",
        "Bytes changed, cut out, repeated or put in, and numbers of headers replaced "
        "by extreme ones. A file may take 60 s. One that keeps a library busy counts "
        "as refused: `mmdiff.apart` ends the process that reads it.",
        fuzz,
    ),
    "kills": (
        "Killed runs",
        "Each experiment that resumes, tiny, on one core: a signal at a random time, "
        "the same command until it is done, and all products compared with those of an "
        "undisturbed run, but for times of the clock. Of a training that stops in good "
        "order the report of that step is one more in `metrics.jsonl`, `loss.png` and "
        "the card: of trainings the rest is compared, weights above all. Go on with a "
        "training on as many cores as it began with: XLA splits sums by their number, "
        "and of one thread against four 38 of 100 arrays differ in their last bits.",
        kills,
    ),
    "flips": (
        "Flipped bits",
        "One bit of one file, then what the next run would read. Detected is refused, "
        "or left out and made again; harmless is the same value, or the same products.",
        flips,
    ),
    "soak": (
        "A long list",
        "`generate.py` with two workers; workers and the run itself are killed.",
        soak,
    ),
    "server": (
        "The server",
        "Malformed requests and, every fiftieth, a good one (polite).",
        server,
    ),
}


def write(path: Path, results: Any) -> None:
    """Write the page of some results."""
    names = ("jax", "numpy", "scipy")
    known = [f"{name} {metadata.version(name)}" for name in names]
    versions = ", ".join([f"Python {platform.python_version()}", *known])
    count = len(os.sched_getaffinity(0))
    cores = f"{count} core{'s' if count > 1 else ''}"
    machine = f"{os.cpu_count()} of {platform.machine()} ({platform.system()})"
    texts = [HEAD.format(versions=versions, cores=cores, machine=machine)]
    for part, (title, text, make) in PARTS.items():
        rows = results.rows(part)
        texts.append(f"## {title}\n{text}\n\n{make(rows) if rows else NO_ROWS}")
    path.write_text("\n".join(texts))
