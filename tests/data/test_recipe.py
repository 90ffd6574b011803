"""Recipes: shards and rounds add up, values survive JSON, what cannot be is refused."""

import collections
import dataclasses
import json
from pathlib import Path

import pytest

from mmdiff import main
from mmdiff.data.recipe import (
    OTHER_KEYS,
    Given,
    Optimized,
    Perturbed,
    Proposed,
    Recipe,
    from_config,
)
from mmdiff.errors import InputError

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "dataset.py"
RECIPE = Recipe(
    n=8,
    shard_size=8,
    optimized=Optimized(
        bulk_shear=20,
        isotropic=0,
        poisson=8,
        poisson_isotropic=1,
        auxetic=3,
        auxetic_isotropic=0,
        target=0,
        plates=9,
        lattices=0,
    ),
    given=Given(count=10),
    perturbed=Perturbed(everywhere=17, poisson=(8, 16), joint=(3,)),
    proposed=Proposed(count=5),
)
OTHER = {
    "n": 12,
    "shard_size": 9,
    "volume_range": (0.1, 0.8),
    "wall": 0.04,
    "gap": 0.02,
    "drainable": 0.5,
    "similarity": 0.9,
    "distance": 0.1,
    "void": 1e-4,
    "tol": 1e-3,
    "maxiter": 7,
    "validation": 0.2,
    "test": 0.2,
    "seed": 1,
}
OTHER_IN_GROUPS = {
    "given": {"count": 11, "path": "elsewhere"},
    "optimized": {
        "bulk_shear": 21,
        "isotropic": 1,
        "poisson": 9,
        "poisson_isotropic": 2,
        "auxetic": 4,
        "auxetic_isotropic": 1,
        "target": 1,
        "plates": 10,
        "lattices": 1,
        "steps": 49,
        "ascent": 13,
        "radius": 3.0,
    },
    "perturbed": {
        "everywhere": 18,
        "poisson": (8, 17),
        "joint": (3, 3),
        "amplitude": (0.5, 2.0),
        "length": (4.0, 9.0),
        "times": 3,
        "volume_jitter": 0.05,
    },
    "proposed": {"count": 6, "weights": "w", "steps": 13, "polish_steps": 5},
}


def _load(variant):
    return main.load_config(f"{CONFIG}:{variant}").config


def _counts(recipe):
    counts = collections.Counter()
    for shard in recipe.plan():
        counts[shard.round, shard.aim, shard.kind] += shard.count
    return dict(counts)


def test_plan_holds_what_is_asked_of_each_kind():
    assert _counts(RECIPE) == {
        (0, "given", "given"): 10,
        (0, "optimized", "bulk_shear"): 20,
        (0, "optimized", "poisson"): 8,
        (0, "optimized", "poisson_isotropic"): 1,
        (0, "optimized", "auxetic"): 3,
        (0, "optimized", "plates"): 9,
        (1, "everywhere", "everywhere"): 17,
        (2, "poisson", "poisson"): 8,
        (3, "poisson", "poisson"): 16,
        (4, "joint", "joint"): 3,
        (5, "proposed", "proposed"): 5,
    }


def test_only_the_last_shard_of_a_kind_is_not_full():
    found = collections.defaultdict(list)
    for shard in RECIPE.plan():
        found[shard.round, shard.kind].append(shard.count)
    assert found[0, "bulk_shear"] == [8, 8, 4]
    assert found[0, "plates"] == [8, 1]
    assert found[2, "poisson"] == [8]
    for counts in found.values():
        assert set(counts[:-1]) <= {8} and 0 < counts[-1] <= 8


def test_rounds_are_consecutive_and_hold_every_shard():
    plan, rounds = RECIPE.plan(), RECIPE.rounds()
    assert [number for shards in rounds for number in shards] == list(range(len(plan)))
    for number, shards in enumerate(rounds):
        assert {plan[i].round for i in shards} == {number}
        assert len({plan[i].aim for i in shards}) == 1 + (number == 0)
    assert [len(shards) for shards in rounds] == [10, 3, 1, 2, 1, 1]


def test_rounds_without_candidates_are_left_out():
    recipe = dataclasses.replace(
        RECIPE,
        perturbed=Perturbed(everywhere=0, poisson=(0, 4), joint=()),
        proposed=Proposed(count=0),
    )
    assert len(recipe.rounds()) == 2
    assert recipe.plan()[-1] == (1, "poisson", "poisson", 4)


def test_to_dict_and_back():
    values = RECIPE.to_dict()
    assert Recipe.from_dict(values) == RECIPE
    assert values == json.loads(json.dumps(values))
    assert Recipe.from_dict(json.loads(json.dumps(values))) == RECIPE
    assert hash(Recipe.from_dict(values)) == hash(RECIPE)


def test_missing_values_are_those_of_the_class():
    assert Recipe.from_dict({}) == Recipe()
    recipe = Recipe.from_dict({"n": 16, "proposed": {"count": 2}})
    assert recipe == Recipe(n=16, proposed=Proposed(count=2))


def test_changes_below_are_of_every_field():
    fields = {field.name for field in dataclasses.fields(Recipe)}
    assert fields == set(OTHER) | set(OTHER_IN_GROUPS)
    for group, changes in OTHER_IN_GROUPS.items():
        kind = type(getattr(RECIPE, group))
        assert {field.name for field in dataclasses.fields(kind)} == set(changes)


def test_digest_tells_recipes_apart():
    found = {RECIPE.digest()}
    for name, value in OTHER.items():
        assert value != getattr(RECIPE, name)
        found.add(dataclasses.replace(RECIPE, **{name: value}).digest())
    for group, changes in OTHER_IN_GROUPS.items():
        for name, value in changes.items():
            own = getattr(RECIPE, group)
            assert value != getattr(own, name)
            changed = dataclasses.replace(own, **{name: value})
            found.add(dataclasses.replace(RECIPE, **{group: changed}).digest())
    assert len(found) == 1 + len(OTHER) + sum(map(len, OTHER_IN_GROUPS.values()))
    assert all(len(digest) == 12 and int(digest, 16) >= 0 for digest in found)


def test_digest_is_of_the_values_alone():
    assert Recipe.from_dict(RECIPE.to_dict()).digest() == RECIPE.digest()
    backwards = dict(reversed(RECIPE.to_dict().items()))
    assert Recipe.from_dict(backwards).digest() == RECIPE.digest()


def test_base_is_what_the_labels_are_for():
    recipe = dataclasses.replace(RECIPE, void=1e-4, tol=1e-3)
    want = {"E": 1.0, "nu": 0.3, "void": 1e-4, "penal": 1.0, "tol": 1e-3}
    assert recipe.base() == want


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"perturbed": Perturbed(amplitude=(3.0, 1.0))},
            r"amplitude=\(3\.0, 1\.0\) must be two numbers.*`perturbed\.amplitude`",
        ),
        ({"perturbed": Perturbed(length=(2.0,))}, r"length=\(2\.0,\) must be two"),
        ({"volume_range": (0.1, 0.5, 0.9)}, r"0\.5, 0\.9\) must be two numbers"),
        ({"volume_range": (0.5, 0.5)}, r"0\.5\) must be two.*`volume_range`"),
        ({"volume_range": (0.6, 0.4)}, r"volume_range=\(0\.6, 0\.4\) must be two"),
        ({"validation": 0.6, "test": 0.5}, r"validation=0\.6 and test=0\.5 are more"),
        ({"n": 10}, r"n=10: octants need a multiple of 4.*`n=12`"),
    ],
)
def test_what_cannot_be_made_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Recipe(**changes)


RANGES = {
    "workers=-1": "workers=-1 is too small. Set --config.workers to 0 or more",
    "optimized.target=-1": "Set --config.optimized.target to 0 or more",
    "optimized.steps=5": "Set --config.optimized.steps to 6 or more",
    "optimized.radius=0": "Set --config.optimized.radius to more than 0 spacings",
    "given.count=-1": "Set --config.given.count to 0 or more",
    "wall=0.5": "Set --config.wall to less than 0.5",
    "drainable=1.5": "Set --config.drainable to 1 or less",
    "perturbed.joint=(8, -8)": r"perturbed.joint=\(8, -8\) is too small",
    "perturbed.times=0": "Set --config.perturbed.times to 1 or more",
    "perturbed.length=(0.0, 1.0)": "Set --config.perturbed.length to more than 0",
    "proposed.count=-2": "Set --config.proposed.count to 0 or more",
    "volume_range=(0.0, 0.9)": "Set --config.volume_range to more than 0",
    "volume_range=(0.1, 1.1)": "Set --config.volume_range to 1 or less",
    "n=4": "Set --config.n to 8 samples or more",
    "shard_size=0": "Set --config.shard_size to 1 or more",
    "test=-0.1": "Set --config.test to 0 or more",
    "void=nan": "void=nan is not a finite number",
    "tol=0": "Set --config.tol to more than 0",
    "similarity=2": "Set --config.similarity to 1 or less",
}


@pytest.mark.parametrize("option", RANGES)
def test_numbers_out_of_range_are_refused(option):
    with pytest.raises(InputError, match=RANGES[option]):
        main.parse(["mmdiff", f"--config={CONFIG}", f"--config.{option}"])


def test_nothing_to_perturb():
    empty = dict.fromkeys(Optimized().counts(), 0)
    message = r"no optimized cells.*`optimized\.bulk_shear`"
    with pytest.raises(InputError, match=message):
        Recipe(optimized=Optimized(**empty))
    assert len(Recipe(optimized=Optimized(**{**empty, "plates": 1})).rounds()) > 1
    assert Recipe(optimized=Optimized(**empty), given=Given(count=3)).plan()[0][3] == 3


@pytest.mark.parametrize("variant", ["tiny", "small", "paper"])
def test_configs_make_recipes(variant):
    config = _load(variant)
    recipe, other = from_config(config.to_dict())
    assert set(other) == set(OTHER_KEYS)
    assert other["workers"] == 0 and 0 < other["subset"] and 0 < other["num_targets"]
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    named = {**config.to_dict(), **recipe.to_dict()}
    assert set(named) - set(recipe.to_dict()) == set(OTHER_KEYS)
    assert recipe.n == {"tiny": 16, "small": 32, "paper": 64}[variant]


def test_command_line_reaches_the_recipe():
    config = _load("tiny")
    label = f"{CONFIG}:tiny"
    args = ["main", "--config.perturbed.joint=(5, 6)", "--config.optimized.radius=2.5"]
    main.override(config, args, label)
    recipe, _ = from_config(config.to_dict())
    assert recipe.perturbed.joint == (5, 6) and recipe.optimized.radius == 2.5


def test_paper_has_the_counts_of_the_paper():
    counts = collections.Counter()
    for shard in from_config(_load("paper").to_dict())[0].plan():
        counts[shard.aim == "optimized"] += shard.count
    assert counts == {True: 15000, False: 60000}
