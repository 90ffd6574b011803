"""What each setting of the sampler and of the polish is worth, on shipped targets.

    python docs/sampling_study.py [targets, 12] [part ...]

Parts: steps, weight, newton, width, smooth, auxetic, polish, outside, bulk; all if none
is named. Range errors (arXiv 2401.13570, Eq. 3) of the surfaces of
connected cells, from two grids, four samples a target, one setting changed at a time
from those of configs/generate.py; the first row of each part is measured anew, so that
times compare. Printable is the share of cells that comply with walls, gaps and drains
as asked there. Results stand in docs/ablation.md.
"""

import dataclasses
import sys
import time
from unittest import mock

from mmdiff.run import environment

environment.silence_xla()  # before JAX is imported

import jax
import numpy as np

from mmdiff import assets, bounds
from mmdiff.cells import grey
from mmdiff.design.evaluate import metrics
from mmdiff.design.generate import fem_guidance, pipeline, regressor_guidance
from mmdiff.design.generate.search import Budget
from mmdiff.fem import accuracy
from mmdiff.models import sampling, weights
from mmdiff.models.regressor import load_regressor
from mmdiff.targets import feasibility, table, target

SAMPLES, NEWTON = 4, 2
NEWTONS = (0, 1, 2, 3)  # Newton steps of the guidance
POLISH_STEPS = (*range(7), 8, 12, 20, 40)
STEP_COUNTS = (4, 8, 16, 32, 50)
WIDTH = ((0.5, 0.5), (1.0, 1.0), (2.0, 0.5), (3.0, 0.5))  # of `fem_guidance.WIDTH`
SMOOTHING = (0.1, 0.7, 1.0, 1.5, 2.0)  # of `fem_guidance.SMOOTHING`; 0.1 is none
# Few constants asked, Poisson's ratio negative: the hardest to hang together.
AUXETIC = ("nu=-0.4,V=0.3", "E=0.02,nu=-0.3", "E=0.03,nu=-0.2", "nu=-0.5,V=0.4")
PARTS = (
    *("steps", "weight", "newton", "width", "smooth", "auxetic"),
    *("polish", "outside", "bulk"),
)
WEIGHTS = (0.5, 1.0, 2.0, 4.0)
# Outside of what the model was trained on, each within the bounds of feasibility.
VOLUMES = np.linspace(0.2, 0.75, 12)  # of which the stiffest cell is asked
OUTSIDE = (
    "C11=0.1,C12=0.09,C44=0.002,V=0.8",
    "C11=0.11,C12=-0.05,C44=0.03,V=0.4",
    "C11=0.24,C12=0.0,C44=0.005,V=0.36",
    "C11=0.6,C12=0.1,C44=0.06,V=0.9",
    "C11=0.1,C12=0.09,C44=0.1,V=0.4",
    "C11=0.05,C12=0.01,C44=0.08,V=0.3",
    "C11=0.002,C12=0.0005,C44=0.01,V=0.05",
    "C11=1.1,C12=0.45,C44=0.3,V=0.93",
)


SETTINGS = pipeline.Settings(newton=NEWTON)
RAW = dataclasses.replace(SETTINGS, polish_steps=0)


class Study:
    """The shipped model at work."""

    def __init__(self):
        """Load it."""
        self.model = weights.Model(*weights.load_weights(assets.weights_path()))
        self.n = int(self.model.meta["octant"])
        self.known = np.array(self.model.meta["training"]["labels"])

    def cells(self, goals, settings=RAW, *, spare=0):
        """Return the cells of each goal, and seconds of sampling and in all per sample.

        Compilation is left out.
        """
        draw = pipeline.make_draw(self.model, settings, SAMPLES)
        find = pipeline.make_find(self.n, settings, SAMPLES)
        budget = Budget(rounds=1 + bool(spare), spare=spare)
        drawn, found = [], []

        def timed(key, goal):
            start = time.perf_counter()
            samples = np.asarray(draw(key, goal))
            drawn.append(time.perf_counter() - start)
            return samples

        find(jax.random.key(1), goals[0], timed, Budget(rounds=1))
        start = time.perf_counter()
        drawn.clear()
        for i, goal in enumerate(goals):
            key = jax.random.fold_in(jax.random.key(0), i)
            found.append(find(key, goal, timed, budget)[0])
        total, count = time.perf_counter() - start, SAMPLES * len(goals)
        return found, (sum(drawn) / count, total / count)


def summary(errors) -> str:
    """Return mean, median and mean of the best of lists of errors, in percent."""
    errors = [each for each in errors if each]
    every = np.concatenate(errors)
    best = np.mean([min(each) for each in errors])
    mean, median = every.mean(), np.median(every)
    return f"{100 * mean:.2f} | {100 * median:.2f} | {100 * best:.2f}"


def head(name) -> None:
    """Print the head of a table of the sampler."""
    print(
        f"\n| {name} | mean % | median % | best of {SAMPLES} % | valid % | "
        "printable % | s/sample |\n" + 7 * "|---" + "|"
    )


def row(study, goals, value, **options) -> None:
    """Print a line for a value of a setting of the sampler."""
    found, (seconds, _) = study.cells(goals, dataclasses.replace(RAW, **options))
    every = sum(found, [])
    valid = len(every) / (SAMPLES * len(goals))
    errors = [[one.error for one in cells] for cells in found]
    sound = np.mean([not RAW.printing.flaw(one) for one in every])
    print(
        f"| {value} | {summary(errors)} | {100 * valid:.0f} | {100 * sound:.0f} | "
        f"{seconds:.2f} |",
        flush=True,
    )


def sweep(study, goals, name, field, values) -> None:
    """Print a line for each value of a field of the settings."""
    head(name)
    for value in values:
        row(study, goals, value, **{field: value})


def guiding(study, goals, name, title, values) -> None:
    """Print a line for each value of a constant of `fem_guidance`."""
    head(title)
    for value in values:
        with mock.patch.object(fem_guidance, name, value):
            row(study, goals, value)


def polishing(study, goals) -> None:
    """Print the error by the number of steps, and what guidance saves of them."""
    lines = []
    for newton in NEWTONS:
        settings = dataclasses.replace(SETTINGS, newton=newton)
        found, (_, seconds) = study.cells(goals, settings)
        every = sum(found, [])
        if newton == NEWTON:
            histories = [[one.history for one in cells] for cells in found]
        errors = [[one.error for one in cells] for cells in found]
        alike = [
            metrics.similarity_within([c.octant for c in cells]) for cells in found
        ]
        solves = np.median([one.solves for one in every])
        lines.append(
            f"| {newton} | {summary(errors)} | {solves:.0f} | {seconds:.1f} | "
            f"{100 * np.nanmean(alike):.1f} |"
        )
    print(f"\n| polish steps | mean % | median % | best of {SAMPLES} % |")
    print("|---|---|---|---|")
    for k in POLISH_STEPS:
        errors = [[h[min(k, len(h) - 1)] for h in each] for each in histories]
        print(f"| at most {k} | {summary(errors)} |", flush=True)
    print(
        f"\n| newton, polished | mean % | median % | best of {SAMPLES} % | "
        "solves | s/cell | alike % |\n" + 7 * "|---" + "|"
    )
    print("\n".join(lines), flush=True)


def outside(study) -> None:
    """Print what generate makes, as it is set, of targets beyond the trained region."""
    radius = study.model.meta["training"]["coverage"]
    print(f"\ntrained region: within {100 * radius:.1f} % of a training cell")
    print("\n| asked | distance % | raw best % | delivered best % | V | rel % |")
    print("|---|---|---|---|---|---|")
    settings = dataclasses.replace(SETTINGS, newton=3)
    for text in OUTSIDE:
        goal = target.parse(text)
        feasibility.check_feasible(goal)
        distance = feasibility.training_distance(goal, study.known)
        (cells,), _ = study.cells([goal], settings, spare=settings.spare)
        line = f"| {text} | {100 * distance:.1f} |"
        if not cells:
            print(f"{line} no printable cell | | | |", flush=True)
            continue
        raw = min(one.history[0] for one in cells)
        best = cells[0]
        print(
            f"{line} {100 * raw:.2f} | {100 * best.error:.2f} | {best.volume:.3f} | "
            f"{100 * best.relative_error:.1f} |",
            flush=True,
        )


def bulk(study) -> None:
    """Print K / K_HS of samples of given volumes, plain and led by the regressor."""
    params, meta = load_regressor(assets.regressor_path())
    residual = regressor_guidance.bulk_residual
    led = regressor_guidance.make_regressor_guidance(
        params, meta, residual=residual, count=1, longest=0.3
    )
    print("\n| led by | valid % | mean K / K_HS | s/sample |\n|---|---|---|---|")
    for name, guide in (("nothing", None), ("the regressor", led)):
        draw = sampling.make_draw(
            *study.model, num_samples=SAMPLES, steps=RAW.steps, guide=guide
        )
        ratios, seconds = [], 0.0
        for i, volume in enumerate([VOLUMES[0], *VOLUMES]):
            wanted = np.full(len(fem_guidance.NAMES), np.nan, np.float32)
            wanted[-1] = volume
            start = time.perf_counter()
            samples = np.asarray(draw(jax.random.key(i), {"V": volume}, wanted))
            if not i:
                continue  # it compiles
            seconds += time.perf_counter() - start
            for sample in samples:
                psi, refused = grey.to_field(sample, volume)
                if not refused:
                    found = accuracy.estimate(psi)
                    of = bounds.hashin_shtrikman_ratios(found.constants, found.volume)
                    ratios.append(of["K"])
        count = SAMPLES * len(VOLUMES)
        print(
            f"| {name} | {100 * len(ratios) / count:.0f} | {np.mean(ratios):.3f} | "
            f"{seconds / count:.2f} |",
            flush=True,
        )


def main(arguments: list[str]) -> None:
    """Measure the parts that are named."""
    count = int(arguments[0]) if arguments else 12
    parts = arguments[1:] or [*PARTS]
    lines = table.read(assets.dataset_path() / "targets.csv")
    goals = [line.target for line in lines[:count]]
    study = Study()
    print(f"{len(goals)} targets, {jax.default_backend()}")
    if "steps" in parts:
        sweep(study, goals, "steps", "steps", STEP_COUNTS)
    if "weight" in parts:
        sweep(study, goals, "weight", "guidance", WEIGHTS)
    if "newton" in parts:
        sweep(study, goals, "newton", "newton", NEWTONS)
    if "width" in parts:
        guiding(study, goals, "WIDTH", "half width at t = 1 and 0, spacings", WIDTH)
    if "smooth" in parts:
        guiding(study, goals, "SMOOTHING", "smoothed over, spacings", SMOOTHING)
    if "auxetic" in parts:
        auxetic = [target.parse(text) for text in AUXETIC]
        sweep(study, auxetic, "newton", "newton", (0, 2, 3))
    if "polish" in parts:
        polishing(study, goals)
    if "outside" in parts:
        outside(study)
    if "bulk" in parts:
        bulk(study)


if __name__ == "__main__":
    main(sys.argv[1:])
