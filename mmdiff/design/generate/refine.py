"""Refinement of a cell until its surface has the tensor of a target and can be printed.

The field is mended where it cannot be printed (`mmdiff.cells.mend`), then moved by
Newton steps on a grid of one element per sample (`mmdiff.topopt.move`), each of which
leaves walls, gaps and drain holes as wide as they must be. A grid twice as fine shows
how far the coarse one is off: the difference is added to its results, and the steps go
on, until both say that the target is met.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mmdiff import elasticity
from mmdiff.cells import mend, surface
from mmdiff.cells.connectivity import periodic_pieces
from mmdiff.cells.grey import connected
from mmdiff.cells.mend import PRINTING, Printing
from mmdiff.cells.prepare import prepare
from mmdiff.cells.printable import printability
from mmdiff.cells.symmetry import is_cubic, octant_to_cell
from mmdiff.design.generate.cell import Cell, make_cell
from mmdiff.errors import InputError, check_ranges
from mmdiff.fem import accuracy
from mmdiff.targets import quantities
from mmdiff.targets import target as targets
from mmdiff.targets.orthotropic import SCALES, OrthotropicTarget
from mmdiff.targets.target import AnyTarget
from mmdiff.topopt import move
from mmdiff.topopt.move import Evaluation
from mmdiff.topopt.room import widths
from mmdiff.typing import Float

GOAL = 2e-4  # error at which a cell meets its target,
RELATIVE = 2e-3  # or this share of a soft target itself
EXPECTED = -0.04  # share of a constant that the coarse grid is off, in the median
ROUNDS = 6  # of moving and looking at the fine grid
MOST_MENDED = 0.25  # share of a cell that mending may change: beyond, it is another
ANYTHING = Printing(wall=0.0, gap=0.0, drainable=False)
FAR = 10.0  # times the goal: cells beyond are replaced by others


class PolishResult(NamedTuple):
    """A polished cell and the way there.

    Attributes:
      cell: the polished cell.
      errors: distance from the target of the cell as it came, then after each accepted
        step, as known at that step; fractions.
      volumes: volume fraction at each of these.
      steps: number of changes of the cell.
    """

    cell: Cell
    errors: tuple[float, ...]
    volumes: tuple[float, ...]
    steps: int


def polish(
    cell,
    target: AnyTarget | str,
    *,
    steps: int = 40,
    min_wall: float = 0.03,
    min_gap: float = 0.03,
    drainable: bool = True,
    nu: float = elasticity.NU,
) -> PolishResult:
    """Move the surface of a cell until it has the tensor of a target.

    Its field is mended where it cannot be printed and moved by smooth steps, each
    checked by finite elements. What counts is the tensor of the surface, from two
    grids. A cell that cannot be mended is moved as it is: see its `printability`.

    Args:
      cell: a `mmdiff.Cell`, or a full cubic cell (N, N, N) of 0 and 1, or what has one
        as its `voxels`; voxels are rounded off.
      target: from `mmdiff.target`, or a text for it, such as "K=0.1,V=0.3". For an
        orthotropic one a cubic cell is moved with its mirrors alone.
      steps: most steps.
      min_wall: least thickness of walls as a share of the cell's edge; 0 for any.
      min_gap: the same of gaps and of drain holes.
      drainable: whether closed pores are opened.
      nu: Poisson's ratio of the base material.

    Returns:
      the polished cell and its history.

    Raises:
      InputError: the array is no binary cubic cell in one piece, or an orthotropic cell
        shall meet a cubic target.

    Example:
      >>> wall = np.isin(np.arange(32), [0, 1, 2, 29, 30, 31])
      >>> struts = (wall[:, None] & wall) [:, :, None] | (wall[:, None, None] & wall)
      >>> frame = struts | struts.transpose(2, 0, 1)
      >>> result = mm.polish(frame, "K=0.05", steps=6)
      >>> result.cell.psi.shape, result.errors[-1] < result.errors[0]
      ((16, 16, 16), True)
    """
    limits = {"steps": steps, "min_wall": min_wall, "min_gap": min_gap, "nu": nu}
    ranges = dict.fromkeys(("min_wall", "min_gap"), "[0, 1)")
    check_ranges(limits, ranges | {"steps": "[0, inf)", "nu": "(-1, 0.5)"})
    target = targets.parse(target) if isinstance(target, str) else target
    psi = cell.psi if isinstance(cell, Cell) else field_of(cell)
    nine = isinstance(target, OrthotropicTarget)
    if not nine and not is_cubic(psi):
        raise InputError(
            "the cell is orthotropic and the target cubic. Give the 36 numbers of an "
            "orthotropic tensor, or a cubic cell."
        )
    kind = {"symmetry": "orthotropic" if nine else "cubic", "nu": nu}
    start = make_cell(psi, accuracy.estimate(psi, **kind), target)
    evaluate = move.make_evaluate(psi.shape[0], **kind)
    for printing in (Printing(min_wall, min_gap, drainable), ANYTHING):
        options = {"steps": steps, "printing": printing, **kind}
        best = make_refine(evaluate, **options)(start, target)
        if not printing.flaw(best):
            break
    return PolishResult(best, best.history, best.volumes, len(best.history) - 1)


def field_of(cell) -> Float[np.ndarray, "n n n"]:
    """Return the field of a full binary cubic cell in one piece."""
    voxels = np.asarray(getattr(cell, "voxels", cell))
    grid = prepare(voxels, "the cell")
    octant = (grid.density > 0.5).astype(np.uint8)
    if grid.symmetry != "cubic" or not np.array_equal(octant, grid.density):
        raise InputError(
            "the cell is not binary and cubic, or its edge is no multiple of 8. Give "
            "one of 0 and 1 with mirror planes and equal axes."
        )
    pieces = periodic_pieces(octant_to_cell(octant))[1]
    if pieces > 1:
        raise InputError(f"the cell has {pieces} solid pieces. Give one in one piece.")
    psi, flaw = connected(surface.from_voxels(octant))
    if flaw:
        raise InputError(
            f"the cell is {flaw} once its steps are rounded off. Give one whose walls "
            "have three voxels or more."
        )
    return psi


def make_refine(
    evaluate: Callable[..., Evaluation],
    *,
    steps: int,
    printing: Printing = PRINTING,
    symmetry: str = "cubic",
    **solver,
) -> Callable[[Cell, AnyTarget], Cell]:
    """Return `refine(cell, target) -> Cell`.

    At most `steps` steps are accepted in all. The cell that comes back complies with
    `printing` wherever one on the way did, and is the nearest to the target of these.
    `evaluate` works on the coarse grid; `solver` options are for the fine one. With an
    "orthotropic" symmetry surfaces keep their mirrors alone.
    """
    mended, complying, touched = _repairs(printing, symmetry)
    solver = {"symmetry": symmetry, **solver}

    def refine(cell, target):
        residual, aim = targets.residual(target), goal(target)
        psi, possible = mended(cell.psi)
        here, solves = evaluate(psi), cell.solves + 1
        sampled, result, values = here.values[:-1], None, [here.values]
        shift = cell.constants - cell.coarse
        if guessed := np.isnan(cell.uncertainty).any():
            shift = EXPECTED * sampled  # until the fine grid is asked
        found, repair = [], complying
        for _ in range(ROUNDS):
            moved = move.newton(
                psi,
                residual,
                move.shifted(_known(evaluate, psi, here), shift),
                volume=target.volume,
                steps=steps - (len(values) - 1) if possible else 0,
                goal=FAR * aim if guessed else aim / 4,
                repair=repair,
                widths=widths(psi, printing),
            )
            solves += moved.solves - 1  # the first is known
            stuck, psi = moved.psi is psi, moved.psi
            here = move.shift_values(moved.evaluation, -shift)
            first = result is None
            if first or not stuck:
                result = accuracy.estimate(
                    psi,
                    coarse=here.values[:-1],
                    fields=None if first else result.fields,
                    **solver,
                )
                solves += 1
                off = result.constants - result.coarse
                known = moved.values[1:]
                if first:  # so was what came before, in proportion to its stiffness
                    size = np.linalg.norm(sampled) / np.linalg.norm(result.coarse)
                    sampled = sampled + size * off
                    values[0] = values[0] + np.append(size * off, 0.0)
                    known = known + np.append(off - shift, 0.0)
                values += [*known]
                shift, guessed = off, False
            made = make_cell(
                psi,
                result,
                target,
                history=tuple(float(targets.error(target, v[:-1])) for v in values),
                volumes=tuple(float(v[-1]) for v in values),
                sampled=sampled,
                solves=solves,
            )
            found.append(made)
            if len(values) > steps or cost(made, target) <= aim:
                break
            if stuck and not first:  # no step complied
                if repair is touched or not possible:
                    break
                repair = touched

        def rank(cell):
            return bool(printing.flaw(cell)), cost(cell, target)

        return min(found, key=rank)

    return refine


def _repairs(printing, symmetry):
    """Return what mends fields: thoroughly, what complies as it is, and in one round.

    The first tells whether that succeeded, the others return None where it did not.
    """

    def mended(psi, **rounds):
        fixed, report = mend.mend(psi, **printing._asdict(), **rounds)
        same = report.moved < MOST_MENDED
        return (fixed if same else psi), report.ok and same

    def complying(psi):
        psi, flaw = connected(psi, symmetry)
        psi = psi if flaw else mend.fill_specks(psi)
        return None if flaw or printing.flaw(printability(psi)) else psi

    def touched(psi):  # a step that one round of mending does not save is none
        psi, flaw = connected(psi, symmetry)
        fixed, ok = (psi, False) if flaw else mended(psi, rounds=1)
        return fixed if ok else None

    return mended, complying, touched


def _known(evaluate, psi, found):
    """Return the evaluation of fields, one of which is known."""
    return lambda trial, fields=None: found if trial is psi else evaluate(trial, fields)


def cost(cell: Cell, target: AnyTarget) -> float:
    """Return the error of a cell plus the price of its volume."""
    return cell.error + move.price(cell.volume, target.volume)


def goal(target: AnyTarget) -> float:
    """Return the error at which a cell meets its target; less for soft ones."""
    if isinstance(target, OrthotropicTarget):
        size = np.mean(abs(np.array(target.constants)) / SCALES)
        return float(min(GOAL, RELATIVE * size))
    stiff = [(name, v) for name, v in target.counted if name in quantities.STIFF]
    if not stiff:
        return GOAL
    names, values = zip(*stiff, strict=True)
    size = np.mean(np.abs(values) / quantities.scales(names))
    return float(min(GOAL, RELATIVE * size))
