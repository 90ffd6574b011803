"""Families of cells for graded structures, without gaps in volume.

Cells of high K/K_HS are sorted by volume, and the largest gaps between neighbours are
filled with new ones until none exceeds a tolerance (arXiv 2401.13570, Fig. 5). Each is
a level-set field with the tensor of its surface, those of a dataset as they are there.
How well neighbours fit: see `pairs`.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from mmdiff import bounds
from mmdiff.cells import grey, surface
from mmdiff.data.dataset import Dataset, octants_in_parts
from mmdiff.errors import InputError
from mmdiff.fem import accuracy
from mmdiff.run import console, saved
from mmdiff.targets.target import Target, of_constants
from mmdiff.typing import Bool, Float, Int, Shaped

LOOKED_AT = 24  # cells around one volume


class Member(NamedTuple):
    """One cell of a family.

    Attributes:
      psi: level-set field of its octant, see `mmdiff.cells.surface`.
      constants: C11, C12, C44 of the surface, for base E = 1.
      uncertainty: half width of the interval that holds each of them.
      volume: solid share.
      kind: where it comes from, such as "dataset" or "round 1".
      theta: angle on the path in radians.
    """

    psi: np.ndarray
    constants: np.ndarray
    uncertainty: np.ndarray
    volume: float
    kind: str
    theta: float = float("nan")

    @property
    def octant(self) -> np.ndarray:
        """Binary octant with a voxel for each sample, as the network knows cells."""
        return surface.voxels(self.psi, self.psi.shape[-1])

    @property
    def share(self) -> float:
        """K over its upper Hashin-Shtrikman bound."""
        ratios = bounds.hashin_shtrikman_ratios(self.constants, self.volume)
        return float(ratios["K"])


def member_of(cell, kind: str, theta: float = float("nan")) -> Member:
    """Return a member from a cell with a field and the properties of its surface."""
    constants, doubt = np.asarray(cell.constants), np.asarray(cell.uncertainty)
    return Member(cell.psi, constants, doubt, float(cell.volume), kind, theta)


def of_dataset(data: Dataset, row: int, kind: str = "dataset") -> Member:
    """Return the member that is a cell of a dataset."""
    constants, doubt = data.constants[row], data.info["uncertainty"][row]
    return Member(data.fields(row), constants, doubt, float(data.volume[row]), kind)


def measured(octant: np.ndarray, n: int, kind: str) -> tuple[Member | None, str]:
    """Return the cell of a binary octant, its steps rounded off, n samples along it.

    If it is no good, return None and why.
    """
    psi, flaw = grey.connected(surface.from_voxels(octant, n))
    if flaw:
        return None, flaw
    found = accuracy.estimate(psi)
    if not found.converged:
        return None, f"not homogenized (residual {found.residual:.1g})"
    return Member(psi, found.constants, found.uncertainty, found.volume, kind), ""


def arrays(members: Sequence[Member]) -> dict[str, np.ndarray]:
    """Return members as arrays by name; `members_of` is the inverse."""
    columns = {
        name: np.array([getattr(member, name) for member in members])
        for name in Member._fields
    }
    return columns | {"K_over_HS": np.array([member.share for member in members])}


def members_of(found: Mapping[str, np.ndarray]) -> list[Member]:
    """Return the members that `arrays` made arrays of."""
    columns = (found[name] for name in Member._fields)
    return [
        Member(psi, c, u, float(v), str(kind), float(theta))
        for psi, c, u, v, kind, theta in zip(*columns, strict=True)
    ]


def begin(
    data: Dataset,
    *,
    count: int,
    low: float,
    high: float,
    floor: float,
    tolerance: float,
) -> list[Member]:
    """Return the cells of a dataset that a family begins with, by volume.

    They are looked for at `count` (two or more) evenly spaced volumes from low to high,
    with K/K_HS from the floor on; gaps wider than the tolerance get further cells.
    """
    if not low < high:
        raise InputError(
            f"low={low:g} and high={high:g} are no range of volume fractions. Pass "
            "`low` below `high`."
        )
    share = bounds.hashin_shtrikman_ratios(data.constants, data.volume)["K"]
    faces = np.concatenate([part[:, 0] for part in octants_in_parts(data)])
    known = (faces, data.volume, share >= floor)
    chosen = spread_out(*known, low, high, count)
    chosen = with_gaps_filled(chosen, *known, tolerance).tolist()
    if len(chosen) < 2:
        raise InputError(
            f"{len(chosen)} cells of the dataset have K/K_HS of {floor:g} or more at "
            f"volumes from {low:g} to {high:g}, and a family needs two. Lower `floor` "
            "or widen `low` and `high`."
        )
    return [of_dataset(data, row) for row in chosen]


def begin_once(file: pathlib.Path, data: Dataset, **options) -> list[Member]:
    """Return what `begin` does, from the file where it is stored."""
    return members_of(saved.once(file, lambda: arrays(begin(data, **options))))


def spread_out(
    faces: Shaped[np.ndarray, "N n n"],
    volume: Float[np.ndarray, "N"],
    allowed: Bool[np.ndarray, "N"],
    low: float,
    high: float,
    m: int,
) -> Int[np.ndarray, "k"]:
    """Return up to m rows of evenly spaced volumes whose faces fit their neighbours'.

    Around each of m evenly spaced volumes, the first and the last included, the nearest
    cells are looked at that are no nearer to another of these volumes. Of all ways to
    take one of each the one is returned whose neighbours agree in most voxels of their
    outer faces, solid above 0.5. Volumes without a cell are left out.
    """
    steps = []  # rows around each volume, and the best way to each of them
    width = (high - low) / (m - 1)
    allowed = allowed & (volume >= low) & (volume <= high)
    for middle in np.linspace(low, high, m):
        away = abs(volume - middle)
        rows = np.flatnonzero(allowed & (away <= width / 2))
        rows = rows[np.argsort(away[rows], kind="stable")[:LOOKED_AT]]
        if not rows.size:
            continue
        signs = 2.0 * (faces[rows] > 0.5).reshape(len(rows), -1) - 1
        total = np.zeros((1, len(rows)))
        if steps:
            total = steps[-1][2][:, None] + steps[-1][1] @ signs.T
        steps.append((rows, signs, total.max(0), total.argmax(0)))
    if not steps:
        return np.array([], int)
    place, chosen = steps[-1][2].argmax(), []
    for rows, _, _, before in reversed(steps):
        chosen.append(rows[place])
        place = before[place]
    # Cells on a border of two intervals belong to both.
    chosen = np.unique(chosen)
    return chosen[np.argsort(volume[chosen], kind="stable")]


def with_gaps_filled(
    rows: Int[np.ndarray, "k"],
    faces: Shaped[np.ndarray, "N n n"],
    volume: Float[np.ndarray, "N"],
    allowed: Bool[np.ndarray, "N"],
    tolerance: float,
) -> Int[np.ndarray, "m"]:
    """Return rows by volume, with more of the allowed ones between distant neighbours.

    Of each gap that exceeds the tolerance the cell is taken whose faces fit both
    neighbours best, of those in the middle half of the gap, or else the one nearest to
    the middle.
    """
    rows = list(rows)

    def between(one, other):
        low, high = volume[one], volume[other]
        inside = np.flatnonzero(allowed & (volume > low) & (volume < high))
        if not inside.size:
            return None
        away = abs(volume[inside] - (low + high) / 2)
        middle = inside[away <= max((high - low) / 4, away.min())]
        solid = faces > 0.5
        fit = sum((solid[middle] == solid[row]).mean((1, 2)) for row in (one, other))
        return middle[np.argmax(fit)]

    while True:
        for i in gaps(volume[rows], tolerance):
            if (found := between(rows[i], rows[i + 1])) is not None:
                rows.insert(i + 1, found)
                break
        else:
            return np.array(rows, int)


def gaps(
    volume: Sequence[float] | Float[np.ndarray, "m"], tolerance: float
) -> list[int]:
    """Return the numbers below the gaps of more than a tolerance, the widest first.

    Example:
      >>> gaps([0.25, 0.5, 1.0], 0.25)
      [1]
    """
    width = np.diff(np.asarray(volume, float))
    order = np.argsort(-width, kind="stable")
    return order[width[order] > tolerance].tolist()


def widest(members: Sequence[Member]) -> float:
    """Return the largest gap in volume between neighbours, 0 for less than two."""
    width = np.diff(sorted(member.volume for member in members))
    return float(width.max(initial=0.0))


def midway(low: Member, high: Member) -> Target:
    """Return constants and volume in the middle of a gap, on the line between both."""
    constants = (np.asarray(low.constants) + np.asarray(high.constants)) / 2
    return of_constants(constants, (low.volume + high.volume) / 2)


def fill(
    members: Sequence[Member],
    make: Callable[[int, Member, Member], Sequence[Member]],
    *,
    tolerance: float,
    floor: float,
    rounds: int,
) -> list[Member]:
    """Return the family, lightest first, after its gaps are filled in some rounds.

    Ends when no gap exceeds the tolerance, or when a round has put nothing into any.
    `make(round, low, high)` returns cells for a gap; those outside of it, or with
    K/K_HS below the floor, are left out here.
    """
    members = sorted(members, key=lambda member: member.volume)
    for number in range(rounds):
        fresh = []
        for i in gaps([member.volume for member in members], tolerance):
            low, high = members[i : i + 2]
            fresh += [
                member
                for member in make(number, low, high)
                if low.volume < member.volume < high.volume and member.share >= floor
            ]
        if not fresh:
            break
        members = sorted([*members, *fresh], key=lambda member: member.volume)
        console.say(f"{len(members)} cells, widest gap in V {widest(members):.4f}")
    return members


def make_gap_filler(
    generate: Callable[[jax.Array, Target], Sequence], key, folder: pathlib.Path
) -> Callable[[int, Member, Member], list[Member]]:
    """Return `make(round, low, high) -> members` for `fill`; each gap is made once.

    `generate(key, target)` returns cells, see `member_of`, for the middle of a gap; the
    folder keeps the files of finished gaps.
    """

    def make(number, low, high):
        target = midway(low, high)
        mark = round(1e6 * target.volume)
        kind = f"round {number + 1}"

        def new():
            fold = jax.random.fold_in(jax.random.fold_in(key, 2 + number), mark)
            return arrays([member_of(cell, kind) for cell in generate(fold, target)])

        made = members_of(saved.once(folder / f"gap_{number}_{mark}.npz", new))
        best = max((member.share for member in made), default=np.nan)
        console.say(
            f"{kind}, V {low.volume:.3f} to {high.volume:.3f}: {len(made)} cells, "
            f"K/K_HS up to {best:.3f}"
        )
        return made

    return make
