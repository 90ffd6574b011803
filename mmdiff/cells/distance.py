"""Stand-in: packed fields, until the real module is merged."""

import numpy as np

from mmdiff.cells import symmetry
from mmdiff.typing import Float, Int8

CLIP = 2.81


def pack(psi: Float[np.ndarray, "*b n n n"]) -> Int8[np.ndarray, "*b m"]:
    """Return round(127 psi / CLIP) of the independent samples."""
    values = symmetry.gather_independent(np.asarray(psi)) * (127 / CLIP)
    return np.clip(np.rint(values), -127, 127).astype(np.int8)


def unpack(packed: Int8[np.ndarray, "*b m"]) -> Float[np.ndarray, "*b n n n"]:
    """Return the fields of packed samples."""
    n = symmetry.side(packed.shape[-1])
    return symmetry.spread(packed * (CLIP / 127), n)
