"""Shape vocabulary and callable protocols shared by all modules.

Axis words are fixed: b batch, n samples per side, c channels, k conditions, i j Voigt
rows and columns, e elements, d degrees of freedom. Shapes in signatures are
documentation; the tests check them, the library does not at run time.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int8, PRNGKeyArray, Shaped, UInt8
from jaxtyping import Key as TypedKey

Key = PRNGKeyArray
Keys = TypedKey[Array, "b"]
AnyArray = Array | np.ndarray  # of JAX, traced or not, or of NumPy
Scalar = float | np.number | Float[AnyArray, ""] | Int[AnyArray, ""]

__all__ = [
    "AnyArray",
    "Array",
    "Bool",
    "Denoiser",
    "Float",
    "Int",
    "Int8",
    "Key",
    "Keys",
    "Scalar",
    "Shaped",
    "UInt8",
]


@runtime_checkable
class Denoiser(Protocol):
    """Predicts the clean fields from noisy ones."""

    def __call__(
        self,
        x: Float[Array, "b n n n"],
        t: Float[Array, "b"],
        x0_prev: Float[Array, "b n n n"],
        cond: Float[Array, "b k"],
    ) -> Float[Array, "b n n n"]:
        """Return the estimate of x0, in [-1, 1] up to the network's error.

        Args:
          x: noisy fields at time t.
          t: diffusion time in [0, 1].
          x0_prev: the previous estimate of x0, zeros where there is none.
          cond: normalised conditions, -1 where a condition is left free.
        """
        ...
