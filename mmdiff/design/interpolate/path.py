"""From one cell to another through the noise they come from (arXiv 2401.13570, Fig. 5).

Both cells are taken to the noise that DDIM makes them of, the noises are joined by
cos(theta) x1 + sin(theta) x2, which keeps the variance, and each point is sampled back.
"""

import numpy as np

from mmdiff.elasticity import range_error
from mmdiff.typing import Float


def angles(count: int) -> Float[np.ndarray, "m"]:
    """Return the angles of `count` points between the ends of the path, both left out.

    Example:
      >>> (angles(1) / np.pi).tolist()
      [0.25]
    """
    return np.linspace(0, np.pi / 2, count + 2)[1:-1]


def between(first, second, theta: float) -> np.ndarray:
    """Return properties on the straight line, in proportion to the angle."""
    share = 2 * theta / np.pi
    return (1 - share) * np.asarray(first) + share * np.asarray(second)


def off_line(
    constants: Float[np.ndarray, "m 3"], theta: Float[np.ndarray, "m"]
) -> Float[np.ndarray, "m"]:
    """Return range errors of cells beside the straight line between first and last.

    Args:
      constants: C11, C12, C44, those of the two ends included.
      theta: angle of each, from 0 to pi / 2.
    """
    line = np.stack([between(constants[0], constants[-1], angle) for angle in theta])
    return range_error(constants, line)
