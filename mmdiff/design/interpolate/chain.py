"""A family grown from one cell: its surface moved on from volume to volume.

Each member is the one before it, shifted to the next volume and moved by a few steps
that raise the bulk modulus (`topopt.finish`). So neighbours differ by little: their
faces fit, and a block of cells can be graded from one to the next (`strip`).
"""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mmdiff.cells import mend, surface
from mmdiff.cells.mend import Printing
from mmdiff.cells.printable import printability
from mmdiff.design.interpolate.family import Member, arrays, members_of
from mmdiff.design.interpolate.pairs import face_agreement
from mmdiff.errors import InputError
from mmdiff.run import console, saved
from mmdiff.topopt import finish, move, objectives
from mmdiff.topopt.finish import Design
from mmdiff.topopt.problem import Limits, Problem
from mmdiff.typing import Float

PROBLEM = Problem(lambda _: objectives.bulk)
SPARE = 0.9  # of the widest gap between volumes asked for, since these are met
OFF = 5e-4  # to so much
FIT = 0.99  # agreement of faces with the member before that is good enough
# Of the least widths, at which steps aim, since these are met to some percent: the
# second where the first does not do.
ROOM = 1.06, 1.2


class Growth(NamedTuple):
    """How members are made: steps of the surface, what they comply with, the solver."""

    steps: int
    printing: Printing
    solver: dict[str, float]


def volumes(low: float, high: float, gap: float) -> Float[np.ndarray, "k"]:
    """Return evenly spaced volumes from low to high, at most a gap apart.

    Example:
      >>> volumes(0.2, 0.4, 0.11)
      array([0.2, 0.3, 0.4])
    """
    if not low < high:
        raise InputError(
            f"low={low:g} and high={high:g} are no range of volume fractions. Pass "
            "`low` below `high`."
        )
    count = int(np.ceil((high - low) / (SPARE * gap)))
    return np.linspace(low, high, count + 1)


def grow(
    seed: Float[np.ndarray, "n n n"],
    asked: Float[np.ndarray, "k"],
    growth: Growth,
    folder: pathlib.Path,
) -> list[Member]:
    """Return the members at some volumes, lightest first, each kept in the folder.

    From the volume nearest to the seed's the family grows upwards, then downwards;
    where a member cannot be printed it is left out, and the next one is tried.

    Raises:
      InputError: less than two members can be printed.
    """
    step, start = make_step(seed.shape[-1], growth), surface.volume(seed)
    first = int(np.argmin(abs(asked - start)))
    found: dict[int, Member] = {}

    def at(i, psi, name):
        file = folder / f"chain_{name}.npz"
        made = saved.once(file, lambda: arrays([*step(psi, float(asked[i]))]))
        for member in members_of(made):
            found[i] = member
        shown = f"K/K_HS {found[i].share:.3f}" if i in found else "not printable"
        return f"V {asked[i]:.3f}: {shown}"

    with console.progress("family", len(asked)) as advance:
        for way in (range(first, len(asked)), range(first - 1, -1, -1)):
            psi = found[first].psi if first in found else seed
            for i in way:
                advance(1, info=at(i, psi, f"{i:03d}"))
                psi = found[i].psi if i in found else psi
    # A surface that cannot grow to a volume may well shrink to it, or lie between two.
    for i in reversed(range(len(asked) - 1)):
        if i not in found and i + 1 in found:
            console.say(f"from above, {at(i, found[i + 1].psi, f'{i:03d}_down')}")
    if len(found) < 2:
        raise InputError(
            f"{len(found)} of {len(asked)} cells of the chain from V {asked[0]:g} to "
            f"{asked[-1]:g} could be printed, and a family needs two. Take another "
            "`seed_cell`, or allow thinner walls (`min_wall_mm`) or closed pores "
            "(`drainable=False`)."
        )
    for i in [i for i in range(min(found), max(found)) if i not in found]:
        console.say(f"between two, {at(i, _between(found, i), f'{i:03d}_between')}")
    if lost := len(asked) - len(found):
        console.note(f"{lost} of {len(asked)} volumes are left out: not printable.")
    return [found[i] for i in sorted(found)]


def _between(found: dict[int, Member], i: int) -> Float[np.ndarray, "n n n"]:
    """Return the mean of the nearest fields on both sides, weighted by the distance."""
    low, high = max(k for k in found if k < i), min(k for k in found if k > i)
    share = (i - low) / (high - low)
    return (1 - share) * found[low].psi + share * found[high].psi


def make_step(
    n: int, growth: Growth
) -> Callable[[Float[np.ndarray, "n n n"], float], list[Member]]:
    """Return `step(psi, volume)`, the member that a field becomes, or none.

    Where steps leave it unfit to print, or its faces off those of the field, fewer are
    taken, it is mended first, or at last not moved at all; the best fit counts.
    """
    evaluate = move.make_evaluate(n, **growth.solver)
    printing = growth.printing
    few = dict.fromkeys((growth.steps, min(growth.steps, 1)))

    def moved(psi, volume, steps, wider) -> Design:
        options = {"printing": wider, "solver": growth.solver}
        return finish.improve(
            psi, PROBLEM, Limits(volume), evaluate, steps=steps, **options
        )

    def mended(psi, volume, wider):
        psi = surface.shift_to_volume(psi, volume)
        return mend.mend(psi, **wider._asdict())[0]

    def tries(psi, volume):
        for room in ROOM:
            wide = printing._replace(wall=room * printing.wall, gap=room * printing.gap)
            # Steps that close the gap in volume leave drains and walls as they are.
            yield from (moved(psi, volume, steps, wide) for steps in few)
            fit = mended(psi, volume, wide)
            yield from (moved(fit, volume, steps, wide) for steps in few)
            yield moved(surface.shift_to_volume(fit, volume), volume, 0, wide)

    def step(psi, volume):
        psi = np.asarray(psi, np.float64)
        found = []
        for design in tries(psi, volume):
            result = design.estimate
            if result is None or not result.converged:
                continue
            met = abs(result.volume - volume) <= OFF
            if met and not printing.flaw(printability(design.psi)):
                known = (result.constants, result.uncertainty, result.volume)
                member = Member(design.psi, *known, "chain")
                found.append((face_agreement(psi, member.psi)[0], member))
                if found[-1][0] >= FIT:
                    break
        return [max(found, key=lambda one: one[0])[1]] if found else []

    return step
