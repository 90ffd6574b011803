"""Inverse homogenization in one call: the best cell for an objective."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from mmdiff.cells import surface
from mmdiff.cells.printable import Printability, printability
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.optimize import problem, ranking, runs, starts
from mmdiff.design.optimize.method import Method
from mmdiff.elasticity import constants_to_voigt
from mmdiff.errors import InputError, check_ranges
from mmdiff.targets.target import AnyTarget
from mmdiff.typing import AnyArray, Float, UInt8


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """An optimized cell, its surface checked by finite elements, base E = 1.

    Attributes:
      psi: level-set field of its octant, see `mmdiff.cells.surface`.
      constants: C11, C12, C44 of the surface of a cubic cell; C11, C22, C33, C23, C13,
        C12, C44, C55, C66 of an orthotropic one; NaN where no connected part was left.
      uncertainty: half width of the interval that holds each of them.
      volume: volume fraction of solid.
      value: objective, maximized; of a target the negative error.
      history: by name a number for each step of the design loop: "value", "volume",
        "violation" of the worst constraint, "grey" and others, see
        `mmdiff.topopt.optimize.COLUMNS`.
      flaws: reasons why the cell is not what was asked for; empty if it is.
      resolution: voxels along the edge in `voxels`.
    """

    psi: Float[np.ndarray, "n n n"] = dataclasses.field(repr=False)
    constants: Float[np.ndarray, "k"]
    uncertainty: Float[np.ndarray, "k"]
    volume: float
    value: float
    history: dict[str, Float[np.ndarray, "s"]] = dataclasses.field(repr=False)
    flaws: tuple[str, ...]
    resolution: int = 128

    @functools.cached_property
    def voxels(self) -> UInt8[np.ndarray, "m m m"]:
        """The full cell at `resolution`, 1 solid."""
        return octant_to_cell(surface.voxels(self.psi, self.resolution // 2))

    @property
    def tensor(self) -> Float[np.ndarray, "6 6"]:
        """Effective tensor in Voigt order 11 22 33 23 13 12."""
        return constants_to_voigt(self.constants)

    @functools.cached_property
    def printability(self) -> Printability:
        """Pieces, trapped void, walls, gaps and overhangs of the printed cell."""
        return printability(self.psi)


def optimize(
    objective: str | AnyTarget | Callable,
    *,
    volume: float = 0.3,
    isotropic: float | None = None,
    start: AnyArray | Sequence[AnyArray] | None = None,
    seed: int = 0,
    method: Method | None = None,
    **options,
) -> Design:
    """Return the best cell for an objective: inverse homogenization.

    Densities are optimized by their gradient and become smooth surfaces, which are
    moved on, mended where they are too thin to print and checked by finite elements on
    two grids, as `configs/optimize.py` does it.

    Args:
      objective: "bulk", "shear" or "young", as stiff as can be; "poisson", the lowest
        Poisson's ratio along <100> of cells with at least 1 % of the solid's Young's
        modulus; a `Target`, whose tensor is approached; or a JAX function of the 6x6
        tensor (base E = 1, Voigt order 11 22 33 23 13 12), which is maximized.
      volume: most volume fraction of solid.
      isotropic: half width of the band around 1 in which the Zener ratio must stay,
        such as 0.05; None leaves it free.
      start: density in [0, 1] of the octant to begin with, resampled where its edge
        differs, or a list of them, of which the best cell is returned; None for a
        random one.
      seed: of the random start.
      method: how designs are found, all at once; None for the defaults of
        `mmdiff.design.optimize.method.Method`.
      **options: fields of it, one by one: `symmetry="orthotropic"` for mirror planes
        only; `design_resolution`, elements along the edge of the cell, a multiple of 8;
        `resolution`, voxels along the edge of the cell as it is returned;
        `steps`, most design steps of a start, 0 for as many as usual, some 100 of a
        random start and half of it for others; and others.

    Returns:
      the best cell, see `Design`; where no start gave what was asked, its `flaws` say
      why.

    Raises:
      InputError: a value out of range, or what no cell can be.

    Example:
      >>> design = mm.optimize("bulk", volume=0.4, design_resolution=16, steps=6)
      >>> design.voxels.shape, design.psi.shape, design.flaws
      ((128, 128, 128), (8, 8, 8), ())
      >>> bool(design.value > 0.1), len(design.history["volume"])
      (True, 6)
    """
    if isinstance(objective, str) and objective in ("target", "weighted"):
        raise InputError(
            f"objective={objective!r} needs more than its name. Pass a target, such as "
            "mm.target('0.110,0.045,0.040'), or a function of the tensor."
        )
    values = {"volume": volume, "isotropic": 1.0 if isotropic is None else isotropic}
    check_ranges(values, {"volume": "(0, 1)", "isotropic": "(0, inf)"})
    method = dataclasses.replace(method or Method(), **options)
    target = objective if isinstance(objective, AnyTarget) else ""
    request = problem.request(
        "target" if target else objective,
        problem.Constraints(volume, isotropy=isotropic or 0.0),
        target=target,
        symmetry=method.symmetry,
    )
    kind = "random" if start is None else "given"
    method.settings(runs.stages_of(kind))  # refuses before anything is computed
    if start is None:
        options = {"symmetry": method.symmetry, "seed": seed}
        begun = starts.random_starts(1, method.n, volume, **options)
    else:
        given = start if isinstance(start, Sequence) else [start]
        options = {"symmetry": method.symmetry, "input_is": "octant"}
        begun = [
            (kind, starts.voxel_start(np.asarray(a), f"array {i}", method.n, **options))
            for i, a in enumerate(given)
        ]
    best, *_ = ranking.ranked(runs.run_starts(begun, request, method))
    return Design(
        psi=best.outcome.psi,
        constants=best.outcome.constants,
        uncertainty=best.outcome.uncertainty,
        volume=best.volume,
        value=float(best.outcome.value),
        history=best.outcome.columns,
        flaws=best.flaws,
        resolution=method.resolution,
    )
