"""What cells can reach: the shipped cells as points, bounds as curves, and a target.

The points are rebased to the Poisson's ratio of the solid (`bounds.rebase`). Stiffness
is in units of the solid's Young's modulus.
"""

import base64
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmdiff import bounds
from mmdiff.data import dataset
from mmdiff.design.serve import settings as requested
from mmdiff.errors import InputError
from mmdiff.io.json import plain
from mmdiff.targets import feasibility, quantities
from mmdiff.targets.target import closest_cubic
from mmdiff.typing import Float

AXES = ("V", *quantities.NAMES)
CURVES = ("K", "G", "E")  # that Hashin and Shtrikman bound


@functools.cache
def _cells() -> tuple[Float[np.ndarray, "N 4"], float]:
    """Return C11, C12, C44 and V of the shipped cells, and the solid's nu."""
    data = dataset.load_dataset()
    known = np.column_stack([data.constants, data.volume])
    known.flags.writeable = False
    return known, float(data.info["base"]["nu"])


@functools.lru_cache(maxsize=8)
def points(nu: float) -> Float[np.ndarray, "N 4"]:
    """Return C11, C12, C44 and V of the shipped cells, made of a solid of this nu."""
    known, own = _cells()
    constants = bounds.rebase(known[:, :3], known[:, 3], own, nu)
    found = np.column_stack([constants, known[:, 3]])
    found.flags.writeable = False
    return found


@functools.lru_cache(maxsize=8)
def region(nu: float) -> dict[str, Any]:
    """Return points and curves of the plots: float32 columns of `AXES` in base64."""
    known = points(nu)
    columns = np.column_stack([known[:, 3], quantities.values(known[:, :3])])
    volume = np.linspace(0, 1, 101)
    limits = bounds.hashin_shtrikman(volume, nu)
    data = np.ascontiguousarray(columns.T, "<f4")
    return plain(
        {
            "axes": AXES,
            "count": len(known),
            "points": base64.b64encode(data).decode(),
            "volume": volume,
            "curves": dict(zip(CURVES, limits, strict=True)),
            "labels": {**quantities.LABELS, "V": "volume of solid"},
        }
    )


def describe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what follows from the target of settings, and whether cells can have it.

    "quantities" are null where they are free; "distance" is that to the nearest shipped
    cell, a fraction, as errors are counted.
    """
    nu, found = values["base"]["nu"], {"quantities": {}, "distance": None}
    try:
        asked = requested.target_of(values)
        cubic = closest_cubic(asked)
        every = quantities.values(np.array(cubic.constants))
        found["quantities"] = {"V": asked.volume}
        found["quantities"] |= dict(zip(quantities.NAMES, every, strict=True))
        found["quantities"] |= dict(cubic.asked)
        feasibility.check_feasible(
            asked, nu=nu, allow_infeasible=values["allow_infeasible"]
        )
        found["distance"] = feasibility.training_distance(cubic, points(nu))
    except InputError as error:
        return plain({**found, "ok": False, "message": str(error)})
    return plain({**found, "ok": True, "message": ""})
