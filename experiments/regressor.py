"""Train the regressor on a stored dataset and write its weights, card and plot.

Resumes from `workdir/checkpoints`. The weights file holds the moving average of the
parameters, the network's fields and the base material. All that the card states was
measured on families of cells that were not trained on.
"""

import json
import pathlib
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmdiff import assets, bounds, elasticity
from mmdiff.data.dataset import load_dataset
from mmdiff.data.select import TEST, TRAIN, VALIDATION
from mmdiff.errors import DataError, InputError
from mmdiff.io.json import markdown
from mmdiff.models import regressor
from mmdiff.models.weights import save_weights
from mmdiff.run.console import note, say, table
from mmdiff.run.workdir import append_metrics
from mmdiff.train import regression
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.figures import predictions
from mmdiff.train.loop import Result
from mmdiff.train.state import make_optimizer

QUANTITIES = ("K / K_HS", *elasticity.NAMES)
SPLITS = {"validation": VALIDATION, "test": TEST}


def run(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Train as configured.

    Raises:
      InputError: if the settings do not fit each other or the dataset.
      DataError: if the dataset or the checkpoint is missing or damaged.
    """
    data = load_dataset(config.data or assets.dataset_path(), skip_bad=config.skip_bad)
    octants, constants, volume, info = data
    for message in info["skipped"]:
        note(f"{message.split('. Rerun')[0]}; going on without them.")
    training = info["split"] == TRAIN
    if not training.any():
        raise DataError(
            "the dataset has no training cells. Generate it again with "
            "configs/dataset.py."
        )
    octant, nu = octants.shape[-1], float(info["base"]["nu"])
    fields = config.model.to_dict()
    model = _model(fields, octant)
    params = regressor.init_regressor(model, jax.random.key(config.seed), octant)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    say(
        f"{training.sum()} training cells of {2 * octant}^3 voxels; network of "
        f"{count / 1e6:.2f} million parameters; {jax.local_device_count()} "
        f"{jax.default_backend()} device(s)"
    )
    roots = regressor.to_roots(constants, volume, nu).astype(np.float32)

    def predicted(params, rows):
        """Return K / K_HS and the constants (b, 4) that the network says."""
        got = regression.predict(
            regressor.make_roots(model), params, octants[rows], config.batch_size
        ).astype(float)
        said = regressor.to_constants(got, volume[rows], nu)
        return np.concatenate([got[:, :1] ** 2, said], 1)

    def true(rows):
        ratio = bounds.hashin_shtrikman_ratios(constants[rows], volume[rows], nu)
        return np.concatenate([ratio["K"][:, None], constants[rows]], 1)

    def evaluate(params) -> dict[str, float]:
        rows = np.flatnonzero(info["split"] == VALIDATION)
        if len(rows) < 2:
            return {}
        scores = score(true(rows), predicted(params, rows))
        return {f"validation {name}": value for name, value in scores.items()}

    result = _train(
        config,
        workdir,
        model,
        params,
        regression.Labelled(octants[training], roots[training]),
        evaluate,
    )
    # What is measured is the file: its float16 rounds the parameters.
    meta = {
        "model": fields,
        "octant": octant,
        "base": info["base"],
        "training": {
            "seed": config.seed,
            "steps": int(result.state.step),
            "planned": config.steps,
            "batch_size": config.batch_size,
            "cells": int(training.sum()),
            "parameters": count,
        },
    }
    path = save_weights(
        workdir / "regressor.npz", result.state.ema, meta, half=config.half
    )
    stored, _ = regressor.load_regressor(path)
    pairs = {}
    for name, split in SPLITS.items():
        rows = np.flatnonzero(info["split"] == split)
        if len(rows) > 1:
            pairs[name] = (true(rows), predicted(stored, rows))
    _report(config, workdir, meta, result, pairs)
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
        _, meta = regressor.load_regressor(folder / "regressor.npz")
    except DataError:
        return False
    return meta["training"]["steps"] >= meta["training"]["planned"]


def score(true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return R^2 of each of QUANTITIES (b, 4) and the mean range error."""
    left = ((predicted - true) ** 2).mean(0) / true.var(0)
    error = elasticity.range_error(predicted[:, 1:], true[:, 1:]).mean()
    r2 = {f"R2 {name}": float(1 - x) for name, x in zip(QUANTITIES, left, strict=True)}
    return r2 | {"range error": float(error)}


def _train(config, workdir, model, params, data, evaluate) -> Result:
    def on_metrics(metrics: dict[str, float]) -> None:
        append_metrics(workdir, metrics)
        text = "  ".join(
            f"{name} {value:.4g}"
            for name, value in metrics.items()
            if name not in ("step", "grad_norm")
        )
        say(f"step {metrics['step']}  {text}")

    def apply(params, x):
        return model.apply({"params": params}, x)

    return regression.train(
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
        checkpoints=Checkpoints(workdir / "checkpoints"),
        seed=config.seed,
        batch_size=config.batch_size,
        steps=config.steps,
        ema_decay=config.ema,
        validate=evaluate,
        log_every=config.log_every,
        checkpoint_every=config.checkpoint_every,
        time_limit_s=config.time_limit_s,
        on_metrics=on_metrics,
    )


def _model(fields: dict[str, Any], octant: int) -> regressor.Regressor:
    levels = len(fields["multipliers"])
    if levels != len(fields["blocks"]):
        raise InputError(
            f"model.multipliers has {levels} levels and model.blocks has "
            f"{len(fields['blocks'])}. Give both one number per level."
        )
    stride = fields["patch"] * 2 ** (levels - 1)
    if octant % stride:
        raise InputError(
            f"octants of {octant}^3 voxels do not divide by patch times 2^(levels - 1) "
            f"= {stride}. Lower model.patch or shorten model.multipliers."
        )
    if fields["dtype"] not in ("float32", "bfloat16"):
        raise InputError(
            f"no compute type {fields['dtype']!r}. Use float32 or bfloat16."
        )
    return regressor.Regressor(**fields)


def _report(config, workdir, meta, result, pairs) -> None:
    """Write the card and the plot, and print the scores."""
    scores = {name: score(*pair) for name, pair in pairs.items()}
    header = ["split", "cells", *(f"R^2 {name}" for name in QUANTITIES), "range error"]
    rows = [
        [
            name,
            str(len(pairs[name][0])),
            *(f"{found[f'R2 {quantity}']:.4f}" for quantity in QUANTITIES),
            f"{100 * found['range error']:.3f} %",
        ]
        for name, found in scores.items()
    ]
    if rows:
        table(rows, header)
    training = meta["training"]
    (workdir / "MODEL_CARD.md").write_text(f"""# Model card

Regressor from cubic-symmetric unit cells of {2 * meta["octant"]}^3 voxels (octants of
{meta["octant"]}^3 in [-1, 1]) to C11, C12, C44 and K / K_HS, the bulk modulus over its
upper Hashin-Shtrikman bound. Of no use for cells unlike those it was trained on.

## Training

- {training["cells"]} training cells, {training["steps"]} steps of
  {training["batch_size"]} samples, seed {training["seed"]}; half of the octants shifted
  by half a period, half softened
- {training["parameters"] / 1e6:.2f} million parameters; the file holds their moving
  average (decay {config.ema}) as {"float16" if config.half else "float32"}
- {result.samples_per_s:.1f} training samples per second on
  {jax.local_device_count()} {jax.default_backend()} device(s)
- base material: `{json.dumps(meta["base"])}`

## Error on held-out families, by finite elements

The range error is that of arXiv 2401.13570, Eq. 3.

{markdown(header, rows)}
## Rebuild

`mmdiff.models.regressor.load_regressor` returns `(params, meta)`, and
`make_regress(params, meta)` the function from octants to constants and K / K_HS. The
SHA-256 of the file stands in `regressor.npz.sha256`.
""")
    for name in ("test", "validation"):
        if name in pairs:
            true, got = pairs[name]
            shown = {
                quantity: (true[:, i], got[:, i], scores[name][f"R2 {quantity}"])
                for i, quantity in enumerate(QUANTITIES)
            }
            predictions(workdir / "r2.png", shown)
            return
