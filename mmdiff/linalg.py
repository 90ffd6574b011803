"""The smallest change that cancels several residuals at once, to first order.

With rows J of derivatives and weights W, the change W J^T l, (J W J^T) l = r, is the
one of least W^-1-norm with J change = r. A residual that does not count is NaN.
"""

import jax.numpy as jnp

from mmdiff.typing import Array, Float


def multipliers(
    gram: Float[Array, "k k"], residual: Float[Array, "k"], *, ridge: float = 1e-4
) -> Float[Array, "k"]:
    """Return l with gram l = residual, zero where the residual is NaN.

    Args:
      gram: J W J^T.
      residual: what the change shall add to each property; NaN where it is free.
      ridge: added to the diagonal of the scaled gram matrix, so that nearly parallel
        rows do not blow the change up.
    """
    counts = ~jnp.isnan(residual)
    residual = jnp.where(counts, residual, 0.0)
    gram = jnp.where(counts[:, None] & counts[None, :], gram, 0.0)
    # Of a free property, and of one that nothing changes, the scale is arbitrary.
    scale = jnp.sqrt(jnp.diag(gram))
    scale = jnp.where(scale > 0, scale, 1.0)
    scaled = gram / jnp.outer(scale, scale)
    scaled = scaled + ridge * jnp.eye(len(residual), dtype=gram.dtype)
    # Nothing moves for a property without a scale: its row holds the ridge alone.
    return jnp.where(counts, jnp.linalg.solve(scaled, residual / scale) / scale, 0.0)
