"""Cells of a dataset near the edge of what is possible: the best ones near a quest."""

import math

import numpy as np

from mmdiff import bounds, elasticity
from mmdiff.data import dataset
from mmdiff.data.dataset import Dataset
from mmdiff.design.extremes.quest import Quest
from mmdiff.errors import InputError


def edge_rows(
    quest: Quest,
    data: Dataset,
    *,
    count: int,
    band: float,
    isotropy: float,
    alike: float,
) -> list[int]:
    """Return the rows of at most `count` best cells near a quest, best first.

    `band` is the largest difference from its volume, `isotropy` the half width of the
    band of the Zener ratio around 1, where it is asked, and `alike` the share of equal
    voxels from which two cells count as one.
    """
    constants, volume = data.constants, data.volume
    moduli = elasticity.moduli(constants)
    allowed = abs(volume - quest.volume) <= band
    if quest.is_isotropic:
        allowed &= abs(np.log(moduli["zener"])) <= math.log1p(isotropy)
        shares = bounds.hashin_shtrikman_ratios(constants, volume)
        merit = shares[quest.goal.label[0]]
    else:
        allowed &= moduli["E"] >= quest.limits.young
        merit = quest.merit(moduli["nu"])
    if quest.printing.drainable:
        allowed &= data.drainable
    near = np.flatnonzero(allowed)
    order = near[np.argsort(-merit[near], kind="stable")]
    chosen = dataset.distinct(data, order, count=count, alike=alike)
    if not chosen:
        young = quest.limits.young
        loose = f" or `edge_isotropy={isotropy:g}`"
        other = loose if quest.is_isotropic else f" or lower `min_E={young:g}`"
        other += ", or pass `voids=closed`" if quest.printing.drainable else ""
        raise InputError(
            f"no cell of the dataset is near the quest {quest.name!r} at volume "
            f"{quest.volume:g}. Widen `edge_band={band:g}`{other}."
        )
    return chosen
