"""A pasted 6x6 tensor as a target: reading it, and the closest cubic tensor.

Six rows of six numbers in Voigt order 11 22 33 23 13 12 with engineering shear, as
`configs/homogenize.py` writes them to tensor.txt. The model makes cubic cells, so that
another tensor is replaced by the closest cubic one only where the user says so.
"""

import pathlib

import numpy as np

from mmdiff import elasticity
from mmdiff.errors import InputError
from mmdiff.typing import Float

CUBIC = 5e-3  # relative distance up to which rounding explains what is not cubic
# Entries that are equal in a cubic tensor, by the name of their group.
_GROUPS = (
    {"C11": (0, 0), "C22": (1, 1), "C33": (2, 2)},
    {
        "C12": (0, 1),
        "C13": (0, 2),
        "C23": (1, 2),
        "C21": (1, 0),
        "C31": (2, 0),
        "C32": (2, 1),
    },
    {"C44": (3, 3), "C55": (4, 4), "C66": (5, 5)},
)


def load(text: str) -> str:
    """Return the content of a text file, where the text is the name of one.

    Raises:
      InputError: there is no such file, or it is not text.
    """
    name = text.strip()
    if not name.endswith(".txt"):
        return text
    try:
        return pathlib.Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"target file {name} cannot be read ({type(error).__name__}). Give a text "
            "file with the six rows of a 6x6 tensor."
        ) from error


def to_cubic(
    tensor: Float[np.ndarray, "6 6"], *, project: bool = False
) -> Float[np.ndarray, "3"]:
    """Return C11, C12, C44 of a tensor that is cubic, or of the closest one.

    Args:
      tensor: of finite numbers.
      project: accept a tensor that is not cubic.

    Raises:
      InputError: it differs from cubic symmetry by more than `CUBIC`.
    """
    # A tensor that is not symmetric is no cubic one either.
    closest = elasticity.voigt_to_cubic((tensor + tensor.T) / 2)
    off = float(elasticity.cubic_distance(tensor)) if tensor.any() else 0.0
    if not project and not off <= CUBIC:
        (first, one), (second, two) = _worst(tensor)
        numbers = "/".join(f"{value:.3g}" for value in closest)
        raise InputError(
            f"target tensor differs from cubic symmetry by {100 * off:.2g} % "
            f"({first} {one:.3g}, {second} {two:.3g}). This model makes cubic cells; "
            f"using the closest cubic tensor {numbers}: pass "
            "`project_cubic=True` to accept."
        )
    return closest


def _worst(tensor):
    """Return names and values of the two entries that differ most from a cubic one."""
    pairs = []
    for group in _GROUPS:
        found = sorted((float(tensor[place]), name) for name, place in group.items())
        (low, small), (high, large) = found[0], found[-1]
        # In the order of their names, as people read a tensor.
        pairs.append((high - low, sorted([(small, low), (large, high)])))
    known = {place for group in _GROUPS for place in group.values()}
    for i, j in np.ndindex(6, 6):
        if (i, j) not in known:
            entry = (f"C{i + 1}{j + 1}", float(tensor[i, j]))
            pairs.append((abs(tensor[i, j]), [entry, ("not", 0.0)]))
    return max(pairs, key=lambda pair: pair[0])[1]
