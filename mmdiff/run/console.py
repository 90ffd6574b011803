"""Lines, notes, tables and progress: on the terminal and, word for word, in the log.

On a terminal rich adds bold headers and a progress bar; anywhere else (pipes, batch
jobs) the same text comes as plain lines. The one piece of module state is the sink: the
open log of the running workdir, set by `logging_to` for the time of a run. Without it
the functions just print, so experiments can be called from a notebook.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mmdiff import places

MOST = 2000  # characters of an error
PLAIN_INTERVAL = 10.0  # seconds between progress lines when there is no terminal


@dataclass
class _Sink:
    """The open log and the text since the last table, which a rerun shows again."""

    file: TextIO
    spell: Callable[[str], str]
    summary: list[str] | None = None


_sink: _Sink | None = None
_listener: Callable[[str], None] | None = None  # of a worker, see `saying_to`


@contextmanager
def logging_to(path: Path, spell: Callable[[str], str] = str) -> Iterator[None]:
    """Append everything that is said inside the block to the file at `path`.

    `spell` makes flags of the arguments in backticks, see `runner.with_flags`.
    """
    global _sink
    before = _sink
    how = {"encoding": "utf-8", "errors": "replace", "buffering": 1}
    with open(path, "a", opener=places.own, **how) as file:
        _sink = _Sink(file, spell)
        try:
            yield
        finally:
            _sink = before


@contextmanager
def saying_to(listener: Callable[[str], None]) -> Iterator[None]:
    """Give what is said inside the block to a function, in place of print and log.

    For workers, whose parent says it.
    """
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


def say(text: str = "") -> str:
    """Print one or more lines, log them, and return them as they were said."""
    if _listener is not None:
        _listener(text)
        return text
    text = _sink.spell(text) if _sink else text
    _show(text)
    log(text)
    if _sink is not None and _sink.summary is not None:
        _sink.summary.append(text)
    return text


def _show(text: str) -> None:
    """Print; once nobody reads (`| head`), run on in silence: the log has it all."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> str:
    """Print something the user should know but need not act on, and return it."""
    return say(f"note: {text}").removeprefix("note: ")


def notes(texts: Iterable[str]) -> list[str]:
    """Print notes, and return them as they were said."""
    return [note(text) for text in texts]


def error(text: str) -> None:
    """Print an error message on stderr and log it."""
    text = f"error: {_sink.spell(text) if _sink else text}"
    if len(text) > MOST:  # of what a file or a flag says
        text = f"{text[: MOST // 2]} ... {text[-MOST // 2 :]}"
    print(text, file=sys.stderr, flush=True)
    log(text)


def log(text: str) -> None:
    """Write to the log only; nothing happens where there is none."""
    if _sink is not None:
        _sink.file.write(text + "\n")


def summary() -> str:
    """Return the last table said and every line after it; empty without a table."""
    return "\n".join((_sink and _sink.summary) or ())


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> None:
    """Print an aligned table: the first column to the left, the others to the right.

    Floats are shown to four significant digits, None as a blank. Rows may be shorter
    than the header.
    """
    lines = format_table(rows, header)
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False, soft_wrap=True)
        console.print(Text(lines[0], style="bold"))
        console.print(Text("\n".join(lines[1:])))
    else:
        _show("\n".join(lines))
    log("\n".join(lines))
    if _sink is not None:
        _sink.summary = list(lines)


def format_table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> list[str]:
    """Return the lines of an aligned table, the header first. See `table`."""
    cells = [
        [*map(_cell, row), *[""] * (len(header) - len(row))] for row in (header, *rows)
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *rest in cells:
        texts = map(str.rjust, rest, widths[1:])
        lines.append("  ".join([first.ljust(widths[0]), *texts]).rstrip())
    return lines


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Show how far a loop of `total` steps is; yields `advance(steps=1, info="")`."""
    show = _bar if sys.stdout.isatty() else _lines
    start = time.monotonic()
    with show(description, total) as advance:
        yield advance
    log(f"{description}: done in {time.monotonic() - start:.1f} s")


@contextmanager
def _bar(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Draw a rich progress bar that disappears when the loop is done."""
    from rich import progress as rich

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[info]}"),
    )
    with rich.Progress(*columns, transient=True) as bar:
        task = bar.add_task(description, total=total, info="")

        def advance(steps: int = 1, info: str = "") -> None:
            bar.update(task, advance=steps, info=info)

        yield advance


@contextmanager
def _lines(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Print a plain line every few seconds; short loops stay silent."""
    start = last = time.monotonic()
    done = 0

    def advance(steps: int = 1, info: str = "") -> None:
        nonlocal last, done
        done += steps
        now = time.monotonic()
        if now - last >= PLAIN_INTERVAL:
            last = now
            text = f"{description}: {done}/{total} after {now - start:.0f} s {info}"
            say(text.rstrip())

    yield advance


def _cell(value: object) -> str:
    """Return the text of one table cell."""
    if value is None:
        return ""
    if isinstance(value, str | bool | int):
        return str(value)
    try:
        return f"{float(value):.4g}"  # type: ignore[arg-type]  # NumPy and JAX scalars
    except (TypeError, ValueError):
        return str(value)
