"""A pasted 6x6 tensor as a target: reading it, and the closest cubic tensor.

Six rows of six numbers in Voigt order 11 22 33 23 13 12 with engineering shear, as
`configs/homogenize.py` writes them to tensor.txt. Cells are cubic, or orthotropic with
the axes of the tensor; another tensor is replaced by the closest cubic one only where
the user says so.
"""

import numpy as np

from mmdiff import elasticity, places
from mmdiff.elasticity import orthotropic_to_voigt, voigt_to_orthotropic
from mmdiff.errors import InputError, cut
from mmdiff.typing import Float

_MOST = 100_000  # bytes of a file
CUBIC = 5e-3  # relative distance up to which rounding explains what is not cubic


def load(text: str) -> str:
    """Return the content of a text file, where the text is the name of one."""
    name = text.strip()
    if not name.endswith(".txt"):
        return text
    try:
        return places.read_text(name, _MOST)
    except (OSError, ValueError) as error:
        raise InputError(
            f"target file {cut(name)} cannot be read ({places.reason(error)}). Give a "
            "text file with the six rows of a 6x6 tensor."
        ) from error


def is_orthotropic(tensor: Float[np.ndarray, "6 6"]) -> bool:
    """Whether a tensor is symmetric, with mirrors across the axes, and not cubic."""
    size = np.linalg.norm(tensor)
    if not size > 0:
        return False
    mirrored = orthotropic_to_voigt(voigt_to_orthotropic((tensor + tensor.T) / 2))
    if not np.linalg.norm(tensor - mirrored) <= CUBIC * size:
        return False
    return bool(elasticity.cubic_distance(tensor) > CUBIC)


def to_cubic(
    tensor: Float[np.ndarray, "6 6"], *, project: bool = False
) -> Float[np.ndarray, "3"]:
    """Return C11, C12, C44 of the closest cubic tensor.

    Raises:
      InputError: it is farther away than `CUBIC`, and not to be projected.
    """
    # A tensor that is not symmetric is no cubic one either.
    closest = elasticity.voigt_to_cubic((tensor + tensor.T) / 2)
    off = float(elasticity.cubic_distance(tensor)) if tensor.any() else 0.0
    if not project and not off <= CUBIC:
        (first, one), (second, two) = _worst(tensor)
        numbers = "/".join(f"{value:.3g}" for value in closest)
        raise InputError(
            f"target tensor differs from cubic symmetry by {100 * off:.2g} % "
            f"({first} {one:.3g}, {second} {two:.3g}), and from any with mirrors "
            "across x, y and z. Cells have these; using the closest cubic tensor "
            f"{numbers}: pass `project_cubic=True` to accept."
        )
    return closest


def _worst(tensor):
    """Return names and values of the two entries that differ most from a cubic one."""
    alike: dict = {}
    for i, j in np.ndindex(6, 6):
        # On the diagonal, and of C11, C12, ..., three or six entries are equal.
        group = (i == j, i < 3) if i == j or max(i, j) < 3 else (i, j)
        alike.setdefault(group, []).append((float(tensor[i, j]), f"C{i + 1}{j + 1}"))
    pairs = []
    for entries in alike.values():
        if len(entries) == 1:  # zero in a cubic tensor
            entries.append((0.0, "not"))
        (low, small), (high, large) = min(entries), max(entries)
        # In the order of their names, as people read a tensor.
        pairs.append((high - low, sorted([(small, low), (large, high)])))
    return max(pairs, key=lambda pair: pair[0])[1]
