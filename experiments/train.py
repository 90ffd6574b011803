"""Train the denoiser on a stored dataset and write its weights, card and curves.

Resumes from `workdir/checkpoints`. The weights file holds the averaged parameters with
all that sampling needs: network, noise, linear estimate, ranges, base material.
"""

import pathlib

import jax
from ml_collections import ConfigDict

from mmdiff.data.dataset import training_cells
from mmdiff.data.select import VALIDATION, coverage_radius
from mmdiff.diffusion import linear
from mmdiff.diffusion.conditions import NAMES
from mmdiff.diffusion.schedule import schedule_from_dict, schedule_to_dict
from mmdiff.errors import InputError
from mmdiff.io import report, write
from mmdiff.models.denoiser import make_denoiser
from mmdiff.models.network import fields_of, make_network
from mmdiff.models.weights import save_weights
from mmdiff.run import tensorboard
from mmdiff.run.console import note
from mmdiff.run.workdir import read_metrics
from mmdiff.train import cards, denoising, figures, parallel, record
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.loop import Hooks, Settings
from mmdiff.train.snapshots import make_snapshots
from mmdiff.train.state import make_optimizer

# Of several processes the first one writes, see mmdiff.run.distributed.
DISTRIBUTED = True
WEIGHTS = ("none", "std")


def run(config: ConfigDict, workdir: pathlib.Path) -> str:
    """Train as configured; return why it is not finished, empty if it is.

    Raises:
      InputError: if the settings do not fit each other or the dataset.
      DataError: if the dataset or the checkpoint is missing or damaged.
    """
    schedule = schedule_from_dict({"kind": config.schedule})
    if config.loss_weight not in WEIGHTS:
        raise InputError(
            f"loss_weight={config.loss_weight!r} is unknown. "
            f"Use {' or '.join(WEIGHTS)}."
        )
    if config.tensorboard:
        tensorboard.require()  # now, not after the dataset has been read
    parallel.check_shares(config.batch_size, jax.device_count())
    data = record.read_dataset(config.data, skip_bad=config.skip_bad)
    chosen = training_cells(data, selected=config.selected)
    training = denoising.examples(data, chosen, config.balance)
    held_out = data.info["split"] == VALIDATION
    validation = denoising.examples(data, held_out) if held_out.any() else None
    fields = fields_of(config.model.to_dict())
    fields |= {"conditions": len(NAMES), "linear": config.linear}
    params, conditions, prior = denoising.begin(config, fields, data.n, training)
    cells = f"{chosen.sum()} training and {held_out.sum()} validation cells"
    record.say_start(cells, data.n, params)
    std = linear.make_std(prior, schedule, data.n)
    own = prior if config.linear else None
    diffusion = denoising.Diffusion(
        make_denoiser(make_network(**fields), schedule, own),
        conditions,
        schedule,
        drop_rate=config.drop_rate,
        late=config.late,
        weight=linear.make_weight(std) if config.loss_weight == "std" else None,
    )
    settings = Settings.from_values(config.to_dict())
    result = train(config, workdir, settings, diffusion, params, training, validation)
    if jax.process_index():
        return record.unfinished(settings, result)
    rows, labels = read_metrics(workdir), training.cond[:, :4].astype(float)
    meta = {
        "model": fields | {"dtype": "float32"},  # short runs need no other
        "octant": data.n,
        "schedule": schedule_to_dict(schedule),
        "prior": own and own.to_dict(),
        "cond": conditions.to_dict(),
        "base": data.info["base"],
        "training": {
            **record.summary(settings, result, int(chosen.sum())),
            "validation": record.last(rows, "validation").get("validation"),
            # C11, C12, C44 and V, for the distance of a target to the training cells.
            "labels": labels.round(5).tolist(),
            "coverage": coverage_radius(labels),
        },
    }
    path = save_weights(workdir / "ema.npz", result.state.ema, meta, half=config.half)
    card = cards.denoiser_card(meta, result, rows, ema=config.ema, half=config.half)
    write.write_bytes(workdir / "MODEL_CARD.md", card.encode())
    if not figures.loss_curve(workdir / "loss.png", rows):
        note(report.NO_PLOTS)
    return record.say_end(path, settings, result)


def train(config, workdir, settings, diffusion, params, training, validation):
    """Return the result of the training; metrics and samples are written on the way."""
    writes = jax.process_index() == 0
    hooks = {"validate": denoising.make_validation(diffusion, validation, settings)}
    hooks["validated"] = record.validated(workdir)
    if settings.sample_every and writes:
        shown = training if validation is None else validation
        hooks["on_sample"] = make_snapshots(diffusion, workdir, shown, seed=config.seed)
    options = {"steps": config.steps, "curves": config.tensorboard and writes}
    with record.metrics(workdir, **options) as on_metrics:
        return denoising.train(
            diffusion,
            params,
            make_optimizer(config.to_dict()),
            training,
            settings=settings,
            checkpoints=Checkpoints(workdir / "checkpoints"),
            hooks=Hooks(on_metrics=on_metrics, **hooks),
        )
