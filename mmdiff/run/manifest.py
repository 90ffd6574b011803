"""The manifest of a folder of results: size and SHA-256 of each file, and their origin.

It is written last, when all of them are there. A folder without one is not finished;
one whose files differ from it is not whole, and what made it makes it again.
"""

import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from mmdiff import checksums
from mmdiff.io.json import write_json
from mmdiff.run import console, origin

NAME = ".manifest.json"
# Those that a run writes to after its results, and what only a run that goes on reads:
# that has checks of its own.
ASIDE = frozenset({"config.json", "run.json", "log.txt", "state", "checkpoints"})


def checksum(path: str | os.PathLike) -> dict[str, Any]:
    """Return size and SHA-256 of a file."""
    return {"bytes": os.path.getsize(path), "sha256": checksums.sha256(path)}


def seal(folder: Path, aside: Collection[str] = ()) -> None:
    """Write the manifest of a folder; further names at its top are left aside."""
    files = {name: checksum(folder / name) for name in _names(folder, aside)}
    entry = {"origin": origin.of(folder), "files": files}
    write_json(folder / NAME, entry, indent=None)


def flaws(folder: Path) -> dict[str, str]:
    """Return what is wrong by the name of the file; empty for a whole folder.

    Example:
      >>> flaws(Path("nothing"))
      {'.manifest.json': 'is missing'}
    """
    path = folder / NAME
    try:
        entry = json.loads(path.read_bytes())
        known, follows = dict(entry["files"]), entry["origin"]
    except (FileNotFoundError, NotADirectoryError):
        return {NAME: "is missing"}
    except (OSError, ValueError, KeyError, TypeError):
        return {NAME: "is damaged"}
    if follows != origin.of(folder):
        return {NAME: "is of other settings or inputs"}
    found = {name: state(folder / name) for name in known}
    return {
        name: "is missing" if now is None else "is damaged"
        for name, now in found.items()
        if now != known[name]
    }


def state(path: Path) -> dict[str, Any] | None:
    """Return the checksum of a file, None where there is none."""
    try:
        return checksum(path)
    except (OSError, ValueError):  # ValueError: not even a name
        return None


def is_whole(folder: Path) -> bool:
    """Whether a folder was finished and is whole; a flaw of one that was is noted."""
    if not (folder / NAME).exists():
        return False
    found = flaws(folder)
    for name, text in list(found.items())[:1]:
        console.note(f"{folder / name} {text}. It is made again.")
    return not found


def _names(folder: Path, aside: Collection[str]) -> Iterator[str]:
    """Yield the names of the files of a folder in order, hidden ones left out."""
    for root, folders, files in os.walk(folder):
        skipped = {*ASIDE, *aside} if Path(root) == folder else set()
        folders[:] = sorted(
            x for x in folders if x not in skipped and not x.startswith(".")
        )
        for name in sorted(files):
            if name not in skipped and not name.startswith("."):
                yield (Path(root) / name).relative_to(folder).as_posix()
