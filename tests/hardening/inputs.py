"""Bad inputs, each refused by the command line in one sentence, and in time.

All rows of `rows` run in this process, as users' command lines would in theirs.
"""

import contextlib
import io
import shutil
import signal
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from hardening import bad_files, rows

from mmdiff import main
from mmdiff.run import environment

CONFIGS = Path(main.__file__).parent.parent / "configs"
SECONDS = 120  # for one row, JAX and a dataset to be loaded included
LONGEST = 2100  # letters of a sentence


class Answer(NamedTuple):
    """What a command line said to an input."""

    code: int
    message: str


def command(config: str, keys: str, folder: Path, workdir: Path) -> list[str]:
    """Return the command line of a row."""
    path = config if "FOLDER" in config else f"configs/{config}"
    path = path if ".py" in path or "FOLDER" in path else f"{path}.py"
    first, *more = keys.split(" --") if " --" in keys else [keys]
    given = [*filter(None, [first]), *(f"--{key}" for key in more)]
    arguments = ["mmdiff", f"--workdir={workdir}", f"--config={path}", *given]
    return [text.replace("FOLDER", str(folder)) for text in arguments]


def answer(row: tuple, folder: Path, workdir: Path) -> Answer:
    """Run a row and return its answer; exceptions are those of the command line.

    Raises:
      TimeoutError: it was still at work after `SECONDS`.
    """
    config, keys, _, _ = row
    error = io.StringIO()
    with (
        in_time(SECONDS),
        contextlib.redirect_stderr(error),
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch.object(environment, "git_state", lambda: None),  # takes a second
    ):
        code = main.main(command(config, keys, folder, workdir))
    return Answer(code, error.getvalue())


def early(row: tuple, folder: Path, workdir: Path) -> Answer:
    """Return the answer to a row of `rows.EARLY`: no run may begin, nothing be made.

    Raises:
      AssertionError: it did.
    """

    def started(job):
        raise AssertionError("the run has begun")

    with (
        mock.patch.object(main.runner, "execute", started),
        mock.patch.object(main.memory, "available", lambda: 8_000_000_000),
    ):
        found = answer(row, folder, workdir)
    if workdir.exists():
        raise AssertionError("the workdir was made")
    return found


def flaw(row: tuple, found: Answer) -> str:
    """Return what is wrong with an answer, empty for a good one.

    Example:
      >>> flaw(("generate", "--config.vf=2", 2, "vf=2"), Answer(2, "error: no\\n"))
      "'vf=2' is not in the sentence"
    """
    _, _, code, part = row
    message = found.message
    if found.code != code:
        return f"exit code {found.code}, not {code}"
    if not message.startswith("error: ") or message.count("\n") != 1:
        return "not one line"
    if "Traceback" in message or "internal error" in message:
        return "an internal error"
    if len(message) > LONGEST:
        return f"{len(message)} letters"
    return "" if part in message else f"{part!r} is not in the sentence"


@contextlib.contextmanager
def in_time(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in a block that takes too long."""

    def late(*_):
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def measure(results: Any, count: int, seed: int, folder: Path, only=()) -> None:
    """Run all rows, or the first `count` of each table."""
    files = bad_files.write(folder / "bad")
    workdir = folder / "bad_out"
    for kind, table, ask in (
        ("early", rows.EARLY, early),
        ("late", rows.LATE, answer),
    ):
        for row in table[: count or None]:
            name = f"{kind} {row[0]} {row[1]}"
            if len(name) > 120:
                name = f"{name[:110]} {zlib.crc32(name.encode()):08x}"
            if results.has("inputs", name) or (only and row[0] not in only):
                continue
            shutil.rmtree(workdir, ignore_errors=True)
            begin = time.process_time()
            try:
                found = ask(row, files, workdir)
                text, wrong = found.message, flaw(row, found)
            except (Exception, SystemExit) as error:
                text, wrong = "", f"{type(error).__name__}: {error}"
            seconds = round(time.process_time() - begin, 2)
            kept = {"config": row[0].partition(".")[0], "kind": kind, "flaw": wrong}
            kept |= {"answer": text[:200].rstrip(), "seconds": seconds}
            results.add("inputs", name, kept)
