"""What self-conditioning and the kind of noise do, at one budget of training.

    python docs/ablation_study.py WORKDIR [steps, 300]

Trains the network of configs/train.py:cpu three times on the shipped cells, with the
same seed and batches, and prints for each the error of the x0 estimate on held-out
cells and, by finite elements on two grids, the range error (arXiv 2401.13570, Eq. 3) of
the surfaces of samples for the first shipped targets, as the network draws them and
with Newton steps. Goes on where it was stopped.
"""

import functools
import json
import pathlib
import sys
import time
from typing import NamedTuple

from mmdiff.run import environment

environment.silence_xla()  # before JAX is imported

import jax
import numpy as np

from mmdiff import assets, main
from mmdiff.cells import symmetry
from mmdiff.data import dataset, select
from mmdiff.design.generate import pipeline, sampler
from mmdiff.design.generate.search import Budget, search
from mmdiff.diffusion import conditions, linear, process, schedule
from mmdiff.io.json import markdown
from mmdiff.models import denoiser, network, weights
from mmdiff.targets import target
from mmdiff.train import checkpoint, denoising, loop, state

TARGETS, SAMPLES, SAMPLING_STEPS, NEWTON = 12, 4, 16, (0, 2)
HELD_OUT = 128  # validation cells
TIMES = (0.03, 0.1, 0.3, 0.5, 0.7)
NOISE = schedule.ExponentialSchedule()


class Variant(NamedTuple):
    """How a network is trained and sampled.

    `denoiser(model, schedule, prior)` and the noise.
    """

    denoiser: object
    noise: object


def _plain(*args):
    """Return the denoiser without self-conditioning."""
    apply = denoiser.make_denoiser(*args)

    def forgetful(params, *args):
        bound = process.without_previous(functools.partial(apply, params))
        return bound(*args)

    return forgetful


def variants(n: int) -> dict[str, Variant]:
    """Return the three ways by name, for octants of side n."""

    def of_averaged(model, noise_schedule, prior):
        # The ratio of field and noise is that of the noise it really has: its variance
        # in a coefficient is one over the multiplicity.
        most = n**3 / symmetry.num_independent(n)
        spectrum = tuple(most * value for value in prior.spectrum)
        prior = linear.Prior(prior.mean, spectrum)
        return denoiser.make_denoiser(model, noise_schedule, prior)

    return {
        "default": Variant(denoiser.make_denoiser, process.symmetric_noise),
        "no self-conditioning": Variant(_plain, process.symmetric_noise),
        "averaged noise": Variant(of_averaged, process.averaged_noise),
    }


class Data(NamedTuple):
    """Training and held-out examples, scaling of their conditions, prior of fields."""

    training: denoising.Examples
    held_out: denoising.Examples
    conditions: conditions.Conditions
    prior: linear.Prior


def load(config, root="") -> Data:
    """Return the shipped dataset as configs/train.py would train on it."""
    data = dataset.load_dataset(root)
    chosen = dataset.training_cells(data)
    training = denoising.examples(data, chosen, config.balance)
    validation = data.info["split"] == select.VALIDATION
    held = validation & (np.cumsum(validation) <= HELD_OUT)
    scaling = conditions.fit_conditions(conditions.NAMES, training.cond, config.power)
    prior = linear.fit_prior(training.packed)
    return Data(training, denoising.examples(data, held), scaling, prior)


def train(folder, variant: Variant, data: Data, config, steps: int):
    """Return averaged parameters, header and held-out errors at `TIMES`."""
    octant = symmetry.side(data.training.packed.shape[-1])
    fields = network.fields_of(config.model.to_dict())
    fields |= {"conditions": len(conditions.NAMES), "linear": True}
    model = network.make_network(**fields)
    last = {}

    def note(metrics):
        if "loss" in metrics:
            print(f"  {metrics['step']} {metrics['loss']:.4f}", flush=True)
        last.update(metrics)

    values = {**config.to_dict(), "steps": steps, "warmup": steps // 10}
    values |= {"log_every": 50, "checkpoint_every": max(steps // 2, 1)}
    settings = loop.Settings.from_values(values)
    diffusion = denoising.Diffusion(
        variant.denoiser(model, NOISE, data.prior),
        data.conditions,
        NOISE,
        noise=variant.noise,
        drop_rate=config.drop_rate,
    )
    validate = denoising.make_validation(diffusion, data.held_out, settings, TIMES)
    result = denoising.train(
        diffusion,
        weights.init_params(model, jax.random.key(config.seed), octant),
        state.make_optimizer(values),
        data.training,
        settings=settings,
        checkpoints=checkpoint.Checkpoints(folder / "checkpoints"),
        hooks=loop.Hooks(validate=validate, on_metrics=note),
    )
    if result.reason != "steps":
        raise SystemExit("stopped; the same command goes on")
    meta = {
        "model": fields,
        "octant": octant,
        "schedule": schedule.schedule_to_dict(NOISE),
        "cond": data.conditions.to_dict(),
        "prior": data.prior.to_dict(),
        "training": {"labels": data.training.cond[:, :4].astype(float).tolist()},
    }
    return result.state.ema, meta, [last[f"validation_t{t:g}"] for t in TIMES]


def sample(params, meta, variant: Variant, check, newton: int) -> dict[str, float]:
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
    for i, goal in enumerate(targets()):
        cells, _ = search(
            jax.random.fold_in(jax.random.key(0), i),
            goal,
            draw=draw,
            check=check,
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


def targets() -> list[target.Target]:
    """Return the first targets of the shipped list."""
    path = assets.dataset_path() / "targets.csv"
    table = np.genfromtxt(path, delimiter=",", skip_header=1, max_rows=TARGETS)
    rows = np.atleast_2d(table)
    return [target.of_constants(row[:3], float(row[3])) for row in rows]


def study(folder: pathlib.Path, steps: int = 300, root="") -> list[dict]:
    """Train and measure what is missing in the workdir; return a record per variant.

    Args:
      folder: workdir.
      steps: of training, for each variant.
      root: a dataset; empty for the shipped one.
    """
    _, config, _ = main.load_config("configs/train.py:cpu")
    data = load(config, root)
    n = symmetry.side(data.training.packed.shape[-1])
    check = pipeline.make_check(n, pipeline.Settings(polish_steps=0))
    rows = []
    for name, variant in variants(n).items():
        own = folder / name.replace(" ", "_")
        own.mkdir(parents=True, exist_ok=True)
        path = own / "result.json"
        if not path.is_file():
            print(name, flush=True)
            begin = time.perf_counter()
            params, meta, held_out = train(own, variant, data, config, steps)
            row = {"variant": name, "steps": steps, "held out": held_out}
            row["seconds"] = time.perf_counter() - begin
            for newton in NEWTON:
                found = sample(params, meta, variant, check, newton)
                row[f"newton {newton}"] = found
            path.write_text(json.dumps(row, indent=2))
        rows.append(json.loads(path.read_text()))
        print(table(rows), flush=True)
    return rows


def table(rows: list[dict]) -> str:
    """Return the records as a Markdown table."""
    header = ["", *(f"error at t = {t:g}" for t in TIMES)]
    for newton in NEWTON:
        header += [f"newton {newton}: mean %", "best of 4 %", "valid %"]
    lines = []
    for row in rows:
        line = [row["variant"], *(f"{v:.4f}" for v in row["held out"])]
        for newton in NEWTON:
            got = row[f"newton {newton}"]
            line += [f"{got['mean']:.2f}", f"{got['best']:.2f}", f"{got['valid']:.0f}"]
        lines.append(line)
    return markdown(header, lines)


if __name__ == "__main__":
    study(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:]))
