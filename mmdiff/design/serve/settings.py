"""Settings of a job from what the page sends: known keys, right types, in range.

A job runs with the settings of the config of its kind, so that the same command can be
given by hand. The page may set some of them, none that names a file.
"""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmdiff.errors import InputError, check_ranges
from mmdiff.run.runner import flat
from mmdiff.targets import target as targets
from mmdiff.targets.target import AnyTarget

LONGEST = 4096  # characters of a text
LARGEST = 2**53


class Known(NamedTuple):
    """The settings of a config, and the ranges of its numbers."""

    values: dict[str, Any]
    ranges: Mapping[str, str]


# What the page may set, with narrower ranges where a mistake would cost hours.
KEYS = {
    "generate": {
        **dict.fromkeys(("target", "project_cubic", "vf", "drainable", "base.E"), ""),
        **dict.fromkeys(("base.nu", "allow_infeasible", "resolution"), ""),
        **dict.fromkeys(("min_wall_mm", "min_gap_mm"), "[0, inf) mm"),
        "cell_size_mm": "(0, 10000] mm",
        "num_best": "[1, 16]",
        "num_samples": "[1, 128]",
        "polish_steps": "[0, 200]",
        "seed": "[0, 2147483647]",
        "time_limit_s": "[0, 3600] s",
    },
    "homogenize": {
        **dict.fromkeys(("input_is", "symmetry", "scale", "threshold", "binarize"), ""),
        **dict.fromkeys(("geometry", "refine", "base.E", "base.nu", "index"), ""),
        "cell_size_mm": "(0, 10000] mm",
        "mesh_voxels": "[8, 160]",
        "resize": "[0, 256]",
    },
}


def of_request(kind: str, given: Any, known: Known) -> dict[str, Any]:
    """Return the nested settings of a job: those of its config, changed by `given`.

    Raises:
      InputError: a key that the page may not set, a value of another type, or a number
        out of its range.
    """
    if not isinstance(given, dict):
        raise InputError(
            f"settings are a {type(given).__name__}, not an object. Send "
            '{"key": value, ...}.'
        )
    values = copy.deepcopy(known.values)
    limits = KEYS[kind]
    for key, value in given.items():
        if key not in limits:
            raise InputError(
                f"{_short(key)} is no setting of this page. Use some of "
                f"{', '.join(limits)}."
            )
        group, _, last = key.rpartition(".")
        place = values[group] if group else values
        place[last] = _typed(key, value, place[last])
    numbers = flat(values)
    check_ranges(numbers, {k: r for k, r in known.ranges.items() if k in numbers})
    check_ranges(numbers, {key: limit for key, limit in limits.items() if limit})
    return values


def value_of(values: Mapping[str, Any], key: str) -> Any:
    """Return the value of a key such as "seed" or "base.E"."""
    return flat(values)[key]


def target_of(values: Mapping[str, Any]) -> AnyTarget:
    """Return the target of the settings of a generate job; InputError if it is none."""
    text = values["target"]
    if text.strip().endswith(".txt"):
        raise InputError(
            f"target {_short(text)} names a file. Paste the 36 numbers of the tensor."
        )
    return targets.parse(
        text,
        volume=values["vf"],
        base=values["base"]["E"],
        project_cubic=values["project_cubic"],
    )


def _typed(key: str, value: Any, default: Any) -> Any:
    """Return a value of JSON as the type of its default."""
    kind = type(default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # Whole numbers of JSON may be larger than any float.
    if number and isinstance(value, int) and abs(value) > LARGEST:
        number = False
    if kind is float and number:
        return float(value)
    if kind is int and number and value == value // 1:
        return int(value)
    if kind is str and isinstance(value, str) and len(value) <= LONGEST:
        return value
    if kind is bool and isinstance(value, bool):
        return value
    raise InputError(
        f"{key}={_short(value)} is not of type {kind.__name__}, or too large. Its "
        f"default is {default!r}."
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."
