"""Quests for extreme cells, as in Fig. 4 of arXiv 2401.13570, and their best cells.

A quest is least Poisson's ratio, or the largest shear, bulk or Young's modulus of a
nearly isotropic cell, of a given volume, among cells that can be printed so or so: with
or without closed pores, with walls and gaps of a least width or any. All quests are one
`PROBLEM` with other numbers, so that one compiled loop serves them. Base E = 1
throughout.
"""

import dataclasses
import functools
from collections.abc import Collection, Sequence

import numpy as np

from mmdiff import bounds, elasticity
from mmdiff.cells import surface
from mmdiff.cells.grey import connected
from mmdiff.cells.mend import Printing
from mmdiff.cells.printable import Printability, printability
from mmdiff.design.optimize import goal as goals
from mmdiff.design.optimize import ranking
from mmdiff.design.optimize.goal import Goal
from mmdiff.errors import InputError
from mmdiff.topopt import objectives
from mmdiff.topopt.problem import Limits, Problem
from mmdiff.typing import Float, UInt8

# Of K, G, E and -nu, see `objectives.mixed`.
WEIGHTS = {
    "poisson": (0.0, 0.0, 0.0, 1.0),
    "shear": (0.0, 1.0, 0.0, 0.0),
    "bulk": (1.0, 0.0, 0.0, 0.0),
    "young": (0.0, 0.0, 1.0, 0.0),
}
PROBLEM = Problem(objectives.mixed, isotropic=True, stiff=True)
# Numbers that switch a constraint of `PROBLEM` off: no cell comes near them.
FREE_BAND, FREE_FLOOR = 1e3, 1e-4
KINDS = ("edge", "generated", "random", "plates", "variant")
VOIDS = ("open", "closed")


@dataclasses.dataclass(frozen=True)
class Quest:
    """What is looked for.

    Attributes:
      aim: one of `WEIGHTS`.
      volume: fraction of solid.
      limits: the numbers of `PROBLEM`.
      printing: what cells must comply with.
    """

    aim: str
    volume: float
    limits: Limits
    printing: Printing = Printing(0.0, 0.0, drainable=False)

    @property
    def void(self) -> str:
        """Whether the void must be open: one of `VOIDS`."""
        return VOIDS[not self.printing.drainable]

    @property
    def name(self) -> str:
        """Name of its files, such as "bulk_open_3" for walls of 3 % of the edge."""
        wall = f"{100 * self.printing.wall:g}".replace(".", "_")
        return f"{self.aim}_{self.void}_{wall}"

    @property
    def terms(self) -> str:
        """What is asked of void and walls, in words."""
        wall = self.printing.wall
        return f"{self.void}, {f'walls {100 * wall:g} %' if wall else 'any walls'}"

    def covers(self, other: "Quest") -> bool:
        """Whether its cells can be printed as another quest asks."""
        own, asked = self.printing, other.printing
        wide = own.wall >= asked.wall and own.gap >= asked.gap
        return wide and own.drainable >= asked.drainable

    @property
    def goal(self) -> Goal:
        """The objective and its score."""
        return goals.choose(self.aim)

    @property
    def is_isotropic(self) -> bool:
        """Whether the Zener ratio is asked to be near 1."""
        return self.limits.band < FREE_BAND

    def merit(self, score):
        """Return a score such that more is better; takes arrays as well."""
        return -score if self.aim == "poisson" else score


@dataclasses.dataclass(frozen=True, eq=False)
class Shape:
    """The field of a cell and the constants of its surface.

    These are NaN if it bears no load or is not solved.
    """

    psi: Float[np.ndarray, "n n n"]
    constants: Float[np.ndarray, "3"]

    @functools.cached_property
    def volume(self) -> float:
        """Solid share."""
        return surface.volume(np.asarray(self.psi, np.float64))

    @functools.cached_property
    def octant(self) -> UInt8[np.ndarray, "n n n"]:
        """The binary octant with a voxel for each sample of the field."""
        return surface.voxels(self.psi, self.psi.shape[-1])

    @functools.cached_property
    def printability(self) -> Printability:
        """What a printer asks of it."""
        return printability(self.psi)


@dataclasses.dataclass(frozen=True)
class Extreme:
    """One start of a quest and its result.

    `before` is the start as a surface; of a variant as decoded. `after` is the
    optimized cell, None where there is none.
    """

    quest: str  # its name
    kind: str  # one of `KINDS`
    number: int  # within its kind
    source: str  # origin of the start in words
    before: Shape
    after: Shape | None = None
    flaws: tuple[str, ...] = ()  # why `after` is not what was asked for
    steps: int = 0  # of the design; only random starts have some
    solutions: int = 0  # finite elements of design steps and of the surface
    spent: int = 0  # those of making the start
    similarity: float | None = None  # of a variant, voxels equal to the optimum's
    kept: bool = False  # whether a variant is in the diverse set
    checked: Shape | None = None  # `after` with its constants from finer grids

    @property
    def name(self) -> str:
        """Name of its files and arrays."""
        return f"{self.quest}_{self.kind}_{self.number:02d}"

    @property
    def is_good(self) -> bool:
        """Whether its result is a cell without flaws."""
        return self.after is not None and not self.flaws


def parse(text: str, known: Collection[str], key: str) -> tuple[str, ...]:
    """Return the names of a list such as "poisson, bulk", each once.

    They are some of those known; `key` is that of the text in a config.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in known:
            raise InputError(
                f"{key}={text!r} holds {name!r}. Use some of {', '.join(known)}, such "
                f"as `{key}={','.join([*known][:2])}`."
            )
    return names


def make_quest(
    aim: str,
    volume: float,
    *,
    isotropy: float,
    floor: float,
    printing: Printing = Quest.printing,
) -> Quest:
    """Return a quest of an aim and a volume fraction of solid.

    `isotropy` is the half width of the band of the Zener ratio around 1 of all but
    "poisson", whose ratio is free; `floor` its least Young's modulus along <100>.
    """
    if floor >= volume:
        raise InputError(
            f"min_young={floor:g} is not below {volume:g}, the Voigt limit. Give the "
            "least Young's modulus over the solid's, such as `min_young=0.01`."
        )
    auxetic = aim == "poisson"
    band, least = (FREE_BAND, floor) if auxetic else (isotropy, FREE_FLOOR)
    weights = np.array(WEIGHTS[aim], np.float32)
    return Quest(aim, volume, Limits(volume, band, least, weights), printing)


def score(quest: Quest, shape: Shape) -> float:
    """Return the score of a cell: nu, or its share of the bound."""
    return numbers(shape)[quest.goal.label]


def shown(quest: Quest, shape: Shape) -> str:
    """Return the score of a cell as text, with its name."""
    return quest.goal.show(score(quest, shape))


def objective(quest: Quest, shape: Shape) -> float:
    """Return the objective of a cell: a modulus, base E = 1, or Poisson's ratio."""
    name = "nu" if quest.aim == "poisson" else quest.goal.label[0]
    return float(elasticity.moduli(shape.constants)[name])


def numbers(shape: Shape) -> dict[str, float]:
    """Return volume, shares of the bounds, nu, Zener ratio and E of a cell."""
    moduli = elasticity.moduli(shape.constants)
    shares = bounds.hashin_shtrikman_ratios(shape.constants, shape.volume)
    return {
        "V": shape.volume,
        **{f"{name}/{name}_HS": float(share) for name, share in shares.items()},
        "nu": float(moduli["nu"]),
        "Zener": float(moduli["zener"]),
        "E/E_solid": float(moduli["E"]),
    }


def best(quest: Quest, records: Sequence[Extreme], kind: str = "") -> Extreme | None:
    """Return the best good record of a quest, of one kind or of all."""
    kinds = {kind} if kind else {*KINDS}
    own = [r for r in records if r.quest == quest.name and r.kind in kinds]
    good = [r for r in own if r.is_good]
    return max(good, key=lambda r: quest.merit(score(quest, r.after)), default=None)


def textbook(quest: Quest, records: Sequence[Extreme]) -> Extreme | None:
    """Return the best plate lattice of a quest as it is, None if all have flaws."""
    own = [r for r in records if r.quest == quest.name and r.kind == "plates"]
    good = [r for r in own if not flaws(quest, r.before)]
    return max(good, key=lambda r: quest.merit(score(quest, r.before)), default=None)


def flaws(quest: Quest, shape: Shape) -> tuple[str, ...]:
    """Return why a cell is not what a quest asks for; see `ranking.unmet`."""
    if connected(shape.psi)[1]:
        return ("it is not one piece that bears load",)
    if not np.isfinite(shape.constants).all():
        return ("finite elements did not converge",)
    flaw = quest.printing.flaw(shape)
    unmet = ranking.unmet(shape.constants, shape.volume, PROBLEM, quest.limits)
    return (*unmet, flaw) if flaw else unmet


def median(quest: Quest, records: Sequence[Extreme], kind: str) -> float | None:
    """Return the median score of the optimized starts; one with flaws is the worst.

    None where half of the starts failed, or there are none.
    """
    merits = [
        quest.merit(score(quest, r.after)) if r.is_good else -np.inf
        for r in records
        if r.quest == quest.name and r.kind == kind and r.after
    ]
    middle = np.median(merits) if merits else -np.inf
    return float(quest.merit(middle)) if np.isfinite(middle) else None


def generated_win(quest: Quest, records: Sequence[Extreme]) -> bool | None:
    """Whether generated starts beat random ones by their medians; None if neither."""
    one, other = (median(quest, records, kind) for kind in ("generated", "random"))
    if one is None or other is None:
        return None if one is other else one is not None
    return bool(quest.merit(one) > quest.merit(other))
