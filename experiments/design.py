"""Design a cell for an objective or load cases of a user, as files for print."""

import functools
import pathlib

from ml_collections import ConfigDict

from mmdiff.design.design import problem
from mmdiff.design.optimize import pipeline, starts
from mmdiff.design.optimize.problem import Constraints
from mmdiff.errors import InputError


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Design cells as the config asks and write them to `folder`."""
    if "generated" in starts.kinds(config.start):
        raise InputError(
            f"start={config.start}: the model draws cells for a target tensor, and a "
            "design has none. Take dataset, random, plates or files for `start`."
        )
    wish = problem.Wish(
        objective=config.objective,
        constraints=config.constraints,
        loads=config.loads,
        load_kind=config.load_kind,
        load_weights=config.load_weights,
    )
    method = pipeline.method_of(config.to_dict())
    ask = pipeline.make_ask(
        problem.request,
        wish,
        Constraints(config.vf, config.vf_is, config.isotropy, config.min_E),
        base=config.base.E,
        nu=config.base.nu,
        symmetry=config.symmetry,
        allow_infeasible=config.allow_infeasible,
    )
    remark = functools.partial(problem.remarks, wish)
    pipeline.optimize(config.to_dict(), ask, method, folder, remark=remark)
