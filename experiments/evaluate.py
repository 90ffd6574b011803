"""Raw accuracy of a model on targets from held-out cells: mean and best of each."""

import pathlib
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from mmdiff import assets, elasticity
from mmdiff.data import select, store
from mmdiff.design import generate, sampler, target
from mmdiff.errors import DataError
from mmdiff.io import console, plots, workdir, writers
from mmdiff.models import weights
from mmdiff.topopt import interface

# Constants and volume: asked / got by the best cell.
HEADER = (
    "",
    "C11",
    "C12",
    "C44",
    "V",
    "mean err %",
    "best err %",
    "best rel %",
    "valid",
)


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Generate cells for every target and report their errors."""
    params, meta = weights.load_weights(config.checkpoint or assets.weights_path())
    targets = choose_targets(config.data or assets.dataset_path(), config)
    draw = sampler.make_sampler(
        params,
        meta,
        num_samples=config.num_samples,
        steps=config.steps,
        weight=config.guidance,
    )
    evaluate = interface.make_evaluate(int(meta["octant"]))
    rows, results, asked, got = [], [], [], []
    for i, goal in enumerate(targets):
        start = time.perf_counter()
        cells, counts = generate.generate(
            jax.random.key(config.seed + i),
            goal,
            draw=draw,
            evaluate=evaluate,
            num_best=config.num_samples,
            polish_steps=config.polish_steps,
            rounds=1,
        )
        record = summarize(goal, cells, counts, time.perf_counter() - start)
        workdir.append_metrics(folder, {"target": i, **record})
        results.append(record)
        rows.append(_row(i, goal, record))
        for cell in cells:
            asked.append([*goal.constants, goal.volume])
            got.append([*cell.constants, cell.volume])
    overall = {
        name: float(np.nanmean([r[name] for r in results]))
        for name in ("mean_error", "best_error", "best_relative_error", "valid")
    }
    percent = [f"{100 * overall[name]:.2f}" for name in overall]
    rows.append(["mean", "", "", "", "", *percent[:3], f"{percent[3][:-3]} %"])
    lines = ["| " + " | ".join(map(str, line)) + " |" for line in [HEADER, *rows]]
    lines.insert(1, "|---" * len(HEADER) + "|")
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    writers.write_json(folder / "metrics.json", {"mean": overall, "targets": results})
    plots.parity(folder / "parity.png", np.array(asked), np.array(got))
    console.table(rows, HEADER)
    steps = config.polish_steps
    polished = f"at most {steps} polishing steps" if steps else "not polished"
    console.say(
        f"{len(targets)} targets x {config.num_samples} samples, range error as in "
        f"arXiv 2401.13570, Eq. 3; binary connected cells; {polished}."
    )


def choose_targets(path, config) -> list[target.Target]:
    """Return tensors of random held-out cells, rounded."""
    _, constants, volume, info = store.read_dataset(path, skip_bad=config.skip_bad)
    held = np.flatnonzero(info["split"] == select.TEST)
    if len(held) < config.num_targets:
        raise DataError(
            f"dataset {path} has {len(held)} held-out cells, {config.num_targets} "
            "targets were asked. Lower --config.num_targets."
        )
    rng = np.random.default_rng(config.seed)
    chosen = rng.choice(held, config.num_targets, replace=False)
    return [
        target.Target(
            tuple(round(float(c), 4) for c in constants[i]), round(float(volume[i]), 2)
        )
        for i in chosen
    ]


def summarize(goal, cells, counts, seconds) -> dict:
    """Return the errors of the cells of one target."""
    errors = [cell.error for cell in cells] or [np.nan]
    return {
        **dict(zip(elasticity.NAMES, goal.constants, strict=True)),
        "volume": goal.volume,
        "best": [*cells[0].constants, cells[0].volume] if cells else [np.nan] * 4,
        "mean_error": float(np.mean(errors)),
        "best_error": float(np.min(errors)),
        "best_relative_error": cells[0].relative_error if cells else np.nan,
        "valid": len(cells) / counts["sampled"],
        "seconds": seconds,
    }


def _row(i, goal, record):
    return [
        f"target {i}",
        *(
            f"{asked:.3f} / {got:.3f}"
            for asked, got in zip(
                [*goal.constants, goal.volume], record["best"], strict=True
            )
        ),
        *(
            f"{100 * record[name]:.2f}"
            for name in ("mean_error", "best_error", "best_relative_error")
        ),
        f"{100 * record['valid']:.0f} %",
    ]
