"""Lists of SHA-256 as `sha256sum` writes and checks them: `DIGEST  NAME`, a line each.

Names are relative to the folder of the list.
"""

import hashlib
import os
import pathlib
from collections.abc import Iterable


def sha256(path: str | os.PathLike) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listing(folder: pathlib.Path, names: Iterable[str]) -> str:
    """Return the list of some files of a folder."""
    return "".join(f"{sha256(folder / name)}  {name}\n" for name in names)


def flaws(path: pathlib.Path) -> dict[str, str]:
    """Return what is wrong by the name of the file that is not as in a list.

    The list itself may be; where there is none nothing is known.
    """
    try:
        text = path.read_bytes().decode().removesuffix("\n")
        known = dict(reversed(line.split("  ", 1)) for line in text.split("\n"))
    except FileNotFoundError:
        return {}
    except ValueError:
        return {path.name: "is damaged"}
    wrong = {}
    for name, digest in known.items():
        try:
            if sha256(path.parent / name) != digest:
                wrong[name] = f"is damaged: {path.name} has another digest of it"
        except (OSError, ValueError):  # ValueError: no name at all
            wrong[name] = "is missing"
    return wrong
