"""Cells for a target tensor: sample, check by finite elements, rank, write."""

import pathlib

import jax
import numpy as np
from ml_collections import ConfigDict

from mmdiff import assets, elasticity
from mmdiff.design import (
    deliver,
    feasible,
    generate,
    properties,
    sampler,
    target,
)
from mmdiff.errors import InputError
from mmdiff.fem import homogenize
from mmdiff.io import console
from mmdiff.models import weights
from mmdiff.topopt import interface


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Generate cells for the target of the config and write them to `folder`."""
    for key, least in (
        ("num_samples", 1),
        ("num_best", 1),
        ("steps", 2),
        ("newton", 0),
    ):
        if config[key] < least:
            raise InputError(
                f"{key}={config[key]} is too small. Set --config.{key} to {least} or "
                "more."
            )
    if config.cell_size_mm <= 0:
        raise InputError(
            f"cell_size_mm={config.cell_size_mm:g} is not a length. Set the edge of "
            "the printed cell with --config.cell_size_mm=10."
        )
    volume = config.vf or None
    asked = target.parse(
        config.target,
        volume=volume,
        base=config.base.E,
        project_cubic=config.project_cubic,
    )
    feasible.check(asked, allow_infeasible=config.allow_infeasible)
    params, meta = weights.load_weights(config.checkpoint or assets.weights_path())
    n = int(meta["octant"])
    distance = feasible.training_distance(asked, np.array(meta["training"]["labels"]))
    if distance > meta["training"]["coverage"]:
        console.note(
            "target is outside the region this checkpoint was trained on (nearest "
            f"training cell differs by {100 * distance:.1f} %). Expect larger errors; "
            "distance is recorded in properties.json."
        )
    cells, counts = generate.generate(
        jax.random.key(config.seed),
        asked,
        draw=sampler.make_sampler(
            params,
            meta,
            num_samples=config.num_samples,
            steps=config.steps,
            weight=config.guidance,
            newton=config.newton,
        ),
        evaluate=interface.make_evaluate(n, **config.solver.to_dict()),
        num_best=config.num_best,
        polish_steps=config.polish_steps,
    )
    if not cells:
        raise InputError(
            f"none of {counts['sampled']} samples was a connected, load-bearing cell "
            f"({counts}). Ask for more samples with --config.num_samples, or for a "
            "target nearer to the trained region."
        )
    settings = {
        "void": config.solver.void,
        "penal": homogenize.PENAL,
        "tol": config.solver.tol,
        "base_E": config.base.E,
        "base_nu": elasticity.NU,
        "cell_size_mm": config.cell_size_mm,
        "training_distance": distance,
        "counts": counts,
    }
    report = properties.report(asked, cells, settings)
    deliver.write(folder, asked, cells, report)
    console.table(
        properties.table(asked, cells, config.base.E), properties.header(asked)
    )
    refused = {reason: k for reason, k in counts.items() if reason != "sampled"}
    if refused:
        said = ", ".join(f"{k} {reason}" for reason, k in refused.items())
        console.say(f"refused of {counts['sampled']} samples: {said}")
    if len(cells) < config.num_best:
        console.note(f"{len(cells)} of {config.num_best} cells wanted were good.")
    console.say(f"best: cell 0, {100 * cells[0].error:.2f} % from the target.")
