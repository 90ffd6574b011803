"""Names and places of files: safe, unique and in the workdir; regular, not too large.

While a run is on, no file is written outside of its workdir, whatever names and links
say. The folder stands in the environment, so that worker processes know it, too.
"""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mmdiff.errors import InputError, cut

VARIABLE = "MMDIFF_WORKDIR"  # of the environment
_SAFE = re.compile(r"\w[\w .,+=()@-]*")
_MOST = 100  # characters of a name that is kept


def safe_names(names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Return a name of a file or folder for each name, none of them twice.

    A name that is safe, and free, stays. Others lose what is unsafe and get a number.
    Names that differ in upper and lower case alone are one name to some systems.

    Args:
      names: any text.
      taken: names that others have already.

    Example:
      >>> safe_names(["cell", "..", "a/b", "Cell", "log.txt"], taken=["log.txt"])
      ['cell', 'file_0', 'a_b_0', 'Cell_0', 'log.txt_0']
    """
    used = {name.casefold() for name in taken}
    found = []
    for name in names:
        kept = _SAFE.fullmatch(name) and len(name) <= _MOST and name[-1] not in ". "
        chosen, number = name, 0
        if not kept:
            name = re.sub(r"[^\w.+=()@-]+", "_", name)[:_MOST]
            name = re.sub(r"^[\W_]+|[._]+$", "", name) or "file"
            chosen = f"{name}_0"
        while chosen.casefold() in used:
            chosen, number = f"{name}_{number}", number + 1
        used.add(chosen.casefold())
        found.append(chosen)
    return found


@contextlib.contextmanager
def confined_to(folder: str | os.PathLike) -> Iterator[None]:
    """Let nothing be written outside of a folder in the block, see `check`.

    In a block of a folder that holds this one that folder stays: the environment is of
    the whole process, and other threads of the run around go on writing there.
    """
    before = os.environ.get(VARIABLE)
    inside = Path(folder).resolve()
    if not before or not inside.is_relative_to(before):
        os.environ[VARIABLE] = str(inside)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def check(path: str | os.PathLike) -> None:
    """Raise InputError for a place that is not inside of the folder of the run.

    A file that is a link counts by where the link stands: writers replace it.
    """
    inside = os.environ.get(VARIABLE)
    if not inside:
        return
    path = Path(path)
    if path.name == ".." or not path.parent.resolve().is_relative_to(inside):
        raise InputError(
            f"{cut(path)} lies outside of the workdir {cut(inside)}. Remove the link "
            "that leads there, or rename the input."
        )


def read_text(path: str | os.PathLike, most: int) -> str:
    """Return the text of a file that a user names.

    Args:
      path: a regular file: devices and pipes may have no end.
      most: bytes that it may have.

    Raises:
      OSError: it cannot be read, is none of these, or too large.
      ValueError: it is not UTF-8.
    """
    path = Path(path)
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if found.st_size > most:
        raise OSError(errno.EFBIG, f"{found.st_size} bytes, more than {most}")
    text = path.read_text("utf-8-sig")
    if "\0" in text:
        raise ValueError("zeros between its characters")
    return text


def reason(error: OSError | ValueError) -> str:
    """Return in words why `read_text` failed."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "its text is not in UTF-8"


def own(path: str, flags: int) -> int:
    """Open a file that is written to where it stands; as `opener` of `open`.

    Raises:
      InputError: it is a link, so that another file would be written to.
    """
    check(path)
    if os.path.islink(path):
        raise InputError(
            f"{cut(path)} is a link, and what is written there would go elsewhere. "
            "Remove it."
        )
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
