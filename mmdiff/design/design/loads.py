"""Load cases of a cell: macroscopic strains or stresses with weights."""

import numpy as np

from mmdiff.design.optimize.goal import Goal
from mmdiff.errors import InputError, cut
from mmdiff.topopt import objectives
from mmdiff.typing import Float

KINDS = {"strain": objectives.strain_modulus, "stress": objectives.stress_modulus}
LABELS = {"strain": "modulus under strains", "stress": "modulus under stresses"}
_EXAMPLE = "such as `loads='1,0,0,0,0,0; 0,0,0,1,0,0'`"


def parse_loads(text: str) -> Float[np.ndarray, "k 6"]:
    """Return the load cases of a text: six numbers each, with semicolons between.

    Example:
      >>> parse_loads("1,0,0,0,0,0; 0,0,0,0.5,0,0")[:, [0, 3]]
      array([[1. , 0. ],
             [0. , 0.5]])
    """
    cases = []
    for part in text.strip().strip(";").split(";"):
        try:
            numbers = [float(number) for number in part.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != 6 or not np.isfinite(numbers).all() or not any(numbers):
            raise InputError(
                f"loads: {cut(repr(part.strip()))} is no load case of six finite "
                "numbers, some of them other than 0. Give each as its Voigt components "
                f"11,22,33,23,13,12, {_EXAMPLE}."
            )
        cases.append(numbers)
    return np.array(cases)


def goal_of(text: str, kind: str, weights: str = "") -> Goal:
    """Return the goal to be stiff under load cases.

    Args:
      text: see `parse_loads`.
      kind: "strain" or "stress".
      weights: a positive number for each load, with commas; empty for equal ones.

    Raises:
      InputError: an unknown kind, or numbers that do not go together.
    """
    if kind not in KINDS:
        raise InputError(f"load_kind={kind} is unknown. Use {', '.join(KINDS)}.")
    cases = parse_loads(text)
    try:
        shares = (
            [float(w) for w in weights.split(",")] if weights else [1.0] * len(cases)
        )
    except ValueError:
        shares = []
    if len(shares) != len(cases) or not np.isfinite(shares).all() or min(shares) <= 0:
        raise InputError(
            f"load_weights={cut(weights)} are not {len(cases)} positive numbers. Give "
            "one for each load, or none."
        )
    numbers = cases.astype(np.float32), np.array(shares, np.float32)
    return Goal("loads", KINDS[kind], numbers, label=LABELS[kind])


def energies(
    tensor: Float[np.ndarray, "6 6"], text: str, kind: str
) -> Float[np.ndarray, "k"]:
    """Return the strain energy density of each load case, half of load times answer.

    Example:
      >>> energies(np.diag([2.0, 1, 1, 1, 1, 1]), "1,0,0,0,0,0", "stress")
      array([0.25])
    """
    cases = parse_loads(text)
    matrix = tensor if kind == "strain" else np.linalg.inv(tensor)
    return np.einsum("ki,ij,kj->k", cases, matrix, cases) / 2
