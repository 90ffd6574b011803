"""What parts of the method do, at one budget of training.

    python docs/ablation_study.py WORKDIR --steps 300
    python docs/ablation_study.py WORKDIR --group network --seconds 900 --data out/data

Trains configs/train.py:cpu with one thing changed at a time, with the same seed and
batches, and prints for each the error of the x0 estimate on held-out cells and, by
finite elements on two grids, the range error (arXiv 2401.13570, Eq. 3) of the surfaces
of samples for the tensors of some of these cells, as the network draws them and with
Newton steps. "process" changes noise and self-conditioning at so many steps; "network"
the network and how it is trained, at so many seconds of a core. Goes on where it was
stopped.
"""

import argparse
import functools
import json
import pathlib
import tempfile
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmdiff.run import environment

environment.silence_xla()  # before JAX is imported

import jax
import numpy as np

from mmdiff import main
from mmdiff.cells import symmetry
from mmdiff.data import dataset, select
from mmdiff.design.generate import pipeline, sampler
from mmdiff.design.generate.search import Budget, in_turn, search
from mmdiff.diffusion import conditions, linear, process, schedule
from mmdiff.io.json import markdown
from mmdiff.models import denoiser, network, weights
from mmdiff.targets import target
from mmdiff.train import checkpoint, denoising, loop, state

TARGETS, SAMPLES, SAMPLING_STEPS, NEWTON = 24, 4, 16, (0,)
HELD_OUT = 256  # validation cells
TIMES = (0.1, 0.3, 0.5, 0.7, 0.85)
TIMED = 20  # steps that tell how long one takes
GROUPS = ("process", "network")
NOISE = schedule.ExponentialSchedule()


class Variant(NamedTuple):
    """How a network is trained and sampled.

    `denoiser(model, schedule, prior)`, the noise, and other settings of the config.
    """

    denoiser: object = denoiser.make_denoiser
    noise: object = process.symmetric_noise
    changes: Mapping[str, Any] = {}


def _plain(*args):
    """Return the denoiser without self-conditioning."""
    apply = denoiser.make_denoiser(*args)

    def forgetful(params, *args):
        bound = process.without_previous(functools.partial(apply, params))
        return bound(*args)

    return forgetful


def variants(n: int, group: str = GROUPS[0]) -> dict[str, Variant]:
    """Return the ways of a group by name, for octants of side n."""

    def of_averaged(model, noise_schedule, prior):
        # The ratio of field and noise is that of the noise it really has: its variance
        # in a coefficient is one over the multiplicity.
        most = n**3 / symmetry.num_independent(n)
        spectrum = tuple(most * value for value in prior.spectrum)
        prior = linear.Prior(prior.mean, spectrum)
        return denoiser.make_denoiser(model, noise_schedule, prior)

    if group == "process":
        return {
            "default": Variant(),
            "no self-conditioning": Variant(_plain),
            "averaged noise": Variant(of_averaged, process.averaged_noise),
        }
    changes = {
        "default": {},
        "outer blocks": {"model.outer": 2, "model.depth": 8},
        "blocks of 8^3": {"model.patch": 8},
        "wide": {"model.width": 384},
        "late times": {"late": 2.0},
        "outer blocks and late times": {
            "model.outer": 2,
            "model.depth": 8,
            "late": 2.0,
        },
        "outer blocks and rate 1e-3": {
            "model.outer": 2,
            "model.depth": 8,
            "learning_rate": 1e-3,
        },
        "batch of 32": {"batch_size": 32},
        "rate 1e-3": {"learning_rate": 1e-3},
        "equal loss weight": {"loss_weight": "none"},
        "conditions as they are": {"power": 1.0},
        "conditions freed half as often": {"drop_rate": 0.03},
        "U-Net": {"model.kind": "unet", "model.width": 64, "loss_weight": "none"},
    }
    return {name: Variant(changes=each) for name, each in changes.items()}


class Data(NamedTuple):
    """Training and held-out examples, scaling of their conditions, prior of fields."""

    training: denoising.Examples
    held_out: denoising.Examples
    conditions: conditions.Conditions
    prior: linear.Prior


def load(config, root="") -> Data:
    """Return a dataset as configs/train.py would train on it."""
    data = dataset.load_dataset(root)
    chosen = dataset.training_cells(data)
    training = denoising.examples(data, chosen, config.balance)
    rows = np.flatnonzero(data.info["split"] == select.VALIDATION)
    held = np.zeros(len(data.packed), bool)
    held[rows[np.linspace(0, len(rows) - 1, HELD_OUT).astype(int)]] = True
    scaling = conditions.fit_conditions(conditions.NAMES, training.cond, config.power)
    prior = linear.fit_prior(training.packed)
    return Data(training, denoising.examples(data, held), scaling, prior)


def train(folder, variant: Variant, data: Data, config, steps: int):
    """Return averaged parameters, header and a record of the training."""
    octant = symmetry.side(data.training.packed.shape[-1])
    fields = network.fields_of(config.model.to_dict())
    fields |= {"conditions": len(conditions.NAMES), "linear": True}
    model = network.make_network(**fields)
    last = {}

    def note(metrics):
        if "loss" in metrics:
            print(f"  {metrics['step']} {metrics['loss']:.4f}", flush=True)
        last.update(metrics)

    values = {**config.to_dict(), "steps": steps}
    values["warmup"] = min(config.warmup, steps // 10)
    values |= {"log_every": 50, "checkpoint_every": max(steps // 2, 1)}
    settings = loop.Settings.from_values(values)
    diffusion = denoising.Diffusion(
        variant.denoiser(model, NOISE, data.prior),
        data.conditions,
        NOISE,
        noise=variant.noise,
        drop_rate=config.drop_rate,
        late=config.late,
        weight=weight_of(config, data.prior, octant),
    )
    params = weights.init_params(model, jax.random.key(config.seed), octant)
    count = sum(value.size for value in jax.tree.leaves(params))
    validate = denoising.make_validation(diffusion, data.held_out, settings, TIMES)
    result = denoising.train(
        diffusion,
        params,
        state.make_optimizer(values),
        data.training,
        settings=settings,
        checkpoints=checkpoint.Checkpoints(folder / "checkpoints"),
        hooks=loop.Hooks(validate=validate, on_metrics=note),
    )
    if result.reason != "steps":
        raise SystemExit("stopped; the same command goes on")
    meta = {
        "model": fields | {"dtype": "float32"},
        "octant": octant,
        "schedule": schedule.schedule_to_dict(NOISE),
        "cond": data.conditions.to_dict(),
        "prior": data.prior.to_dict(),
        "training": {"labels": data.training.cond[:, :4].astype(float).tolist()},
    }
    held_out = [last.get(f"validation_t{t:g}", np.nan) for t in TIMES]
    record = {"steps": steps, "parameters": count, "held out": held_out}
    return result.state.ema, meta, record


def weight_of(config, prior: linear.Prior, n: int):
    """Return the weight of the loss at a time, None for 1, as in configs/train.py."""
    if config.loss_weight != "std":
        return None
    return linear.make_weight(linear.make_std(prior, NOISE, n))


def steps_in(seconds: float, *args) -> int:
    """Return how many steps of `train` a core makes in so many seconds."""
    times = []
    for steps in (2, 2, 2 + TIMED):  # the first one compiles
        with tempfile.TemporaryDirectory() as folder:
            begin = time.process_time()
            train(pathlib.Path(folder), *args, steps)
            times.append(time.process_time() - begin)
    return max(1, int(seconds / (times[2] - times[1]) * TIMED))


def sample(
    params, meta, variant: Variant, check, newton: int, goals
) -> dict[str, float]:
    """Return mean and best range error in percent, and the valid share in percent."""
    draw = sampler.make_sampler(
        params,
        meta,
        num_samples=SAMPLES,
        steps=SAMPLING_STEPS,
        newton=newton,
        denoiser=variant.denoiser,
        initial=variant.noise,
    )
    errors = []
    for i, goal in enumerate(goals):
        cells, _ = search(
            jax.random.fold_in(jax.random.key(0), i),
            goal,
            draw=draw,
            check=in_turn(check),
            num_best=SAMPLES,
            budget=Budget(rounds=1),
        )
        errors.append([cell.error for cell in cells])
    found = [each for each in errors if each]
    count = sum(map(len, found))
    return {
        "mean": 100 * sum(map(sum, found)) / max(count, 1),
        "best": 100 * float(np.mean([min(each) for each in found])) if found else 0.0,
        "valid": 100 * count / (SAMPLES * len(errors)),
        "answered": len(found),
    }


def targets(held_out: denoising.Examples) -> list[target.Target]:
    """Return the tensors and volumes of held-out cells, evenly spread, as targets."""
    rows = np.linspace(0, len(held_out.cond) - 1, TARGETS).astype(int)
    values = held_out.cond[rows].astype(float)
    return [target.of_constants(row[:3], float(row[3])) for row in values]


def study(
    folder: pathlib.Path,
    *,
    group: str = GROUPS[0],
    only: str = "",
    steps: int = 0,
    seconds: float = 0.0,
    root: str = "",
    dtype: str = "float32",
) -> list[dict]:
    """Train and measure what is missing in the workdir; return a record per variant.

    Args:
      folder: workdir.
      group: of variants.
      only: names of those to train, with commas between; empty for all of the group.
      steps: of training, for each variant.
      seconds: of a core instead, for each variant.
      root: a dataset; empty for the shipped one.
      dtype: of the factors of products, as `config.model.dtype`.
    """
    rows = []
    config = main.load_config("configs/train.py:cpu").config
    config.model.dtype = dtype
    n = symmetry.side(load(config, root).training.packed.shape[-1])
    check = pipeline.make_check(n, pipeline.Settings(polish_steps=0))
    for name, variant in variants(n, group).items():
        if only and name not in only.split(","):
            continue
        own = folder / name.replace(" ", "_")
        own.mkdir(parents=True, exist_ok=True)
        path = own / "result.json"
        if not path.is_file():
            print(name, flush=True)
            row = _measure(own, variant, check, config, (steps, seconds, root))
            path.write_text(json.dumps({"variant": name, **row}, indent=2))
        rows.append(json.loads(path.read_text()))
        print(table(rows), flush=True)
    return rows


def _measure(folder, variant, check, config, budget):
    steps, seconds, root = budget
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(dict(variant.changes))
    data = load(config, root)
    if seconds:
        plan = folder / "steps.json"  # a run that goes on keeps them
        if not plan.is_file():
            plan.write_text(json.dumps(steps_in(seconds, variant, data, config)))
        steps = json.loads(plan.read_text())
    begin = time.process_time()
    params, meta, row = train(folder, variant, data, config, steps)
    row["seconds"] = time.process_time() - begin
    for newton in NEWTON:
        row[f"newton {newton}"] = sample(
            params, meta, variant, check, newton, targets(data.held_out)
        )
    return row


def table(rows: list[dict]) -> str:
    """Return the records as a Markdown table."""
    header = ["", "parameters", "steps", *(f"error at t = {t:g}" for t in TIMES)]
    for newton in NEWTON:
        header += [f"newton {newton}: mean %", "best of 4 %", "valid %"]
    lines = []
    for row in rows:
        line = [row["variant"], f"{row['parameters'] / 1e6:.1f} M", str(row["steps"])]
        line += [f"{v:.4f}" for v in row["held out"]]
        for newton in NEWTON:
            got = row[f"newton {newton}"]
            line += [f"{got['mean']:.2f}", f"{got['best']:.2f}", f"{got['valid']:.0f}"]
        lines.append(line)
    return markdown(header, lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="workdir, which resumes")
    parser.add_argument("--group", choices=GROUPS, default=GROUPS[0])
    parser.add_argument("--only", default="", help="variants, commas between")
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--seconds", type=float, default=0.0, help="or of a core")
    parser.add_argument("--dtype", default="float32", help="or bfloat16")
    parser.add_argument("--data", dest="root", default="", help="workdir of a dataset")
    return parser.parse_args()


if __name__ == "__main__":
    options = vars(_options())
    study(options.pop("folder"), **options)
