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
from mmdiff.design.interpolate.family import Member, arrays, members_of
from mmdiff.errors import InputError
from mmdiff.run import console, saved
from mmdiff.topopt import finish, move, objectives
from mmdiff.topopt.finish import Design
from mmdiff.topopt.problem import Limits, Problem
from mmdiff.typing import Float

PROBLEM = Problem(lambda _: objectives.bulk)
SPARE = 0.98  # of the widest gap: volumes are met to some 1e-4


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
      InputError: no member can be printed.
    """
    step, start = make_step(seed.shape[-1], growth), surface.volume(seed)
    first = int(np.argmin(abs(asked - start)))
    found: dict[int, Member] = {}

    def member_at(i, psi):
        file = folder / f"chain_{i:03d}.npz"
        made = saved.once(file, lambda: arrays([*step(psi, float(asked[i]))]))
        return members_of(made)

    with console.progress("family", len(asked)) as advance:
        for way in (range(first, len(asked)), range(first - 1, -1, -1)):
            psi = found[first].psi if first in found else seed
            for i in way:
                shown = "not printable"
                for member in member_at(i, psi):
                    found[i], psi = member, member.psi
                    shown = f"K/K_HS {member.share:.3f}"
                advance(1, info=f"V {asked[i]:.3f}: {shown}")
    if not found:
        raise InputError(
            f"no cell with a volume from {asked[0]:g} to {asked[-1]:g} could be "
            "printed. Take another `seed_cell`, allow thinner walls or closed pores."
        )
    if lost := len(asked) - len(found):
        console.note(f"{lost} of {len(asked)} volumes are left out: not printable.")
    return [found[i] for i in sorted(found)]


def make_step(
    n: int, growth: Growth
) -> Callable[[Float[np.ndarray, "n n n"], float], list[Member]]:
    """Return `step(psi, volume)`, the member that a field becomes, or none.

    What steps leave unfit to print is mended first, or at last not moved at all.
    """
    evaluate = move.make_evaluate(n, **growth.solver)
    printing = growth.printing

    def moved(psi, volume, steps) -> Design:
        options = {"printing": printing, "solver": growth.solver}
        limits = Limits(volume)
        return finish.finish_field(
            psi, PROBLEM, limits, evaluate, steps=steps, **options
        )

    def step(psi, volume):
        shifted = surface.shift_to_volume(np.asarray(psi, np.float64), volume)

        def mended():
            return mend.mend(shifted, **printing._asdict())[0]

        tries = (
            lambda: moved(shifted, volume, growth.steps),
            lambda: moved(mended(), volume, growth.steps),
            lambda: moved(mended(), volume, 0),
        )
        for attempt in tries:
            design = attempt()
            result = design.estimate
            if result is not None and result.converged and not design.flaw:
                doubt = result.uncertainty
                known = (result.constants, doubt, result.volume)
                return [Member(design.psi, *known, "chain")]
        return []

    return step
