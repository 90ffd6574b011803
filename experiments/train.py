"""Train the denoiser on a stored dataset and write its weights, card and curves.

Resumes from `workdir/checkpoints`. The weights file holds the moving average of the
parameters with everything that sampling needs: the network's fields, the noise
schedule, the ranges of the conditions and the base material.
"""

import contextlib
import json
import pathlib
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmdiff.data.dataset import load_dataset
from mmdiff.data.select import TRAIN, VALIDATION, balanced_rows, coverage_radius
from mmdiff.data.space import bin_index
from mmdiff.diffusion.conditions import fit_conditions
from mmdiff.diffusion.schedule import (
    CosineSchedule,
    ExponentialSchedule,
    schedule_to_dict,
)
from mmdiff.errors import DataError, InputError
from mmdiff.models.denoiser import make_denoiser
from mmdiff.models.unet import UNet
from mmdiff.models.weights import init_params, load_weights, save_weights
from mmdiff.run import tensorboard
from mmdiff.run.console import note, say
from mmdiff.run.workdir import append_metrics, read_metrics
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.denoising import Examples, train
from mmdiff.train.loop import Result
from mmdiff.train.snapshots import make_snapshots
from mmdiff.train.state import make_optimizer

# Of several processes the first one writes, see mmdiff.run.distributed.
DISTRIBUTED = True
NAMES = ("C11", "C12", "C44", "V")
SHOWN = 4  # held-out cells that samples are drawn for while training
SCHEDULES = {"exponential": ExponentialSchedule, "cosine": CosineSchedule}


def run(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Train as configured.

    Raises:
      InputError: if the settings do not fit each other or the dataset.
      DataError: if the dataset or the checkpoint is missing or damaged.
    """
    if config.schedule not in SCHEDULES:
        raise InputError(
            f"no noise schedule {config.schedule!r}. Use {' or '.join(SCHEDULES)}."
        )
    if config.tensorboard:
        tensorboard.require()  # now, not after the dataset has been read
    schedule = SCHEDULES[config.schedule]()
    data, validation, info = _load(config)
    octant = data.octant.shape[-1]
    conditions = fit_conditions(NAMES, data.cond, config.power)
    fields = {**config.model.to_dict(), "conditions": len(NAMES)}
    model = _model(fields, octant)
    params = init_params(model, jax.random.key(config.seed), octant)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    say(
        f"{len(data.octant)} training and "
        f"{0 if validation is None else len(validation.octant)} validation cells of "
        f"{2 * octant}^3 voxels; network of {count / 1e6:.2f} million parameters; "
        f"{jax.device_count()} {jax.default_backend()} device(s)"
    )
    result = _train(
        config,
        workdir,
        model,
        params,
        (data, validation),
        conditions=conditions,
        schedule=schedule,
    )
    if jax.process_index():
        return
    meta = {
        "model": fields,
        "octant": octant,
        "schedule": schedule_to_dict(schedule),
        "cond": conditions.to_dict(),
        "base": info["base"],
        "training": {
            "seed": config.seed,
            "steps": int(result.state.step),
            "planned": config.steps,
            "batch_size": config.batch_size,
            "cells": len(data.octant),
            "parameters": count,
            "validation": _last(workdir, "validation"),
            # What says how far a target is from what the model has seen.
            "labels": data.cond.astype(float).round(5).tolist(),
            "coverage": coverage_radius(data.cond.astype(float)),
        },
    }
    path = save_weights(workdir / "ema.npz", result.state.ema, meta, half=config.half)
    rows = read_metrics(workdir)
    (workdir / "MODEL_CARD.md").write_text(_card(config, meta, result, rows))
    _plot(workdir / "loss.png", rows)
    ended = {"steps": "all steps done", "time": "time limit", "signal": "stopped"}
    say(
        f"{ended[result.reason]}: step {int(result.state.step)} of {config.steps}, "
        f"{result.samples_per_s:.1f} samples/s; wrote {path}"
    )
    if result.reason != "steps":
        note("run the same command again to go on from this step")


def intact(folder: pathlib.Path) -> bool:
    """Whether a run is whole and at its last step; a rerun goes on if not."""
    try:
        _, meta = load_weights(folder / "ema.npz")
    except DataError:
        return False
    return meta["training"]["steps"] >= meta["training"]["planned"]


def _train(config, workdir, model, params, examples, *, conditions, schedule) -> Result:
    data, validation = examples
    apply = make_denoiser(model, schedule)
    writes = jax.process_index() == 0
    snapshot = None
    if config.sample_every and writes:
        shown = data if validation is None else validation
        rows = np.linspace(0, len(shown.octant) - 1, SHOWN).astype(int)
        snapshot = make_snapshots(
            apply,
            workdir,
            shown.octant[rows],
            shown.cond[rows],
            conditions=conditions,
            schedule=schedule,
            seed=config.seed,
        )
    curves = contextlib.nullcontext(lambda metrics: None)
    if config.tensorboard and writes:
        curves = tensorboard.scalars(workdir / "tb")

    def on_metrics(metrics: dict[str, float]) -> None:
        append_metrics(workdir, metrics)
        write_curves(metrics)
        text = "  ".join(
            f"{name} {value:.4g}"
            for name, value in metrics.items()
            if name in ("loss", "validation", "samples_per_s", "seconds")
        )
        say(f"step {metrics['step']}  {text}")

    with curves as write_curves:
        return train(
            apply,
            params,
            make_optimizer(
                learning_rate=config.learning_rate,
                warmup=config.warmup,
                steps=config.steps,
                clip=config.clip,
                weight_decay=config.weight_decay,
                final=config.final_learning_rate / config.learning_rate,
            ),
            data,
            conditions=conditions,
            schedule=schedule,
            checkpoints=Checkpoints(workdir / "checkpoints"),
            seed=config.seed,
            batch_size=config.batch_size,
            steps=config.steps,
            ema_decay=config.ema,
            drop_rate=config.drop_rate,
            validation=validation,
            log_every=config.log_every,
            checkpoint_every=config.checkpoint_every,
            sample_every=config.sample_every,
            steps_per_dispatch=config.steps_per_dispatch,
            time_limit_s=config.time_limit_s,
            on_metrics=on_metrics,
            on_sample=snapshot or (lambda step, ema: None),
        )


def _load(config) -> tuple[Examples, Examples | None, dict[str, Any]]:
    """Return training examples, validation examples (None if few) and the info."""
    path = config.data
    if not path:
        from mmdiff import assets

        path = str(assets.dataset_path())
    octant, constants, volume, info = load_dataset(path, skip_bad=config.skip_bad)
    for message in info["skipped"]:
        note(f"{message.split('. Rerun')[0]}; going on without them.")
    training = info["split"] == TRAIN
    if config.selected:
        training &= info["selected"]
    if not training.any():
        raise DataError(
            f"dataset {path} has no training cells. Generate it again with "
            "configs/dataset.py."
        )
    cond = np.concatenate([constants, volume[:, None]], 1).astype(np.float32)
    index = bin_index(constants[training], volume[training])
    rows = balanced_rows(index, config.balance)
    held_out = info["split"] == VALIDATION
    return (
        Examples(octant[training], cond[training], rows),
        Examples(octant[held_out], cond[held_out]) if held_out.any() else None,
        info,
    )


def _model(fields: dict[str, Any], octant: int) -> UNet:
    stride = fields["patch"] * 2 ** (len(fields["multipliers"]) - 1)
    if octant % stride:
        raise InputError(
            f"octants of {octant}^3 voxels do not divide by patch times 2^(levels - 1) "
            f"= {stride}. Lower model.patch or shorten model.multipliers."
        )
    if fields["dtype"] not in ("float32", "bfloat16"):
        raise InputError(
            f"no compute type {fields['dtype']!r}. Use float32 or bfloat16."
        )
    return UNet(**fields)


def _last(workdir: pathlib.Path, name: str) -> float | None:
    values = [row[name] for row in read_metrics(workdir) if name in row]
    return values[-1] if values else None


def _card(config, meta, result, rows) -> str:
    """Return the model card; every number in it was measured in this workdir."""
    last = next((row for row in reversed(rows) if "validation" in row), {})
    errors = "".join(
        f"| {name.removeprefix('validation_t')} | {value:.4g} |\n"
        for name, value in last.items()
        if name.startswith("validation_t")
    )
    cond = meta["cond"]
    ranges = "".join(
        f"| {name} | {low:.6g} | {high:.6g} |\n"
        for name, low, high in zip(
            cond["names"], cond["low"], cond["high"], strict=True
        )
    )
    training = meta["training"]
    table = f"| t | mean squared error |\n|---|---|\n{errors}\n" if errors else ""
    return f"""# Model card

Denoiser for cubic-symmetric unit cells of {2 * meta["octant"]}^3 voxels (octants of
{meta["octant"]}^3), conditioned on any subset of {", ".join(cond["names"])}.

## Training

- {training["cells"]} training cells, {training["steps"]} steps of
  {training["batch_size"]} samples, seed {training["seed"]}
- {training["parameters"] / 1e6:.2f} million parameters; the file holds their moving
  average (decay {config.ema}) as {"float16" if config.half else "float32"}
- {result.samples_per_s:.1f} training samples per second on
  {jax.device_count()} {jax.default_backend()} device(s)
- base material and interpolation: `{json.dumps(meta["base"])}`

## Error of the x0 estimate on held-out cells

Voxels in [-1, 1], self-conditioned, averaged parameters; 1 is a guess of 0 everywhere.

{table}## Range of the conditions

Targets beyond these ranges are extrapolation.

| condition | low | high |
|---|---|---|
{ranges}
## Rebuild

`mmdiff.models.weights.load_weights` returns `(params, meta)`; the network is
`UNet(**meta["model"])`. The SHA-256 of the file stands in `ema.npz.sha256`.
"""


def _plot(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    """Draw the loss against the step; nothing where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    for name in ("loss", "validation"):
        points = [(r["step"], r[name]) for r in rows if r.get(name) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), label=name)
    axes.set(xlabel="step", ylabel="mean squared error of x0", yscale="log")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
