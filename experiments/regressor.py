"""Train the regressor on a stored dataset and write its weights, card and plot.

Resumes from `workdir/checkpoints`. The weights file holds the moving average of the
parameters, the network's fields and the base material. All that the card states was
measured on families of cells that were not trained on.
"""

import pathlib

import jax
from ml_collections import ConfigDict

from mmdiff.data.dataset import training_cells
from mmdiff.data.select import TEST, VALIDATION
from mmdiff.io.report import NO_PLOTS
from mmdiff.io.write import write_bytes
from mmdiff.models import regressor
from mmdiff.models.weights import save_weights
from mmdiff.run.console import note, table
from mmdiff.train import cards, figures, parallel, record, regression
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.loop import Hooks, Settings
from mmdiff.train.state import make_optimizer

SPLITS = {"validation": VALIDATION, "test": TEST}


def run(config: ConfigDict, workdir: pathlib.Path) -> str:
    """Train as configured; return why it is not finished, empty if it is.

    Raises:
      InputError: if the settings do not fit each other or the dataset.
      DataError: if the dataset or the checkpoint is missing or damaged.
    """
    parallel.check_shares(config.batch_size, jax.device_count())
    data = record.read_dataset(config.data, skip_bad=config.skip_bad)
    chosen = training_cells(data)
    fields = config.model.to_dict()
    model = regressor.Regressor(**fields)
    params = regressor.init_regressor(model, jax.random.key(config.seed), data.n)
    record.say_start(f"{chosen.sum()} training cells", data.n, params)
    compare = regression.make_comparison(model, data, config.batch_size)

    def validate(params) -> dict[str, float]:
        comparison = compare(params, VALIDATION)
        scores = comparison.scores() if comparison else {}
        return {f"validation {name}": value for name, value in scores.items()}

    settings = Settings.from_values(config.to_dict())
    with record.metrics(workdir, steps=config.steps) as on_metrics:
        result = regression.train(
            lambda params, x: model.apply({"params": params}, x),
            params,
            make_optimizer(config.to_dict()),
            regression.labelled(data, chosen),
            settings=settings,
            checkpoints=Checkpoints(workdir / "checkpoints"),
            hooks=Hooks(validate, record.validated(workdir), on_metrics),
        )
    meta = {
        "model": fields,
        "octant": data.n,
        "base": data.info["base"],
        "training": record.summary(settings, result, int(chosen.sum())),
    }
    path = workdir / "regressor.npz"
    save_weights(path, result.state.ema, meta, half=config.half)
    # What is measured is the file: its float16 rounds the parameters.
    stored, _ = regressor.load_regressor(path)
    found = {name: compare(stored, split) for name, split in SPLITS.items()}
    found = {name: comparison for name, comparison in found.items() if comparison}
    card = cards.regressor_card(meta, result, found, ema=config.ema, half=config.half)
    write_bytes(workdir / "MODEL_CARD.md", card.encode())
    if found:
        header, rows = cards.score_table(found)
        table(rows, header)
        shown = found.get("test", found.get("validation"))
        if not figures.predictions(workdir / "r2.png", shown):
            note(NO_PLOTS)
    return record.say_end(path, settings, result)
