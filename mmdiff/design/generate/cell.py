"""A verified cell: a level-set field, and the tensor of its surface."""

import dataclasses
import functools

import numpy as np

from mmdiff.cells import surface
from mmdiff.cells.printable import Printability, printability
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.elasticity import NAMES, ORTHOTROPIC, constants_to_voigt
from mmdiff.fem.accuracy import Estimate
from mmdiff.targets import target as targets
from mmdiff.targets.target import AnyTarget
from mmdiff.typing import Float, UInt8

RESOLUTION = 128  # voxels along the edge of a cell as written


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Cell:
    """A cell whose tensor finite elements have given, base E = 1.

    Attributes:
      psi: level-set field of its octant, see `mmdiff.cells.surface`.
      constants: C11, C12, C44 of the surface, or all nine of an orthotropic one, see
        `names`.
      uncertainty: half width of the interval that holds each of them.
      coarse: the constants on the coarser of the two grids that they come from.
      volume: solid share.
      error: distance from the target, `targets.target.error`; of all three constants
        the range error (arXiv 2401.13570, Eq. 3), a fraction.
      relative_error: `targets.target.relative_error`, a fraction.
      residual: relative residual of the solve.
      history: error of the sample, then after each step that moved its surface, as
        known at that step.
      volumes: volume at each of these.
      solves: finite-element solutions that it took.
      sampled: constants of the sample, mended where it did not print, before its
        surface was moved to the target: from the coarse grid, and from what that is off
        where the fine one was asked first.
      as_voxels: constants of the binary cell of 128^3 voxels, one element each, as
        arXiv 2401.13570 measures; NaN where they were not computed.
      resolution: voxels along the edge in `voxels`.
    """

    psi: Float[np.ndarray, "n n n"]
    constants: Float[np.ndarray, "c"]
    uncertainty: Float[np.ndarray, "c"]
    coarse: Float[np.ndarray, "c"]
    volume: float
    error: float
    relative_error: float
    residual: float
    history: tuple[float, ...]
    volumes: tuple[float, ...]
    solves: int
    sampled: Float[np.ndarray, "c"]
    as_voxels: Float[np.ndarray, "c"] = dataclasses.field(
        default_factory=lambda: np.full(3, np.nan)
    )
    resolution: int = RESOLUTION

    @property
    def symmetry(self) -> str:
        """Whether the cell is "cubic" or "orthotropic"."""
        return "cubic" if len(self.constants) == len(NAMES) else "orthotropic"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its constants."""
        return NAMES if self.symmetry == "cubic" else ORTHOTROPIC

    @functools.cached_property
    def octant(self) -> UInt8[np.ndarray, "n n n"]:
        """The binary octant with a voxel for each sample of the field."""
        return surface.voxels(self.psi, self.psi.shape[-1])

    @functools.cached_property
    def voxels(self) -> UInt8[np.ndarray, "m m m"]:
        """The whole cell at `resolution`, 1 solid, axes x y z."""
        return octant_to_cell(surface.voxels(self.psi, self.resolution // 2))

    @property
    def tensor(self) -> Float[np.ndarray, "6 6"]:
        """Elastic tensor in Voigt order 11 22 33 23 13 12, engineering shear."""
        return constants_to_voigt(self.constants)

    @functools.cached_property
    def printability(self) -> Printability:
        """Pieces, trapped void, walls, gaps and overhangs of the printed cell."""
        return printability(self.psi)

    def __repr__(self) -> str:
        """Return volume, constants with their uncertainty, and error on one line."""
        parts = zip(self.names, self.constants, self.uncertainty, strict=True)
        return (
            f"Cell(volume {self.volume:.3f}, "
            f"{', '.join(f'{name} {c:.4f}({d:.4f})' for name, c, d in parts)}, "
            f"{100 * self.error:.3f} % from the target)"
        )


def make_cell(
    psi: Float[np.ndarray, "n n n"],
    result: Estimate,
    target: AnyTarget,
    history: tuple[float, ...] = (),
    volumes: tuple[float, ...] = (),
    sampled: np.ndarray | None = None,
    solves: int = 2,
) -> Cell:
    """Return the cell of a field and its finite-element result."""
    error = float(targets.error(target, result.constants))
    return Cell(
        psi=psi,
        constants=result.constants,
        uncertainty=result.uncertainty,
        coarse=result.coarse,
        volume=result.volume,
        error=error,
        relative_error=float(targets.relative_error(target, result.constants)),
        residual=result.residual,
        history=history or (error,),
        volumes=volumes or (result.volume,),
        solves=solves,
        sampled=result.constants if sampled is None else sampled,
    )
