"""Digests of the inputs of a run: of what files hold, not of their names."""

import hashlib
import os
import re
from importlib.machinery import PathFinder
from pathlib import Path

from mmdiff.checksums import sha256

_DETACHED = re.compile(rb"^data ?file: *(.*?)\s*$", re.MULTILINE)  # of NRRD headers
LARGEST = 1 << 36  # bytes of a file that is read to know it
# Of a dataset these list the rest with digests.
_LISTS = ("layout.json", "selection.json", "manifests/*.json")


def digest(value: str, *, folders: bool = False) -> str | None:
    """Return the SHA-256 of the files that the value of a setting names; None for none.

    A value is a file, a dataset, or a folder with a family, of which family.npz counts
    and not what a later run writes beside it; several of them with commas between; or a
    Python function, `FILE.py:NAME` or `MODULE:NAME`, of which the file counts, not what
    that imports. With `folders` it may be any folder: else one that has the name of an
    option by chance is none.
    """
    parts = (value, *value.split(","), value.rpartition(":")[0])
    files = [
        file for part in dict.fromkeys(parts) if part for file in _files(part, folders)
    ]
    files = files or _module_file(value)
    if not files:
        return None
    try:
        lines = [f"{_content(file)}  {name}\n" for name, file in files]
    except OSError:  # what reads it says so
        return None
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _content(file: Path) -> str:
    """Return the digest of a file; of one larger than `LARGEST` its size.

    Hardly a memory holds such a file, and reading it takes long.
    """
    size = file.stat().st_size
    return sha256(file) if size <= LARGEST else f"{size} bytes"


def _module_file(value: str) -> list[tuple[str, Path]]:
    """Return the file of the module in `MODULE:NAME`, which is not imported."""
    module, colon, _ = value.partition(":")
    if not colon or not all(part.isidentifier() for part in module.split(".")):
        return []
    places = None
    for depth in range(1, module.count(".") + 2):
        name = ".".join(module.split(".")[:depth])
        spec = PathFinder.find_spec(name, places)
        if spec is None:
            return []
        places = spec.submodule_search_locations or ()
    origin = spec.origin
    return [("", Path(origin))] if origin and os.path.isfile(origin) else []


def _files(text: str, folders: bool) -> list[tuple[str, Path]]:
    """Return name and place of the files of a path, empty where there are none.

    Pipes and devices are none: reading them may never end.
    """
    if os.path.isfile(text):
        path = Path(text)
        return [("", path), *(("data", file) for file in _detached(path))]
    if not os.path.isdir(text):
        return []
    root = Path(text)
    root = root / "data.zarr" if (root / "data.zarr").is_dir() else root
    if not folders and (root / "family.npz").is_file():
        return [("", root / "family.npz")]
    is_dataset = (root / "layout.json").is_file()
    kinds = _LISTS if is_dataset else ("[!.]*",) if folders else ()
    found = sorted(path for kind in kinds for path in root.glob(kind))
    return [(p.relative_to(root).as_posix(), p) for p in found if p.is_file()]


def _detached(path: Path) -> list[Path]:
    """Return the file in which the values lie that a header describes, if any."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError:  # what reads it says so
        return []
    found = _DETACHED.search(head) if head.startswith(b"NRRD") else None
    place = found and os.path.join(path.parent, os.fsdecode(found[1]))
    return [Path(place)] if place and os.path.isfile(place) else []
