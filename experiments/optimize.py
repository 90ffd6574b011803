"""Optimize a cell: starts, design loop, moved surface, check, files."""

import pathlib

from ml_collections import ConfigDict

from mmdiff.design.optimize import pipeline, problem
from mmdiff.design.optimize.problem import Constraints


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Optimize cells as the config asks and write them to `folder`."""
    method = pipeline.method_of(config.to_dict())
    ask = pipeline.make_ask(
        problem.request,
        config.objective,
        Constraints(config.vf, config.vf_is, config.isotropy, config.min_E),
        target=config.target,
        weights=config.weights,
        base=config.base.E,
        nu=config.base.nu,
        symmetry=config.symmetry,
        allow_infeasible=config.allow_infeasible,
    )
    pipeline.optimize(config.to_dict(), ask, method, folder)
