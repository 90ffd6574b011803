"""The recipe of a dataset, and its division into rounds and shards.

Round 0 holds optimized cells and those of an earlier dataset; then come perturbed ones,
first of all cells, then of those in thinly filled parts of property space, and last
those a trained model proposes for its empty parts. All shards of a round are
independent of each other; a shard may read every earlier round.
"""

import collections
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mmdiff.elasticity import NU
from mmdiff.errors import InputError

# Aims of the rounds.
OPTIMIZED, EVERYWHERE, POISSON = "optimized", "everywhere", "poisson"
JOINT, PROPOSED, GIVEN = "joint", "proposed", "given"
# Keys of configs/dataset.py that do not change the cells.
OTHER_KEYS = ("workers", "subset", "num_targets")


class Shard(NamedTuple):
    """Candidates of one shard."""

    round: int
    aim: str  # of its round
    kind: str  # objective of its cells; the aim again in the other rounds
    count: int


@dataclasses.dataclass(frozen=True)
class Optimized:
    """Candidates of round 0 by their objective, and settings of the optimization."""

    bulk_shear: int = 64  # highest bulk, shear modulus or a mixture; a third of each
    isotropic: int = 32  # the same with a Zener ratio near 1
    poisson: int = 64  # lowest Poisson's ratio with a floor of stiffness
    poisson_isotropic: int = 32  # the same with a Zener ratio near 1
    auxetic: int = 32  # the same, of re-entrant lattices whose surface is moved
    auxetic_isotropic: int = 16
    target: int = 64  # nearest to a tensor drawn from the reachable region
    plates: int = 32  # plate lattices of one family or two, not optimized
    lattices: int = 32  # textbook lattices of struts, plates and minimal surfaces
    steps: int = 48  # of the design of a density, at most
    ascent: int = 12  # steps of a surface, at most
    radius: float = 2.0  # of the filter, in spacings

    def counts(self) -> dict[str, int]:
        """Return the number of candidates of each kind."""
        fields, other = dataclasses.asdict(self), ("steps", "ascent", "radius")
        return {k: v for k, v in fields.items() if k not in other}


@dataclasses.dataclass(frozen=True)
class Given:
    """Cells of an earlier dataset that this one goes on from."""

    count: int = 0  # of its property-uniform order, at most; 0 for none
    path: str = ""  # of that dataset; empty for the shipped one


@dataclasses.dataclass(frozen=True)
class Perturbed:
    """Candidates of the perturbation rounds, and settings of the deformation."""

    everywhere: int = 256  # with parents drawn from all cells alike
    poisson: tuple[int, ...] = (256,)  # each from thin bins of Poisson's ratio
    joint: tuple[int, ...] = (256,)  # each from thin bins of the whole space
    amplitude: tuple[float, ...] = (0.2, 1.0)  # root mean square, in spacings
    length: tuple[float, ...] = (4.0, 8.0)  # of correlation, in spacings
    times: int = 2  # most deformations in a row; each candidate draws its number
    volume_jitter: float = 0.04  # standard deviation of the change in volume


@dataclasses.dataclass(frozen=True)
class Proposed:
    """The closing round, in which a trained model proposes cells for empty bins."""

    count: int = 0  # 0 leaves the round out
    weights: str = ""  # empty for the shipped model
    steps: int = 12  # evaluations of the network per sample
    polish_steps: int = 4  # most accepted moves of a sample's surface towards its bin


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that determines a dataset.

    Two cells count as one from a share of equal voxels (arXiv 2401.13570, Eq. 4) and
    below a property distance, see `select.property_distance`; both must hold.
    """

    n: int = 32  # samples along the octants
    shard_size: int = 32  # candidates per shard at most, and rows it has room for
    volume_range: tuple[float, ...] = (0.1, 0.9)  # of requests and cells
    wall: float = 0.03  # least wall and gap of the cells, in edges
    gap: float = 0.03
    drainable: float = 0.7  # share of the candidates whose pores are opened
    given: Given = Given()
    optimized: Optimized = Optimized()
    perturbed: Perturbed = Perturbed()
    proposed: Proposed = Proposed()
    similarity: float = 0.995
    distance: float = 0.002
    void: float = 1e-6  # stiffness of void, residual and iterations of the labels
    tol: float = 1e-4
    maxiter: int = 200
    validation: float = 0.05  # shares of the families kept apart
    test: float = 0.05
    seed: int = 0

    def __post_init__(self):
        """Refuse values that contradict each other; `configs/dataset.py` has ranges."""
        for name, pair in {
            "volume_range": self.volume_range,
            "perturbed.amplitude": self.perturbed.amplitude,
            "perturbed.length": self.perturbed.length,
        }.items():
            point = name == "volume_range" and len(set(pair)) == 1
            if len(pair) != 2 or pair[0] > pair[1] or point:
                raise InputError(
                    f"{name}={pair} must be two numbers, the smaller first. Correct "
                    f"`{name}`."
                )
        if self.validation + self.test > 1:
            raise InputError(
                f"validation={self.validation} and test={self.test} are more than one "
                "whole. Lower `validation` or `test`."
            )
        if self.n % 4:
            raise InputError(
                f"n={self.n}: octants need a multiple of 4 voxels per side. Set "
                f"`n={4 * -(-self.n // 4)}`."
            )
        if not any((self.given.count, *self.optimized.counts().values())):
            raise InputError(
                "the recipe has no optimized cells, so there is nothing to perturb. "
                "Raise `optimized.bulk_shear`, another count there, or `given.count`."
            )

    def plan(self) -> list[Shard]:
        """Return all shards in order."""
        shards = []
        shards += self._shards(0, GIVEN, GIVEN, self.given.count)
        for kind, count in self.optimized.counts().items():
            shards += self._shards(0, OPTIMIZED, kind, count)
        rounds = [
            (EVERYWHERE, self.perturbed.everywhere),
            *((POISSON, count) for count in self.perturbed.poisson),
            *((JOINT, count) for count in self.perturbed.joint),
            (PROPOSED, self.proposed.count),
        ]
        for number, (aim, count) in enumerate((r for r in rounds if r[1]), 1):
            shards += self._shards(number, aim, aim, count)
        return shards

    def _shards(self, number, aim, kind, count):
        size = self.shard_size
        starts = range(0, count, size)
        return [Shard(number, aim, kind, min(size, count - s)) for s in starts]

    def rounds(self) -> list[range]:
        """Return the shard numbers of every round."""
        counts = collections.Counter(shard.round for shard in self.plan())
        ends = np.cumsum([0, *(counts[number] for number in sorted(counts))]).tolist()
        return [range(a, b) for a, b in itertools.pairwise(ends)]

    def base(self) -> dict[str, float]:
        """Return base material, void stiffness and residual of the tensors."""
        material = {"E": 1.0, "nu": NU, "void": self.void}
        return {**material, "penal": 1.0, "tol": self.tol}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `from_dict` is the inverse."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Rebuild from `to_dict`, or from the values of a config."""
        groups = {"given": Given, "optimized": Optimized}
        groups |= {"perturbed": Perturbed, "proposed": Proposed}
        fixed = {name: _fixed(value) for name, value in values.items()}
        made = {name: groups[name](**fixed[name]) for name in groups if name in fixed}
        return cls(**fixed | made)

    def digest(self) -> str:
        """Return twelve hex digits that tell recipes apart."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def from_config(values: Mapping[str, Any]) -> tuple[Recipe, dict[str, Any]]:
    """Return the recipe in the values of a config, and the rest, `OTHER_KEYS`."""
    other = {key: values[key] for key in OTHER_KEYS}
    return Recipe.from_dict({k: v for k, v in values.items() if k not in other}), other


def _fixed(value):
    """Return a value with tuples for lists, inside of a mapping too."""
    if isinstance(value, Mapping):
        return {name: _fixed(inner) for name, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value
