"""What each setting of the sampler and of the polish is worth, on shipped targets.

    python docs/sampling_study.py [targets, 12] [part ...]

Parts: steps, weight, newton, sharpen, smooth, auxetic, polish, outside, bulk, stages;
all if none is named. Range errors (arXiv 2401.13570, Eq. 3) by finite elements on
binary connected cells, four samples a target, one setting changed at a time from those
of configs/generate.py; the first row of each part is measured anew, so that times
compare. Thin and pits are the shares of solid and void in features of one voxel.
Results stand in docs/ablation.md.
"""

import sys
import time
from unittest import mock

from mmdiff.run import environment

environment.silence_xla()  # before JAX is imported

import jax
import numpy as np

from mmdiff import assets, bounds
from mmdiff.design.evaluate import metrics
from mmdiff.design.generate import (
    cell,
    fem_guidance,
    refine,
    regressor_guidance,
    rework,
    sampler,
)
from mmdiff.design.generate.search import Budget, search
from mmdiff.models import sampling, weights
from mmdiff.models.regressor import load_regressor
from mmdiff.targets import feasibility, table, target
from mmdiff.topopt import interface

SAMPLES, STEPS, NEWTON, POLISH = 4, 16, 2, 12
STEP_COUNTS = (4, 8, 16, 32, 50)
SHARPEN = ((3.0, 3.0), (1.5, 1.5), (1.0, 2.0), (0.5, 2.0))  # of `fem_guidance.SHARPEN`
SMOOTHING = (0.1, 0.7, 1.0, 1.5, 2.0)  # of `fem_guidance.SMOOTHING`; 0.1 is none
# Few constants asked, Poisson's ratio negative: the hardest to hang together.
AUXETIC = ("nu=-0.4,V=0.3", "E=0.02,nu=-0.3", "E=0.03,nu=-0.2", "nu=-0.5,V=0.4")
PARTS = (
    *("steps", "weight", "newton", "sharpen", "smooth", "auxetic"),
    *("polish", "outside", "bulk", "stages"),
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


class Model:
    """The shipped model, its finite elements and the cells it knows."""

    def __init__(self):
        """Load it."""
        self.params, self.meta = weights.load_weights(assets.weights_path())
        n = int(self.meta["octant"])
        self.evaluate = interface.make_evaluate(n)
        self.rework = rework.make_rework(n)
        self.known = np.array(self.meta["training"]["labels"])

    def cells(self, goals, *, refined=None, spare=0, **options):
        """Return the cells of each goal and seconds per sample, compilation left out.

        Args:
          goals: targets.
          refined: refinement, see `mmdiff.design.generate.search`.
          spare: of its budget.
          **options: of the sampler, where they are not the default.
        """
        settings = {"steps": STEPS, "weight": 1.0, "newton": NEWTON, **options}
        draw = sampler.make_sampler(
            self.params, self.meta, num_samples=SAMPLES, **settings
        )
        jax.block_until_ready(draw(jax.random.key(1), goals[0]))
        start, found = time.perf_counter(), []
        for i, goal in enumerate(goals):
            cells, _ = search(
                jax.random.fold_in(jax.random.key(0), i),
                goal,
                draw=draw,
                evaluate=self.evaluate,
                num_best=SAMPLES,
                refine=refined,
                price=refine.PRICE,
                budget=Budget(rounds=1 + bool(spare), spare=spare),
            )
            found.append(cells)
        return found, (time.perf_counter() - start) / (SAMPLES * len(goals))


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
        f"\n| {name} | mean % | median % | best of {SAMPLES} % | valid % | thin % | "
        "pits % | s/sample |\n" + 8 * "|---" + "|"
    )


def row(model, goals, value, **options) -> None:
    """Print a line for a value of an option of the sampler."""
    found, seconds = model.cells(goals, **options)
    valid = sum(map(len, found)) / (SAMPLES * len(goals))
    errors = [[one.error for one in cells] for cells in found]
    surface = metrics.surface([one.octant for cells in found for one in cells])
    print(
        f"| {value} | {summary(errors)} | {100 * valid:.0f} | "
        f"{100 * surface['thin']:.1f} | {100 * surface['pits']:.1f} | {seconds:.2f} |",
        flush=True,
    )


def sweep(model, goals, name, values) -> None:
    """Print a line for each value of an option of the sampler."""
    head(name)
    for value in values:
        row(model, goals, value, **{name: value})


def guiding(model, goals, name, title, values) -> None:
    """Print a line for each value of a constant of `fem_guidance`."""
    head(title)
    for value in values:
        with mock.patch.object(fem_guidance, name, value):
            row(model, goals, value)


def polishing(model, goals) -> None:
    """Print the error after each number of polishing steps, and with rework."""
    plain = refine.make_refine(model.evaluate, steps=POLISH)
    again = refine.make_refine(model.evaluate, steps=POLISH, rework=model.rework)
    found, seconds = model.cells(goals, refined=plain)
    histories = [[one.history for one in cells] for cells in found]
    print(f"\n| polish steps | mean % | median % | best of {SAMPLES} % |")
    print("|---|---|---|---|")
    for k in (*range(9), POLISH):
        errors = [[h[min(k, len(h) - 1)] for h in each] for each in histories]
        print(f"| at most {k} | {summary(errors)} |", flush=True)
    found, longer = model.cells(goals, refined=again)
    errors = [[one.error for one in cells] for cells in found]
    print(f"| {POLISH}, rework | {summary(errors)} |")
    print(f"\n{seconds:.2f} s per cell polished, {longer:.2f} s with rework")


def outside(model) -> None:
    """Print what generate makes, as it is set, of targets beyond the trained region."""
    radius = model.meta["training"]["coverage"]
    print(f"\ntrained region: within {100 * radius:.1f} % of a training cell")
    print("\n| asked | distance % | raw best % | delivered best % | V | rel % |")
    print("|---|---|---|---|---|---|")
    again = refine.make_refine(model.evaluate, steps=24, rework=model.rework)
    for text in OUTSIDE:
        goal = target.parse(text)
        feasibility.check_feasible(goal)
        distance = feasibility.training_distance(goal, model.known)
        (cells,), _ = model.cells([goal], refined=again, spare=2, newton=3)
        line = f"| {text} | {100 * distance:.1f} |"
        if not cells:
            print(f"{line} no connected cell | | | |", flush=True)
            continue
        raw = min(one.history[0] for one in cells)
        best = cells[0]
        print(
            f"{line} {100 * raw:.2f} | {100 * best.error:.2f} | {best.volume:.3f} | "
            f"{100 * best.relative_error:.1f} |",
            flush=True,
        )


def bulk(model) -> None:
    """Print K / K_HS of samples of given volumes, plain and led by the regressor."""
    params, meta = load_regressor(assets.regressor_path())
    residual = regressor_guidance.bulk_residual
    led = regressor_guidance.make_regressor_guidance(
        params, meta, residual=residual, count=1, longest=0.3
    )
    print("\n| led by | valid % | mean K / K_HS | s/sample |\n|---|---|---|---|")
    for name, guide in (("nothing", None), ("the regressor", led)):
        draw = sampling.make_draw(
            model.params, model.meta, num_samples=SAMPLES, steps=STEPS, guide=guide
        )
        ratios, seconds = [], 0.0
        for i, volume in enumerate([VOLUMES[0], *VOLUMES]):
            wanted = np.full(len(fem_guidance.NAMES), np.nan, np.float32)
            wanted[-1] = volume
            start = time.perf_counter()
            fields = draw(jax.random.key(i), {"V": volume}, wanted)
            fields = np.asarray(fields)
            if not i:
                continue  # it compiles
            seconds += time.perf_counter() - start
            for field in fields:
                octant, refused, _ = cell.binarize(field, volume)
                if not refused:
                    constants = model.evaluate(octant).constants
                    share = octant.mean(dtype=float)
                    ratio = bounds.hashin_shtrikman_ratios(constants, share)
                    ratios.append(ratio["K"])
        count = SAMPLES * len(VOLUMES)
        print(
            f"| {name} | {100 * len(ratios) / count:.0f} | {np.mean(ratios):.3f} | "
            f"{seconds / count:.2f} |",
            flush=True,
        )


def stages(model) -> None:
    """Print the median seconds of each stage for one warm cell, batch of one."""
    goal = target.parse("0.110,0.045,0.040", volume=0.3)
    n = int(model.meta["octant"])
    fine = interface.make_evaluate(2 * n)

    def draw(newton, count=1):
        return sampler.make_sampler(
            model.params, model.meta, num_samples=count, steps=STEPS, newton=newton
        )

    plain, guided = draw(0), draw(NEWTON)
    field = np.asarray(guided(jax.random.key(0), goal))[0]
    octant, _, _ = cell.binarize(field, goal.volume)
    coarse = cell.make_cell(octant, model.evaluate(octant), goal, 1)
    doubled = refine.double(coarse, goal, fine)
    polish = refine.make_refine(model.evaluate, steps=POLISH)
    finish = refine.make_refine(fine, steps=POLISH, smooth=False)
    jobs = {
        "network alone, 16 steps": lambda: np.asarray(plain(jax.random.key(1), goal)),
        "network and homogenizer": lambda: np.asarray(guided(jax.random.key(1), goal)),
        "binarize": lambda: cell.binarize(field, goal.volume),
        f"verify {2 * n}^3": lambda: model.evaluate(octant),
        f"polish {2 * n}^3": lambda: polish(coarse, goal),
        f"double to {4 * n}^3 and verify": lambda: refine.double(coarse, goal, fine),
        f"polish {4 * n}^3": lambda: finish(doubled, goal),
    }
    print(f"\n{environment.device_line()}\n\n| stage | s |\n|---|---|")
    for name, job in jobs.items():
        times = []
        for i in range(4):
            start = time.perf_counter()
            job()
            times += [time.perf_counter() - start] if i else []
        print(f"| {name} | {np.median(times):.3f} |", flush=True)
    best = finish(doubled, goal)
    print(
        f"\nerrors: sample {100 * coarse.error:.2f} %, doubled "
        f"{100 * doubled.error:.2f} %, polished {100 * best.error:.2f} %"
    )


def main(arguments: list[str]) -> None:
    """Measure the parts that are named."""
    count = int(arguments[0]) if arguments else 12
    parts = arguments[1:] or [*PARTS]
    lines = table.read(assets.dataset_path() / "targets.csv")
    goals = [line.target for line in lines[:count]]
    model = Model()
    print(f"{len(goals)} targets, {jax.default_backend()}")
    if "steps" in parts:
        sweep(model, goals, "steps", STEP_COUNTS)
    if "weight" in parts:
        sweep(model, goals, "weight", WEIGHTS)
    if "newton" in parts:
        sweep(model, goals, "newton", (0, 1, 2, 3))
    if "sharpen" in parts:
        guiding(model, goals, "SHARPEN", "sharpened by, t = 1 and 0", SHARPEN)
    if "smooth" in parts:
        guiding(model, goals, "SMOOTHING", "smoothed over, voxels", SMOOTHING)
    if "auxetic" in parts:
        auxetic = [target.parse(text) for text in AUXETIC]
        sweep(model, auxetic, "newton", (0, 2, 3))
    if "polish" in parts:
        polishing(model, goals)
    if "outside" in parts:
        outside(model)
    if "bulk" in parts:
        bulk(model)
    if "stages" in parts:
        stages(model)


if __name__ == "__main__":
    main(sys.argv[1:])
