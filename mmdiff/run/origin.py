"""What results follow from: a digest of the settings and inputs of their run.

The runner writes the digest to run.json before it starts. What is kept for a run that
is stopped carries it, and counts only where that of the run is the same, so that
nothing is taken over from another run. Outside of a run the digest is empty.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdiff.io.json import plain

KEY = "settings_sha256"  # in run.json


def digest(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain values.

    Example:
      >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
      True
    """
    text = json.dumps(plain(values), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def of(path: str | os.PathLike) -> str:
    """Return the digest of the run that a file or folder lies in, empty for none."""
    place = Path(path).absolute()
    for folder in (place, *place.parents):
        try:
            return json.loads((folder / "run.json").read_bytes()).get(KEY, "")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError, AttributeError):  # damaged, or of something else
            return ""
    return ""
