"""Orthotropic targets: nine constants along the axes of the cell."""

import dataclasses

import numpy as np

from mmdiff.elasticity import ORTHOTROPIC, PAPER_RANGES, orthotropic_to_voigt
from mmdiff.typing import Float

SCALES = np.repeat(PAPER_RANGES, 3)  # units of error, those of like constants


@dataclasses.dataclass(frozen=True)
class OrthotropicTarget:
    """A tensor with the planes of the axes for mirrors, with base E = 1.

    Attributes:
      constants: C11 C22 C33 C23 C13 C12 C44 C55 C66.
      volume: volume fraction of solid in (0, 1), None where it is free.
    """

    constants: tuple[float, ...]
    volume: float | None = None

    @property
    def asked(self) -> tuple[tuple[str, float], ...]:
        """Names and values."""
        return tuple(zip(ORTHOTROPIC, self.constants, strict=True))

    @property
    def counted(self) -> tuple[tuple[str, float], ...]:
        """Names and values that the error is of: all of them."""
        return self.asked

    @property
    def is_determined(self) -> bool:
        """Whether all constants are fixed, as they always are."""
        return True

    @property
    def tensor(self) -> Float[np.ndarray, "6 6"]:
        """The 6x6 tensor."""
        return orthotropic_to_voigt(np.array(self.constants))
