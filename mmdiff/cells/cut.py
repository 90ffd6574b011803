"""A cube cut by a plane: the share on one side, and its derivatives."""

import jax.numpy as jnp
import numpy as np

from mmdiff.typing import AnyArray, Float

TINY = 1e-12  # added to squares of lengths that are divided by
_TILT = 0.02  # least component of a normal: the cut formula divides by each


def cut_fraction(
    distance: Float[AnyArray, "*s"], normal: Float[AnyArray, "3 *s"]
) -> Float[AnyArray, "*s"]:
    """Return the share of a unit cube on the positive side of a plane, differentiable.

    Args:
      distance: signed distance of the cube's centre from the plane, in edges.
      normal: direction of growing distance, of any length.
    """
    xp = np if isinstance(distance, np.ndarray) else jnp
    length = xp.sqrt((normal**2).sum(0, keepdims=True) + TINY)
    parts = xp.maximum(abs(normal) / length, _TILT)
    total = parts.sum(0)
    level = xp.clip(0.5 + distance / total, 0.0, 1.0)
    inside, size = _corner_volume(xp.minimum(level, 1 - level), parts / total[None])
    return xp.where(level > 0.5, 1 - inside / size, inside / size)


def _corner_volume(low, parts, degree=3):
    """Return what a plane cuts off a box's corner, and the box, both times 6 / edges.

    The near corner's plane is at 0, the far one's at 1; `low` is at most 1/2, and the
    two ends are alike. `parts` are the components of the normal, with a sum of 1.
    Another `degree` gives powers in the corners' terms, as derivatives have.
    """
    xp = np if isinstance(low, np.ndarray) else jnp
    a, b, c = parts

    def corner(edge):
        return xp.maximum(low - edge, 0.0) ** degree

    inside = corner(0.0) - corner(a) - corner(b) - corner(c)
    inside = inside + corner(a + b) + corner(a + c) + corner(b + c)
    return inside, 6 * a * b * c


def cut_slopes(
    distance: Float[np.ndarray, "s"], normal: Float[np.ndarray, "3 s"]
) -> tuple[Float[np.ndarray, "s"], Float[np.ndarray, "3 s"]]:
    """Return the derivatives of `cut_fraction` by its arguments."""
    length = np.sqrt((normal**2).sum(0) + TINY)
    steep = abs(normal) / length
    parts = np.maximum(steep, _TILT)
    total = parts.sum(0)
    raw = 0.5 + distance / total
    level = np.clip(raw, 0.0, 1.0)
    low, edges = np.minimum(level, 1 - level), parts / total
    inside, size = _corner_volume(low, edges)
    by_level = 3 * _corner_volume(low, edges, 2)[0] / size * ((raw > 0) & (raw < 1))

    def rest(edge):
        return 3 * np.maximum(low - edge, 0.0) ** 2

    # By each edge with `low` held, the other side of the middle being the complement.
    a, b, c = edges
    by_edge = np.stack(
        [
            rest(a) - rest(a + b) - rest(a + c),
            rest(b) - rest(a + b) - rest(b + c),
            rest(c) - rest(a + c) - rest(b + c),
        ]
    )
    by_edge = (by_edge - inside / edges) / size * np.where(level > 0.5, -1, 1)
    by_part = (by_edge - (by_edge * edges).sum(0)) / total
    by_part = (by_part - by_level * distance / total**2) * (steep > _TILT)
    along = (by_part * steep).sum(0) / length**2
    return by_level / total, by_part * np.sign(normal) / length - along * normal
