"""Properties of optimized cells: numbers, remarks and the table on the terminal.

Every number is that of the surface that is printed, from finite elements on two grids.
K, G, E, nu and the Zener ratio of an orthotropic cell are those of its closest cubic
tensor.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff import bounds, elasticity
from mmdiff.cells import surface
from mmdiff.cells.mend import Printing
from mmdiff.cells.printable import printability
from mmdiff.design.generate import properties as generated
from mmdiff.design.optimize import ranking
from mmdiff.design.optimize.goal import Goal
from mmdiff.design.optimize.ranking import Entry
from mmdiff.design.optimize.starts import Lattices
from mmdiff.fem import accuracy
from mmdiff.io import report
from mmdiff.topopt.ascent import SLACK
from mmdiff.typing import Float

CONVENTIONS = {
    **report.CONVENTIONS,
    **{
        key: generated.CONVENTIONS[key]
        for key in ("C", "printability", "cell", "psi", "error")
    },
    "finite_elements": "trilinear hexahedra of modulus void + f (1 - void), f the "
    "solid share of the element, one for each sample of the field and on a grid twice "
    "as fine; 2x2x2 Gauss points",
    "on_finer_grids": "the same numbers of the best cell from grids of 128^3 and 256^3 "
    "elements",
    "C_voxels": "tensor of the binary cell as written, one element per voxel",
    "bounds": "K_HS, G_HS, E_HS: upper Hashin-Shtrikman bounds at the cell's volume; "
    "those of G and E hold for isotropic cells, others may exceed them",
    "cubic_distance": "relative distance of the tensor from its closest cubic one, "
    "whose moduli are given; 0 for cubic cells",
    "value": "objective, maximized; moduli in units of base E, all else for base E = "
    "1; of a target the negative error, and in the history of the design loop the "
    "negative root mean square of (C - target) / R",
}
_COLUMNS = {
    "V": ("volume", ".4f"),
    **{name: (name, ".4f") for name in ("K/K_HS", "G/G_HS", "E/E_HS", "nu", "Zener")},
    "E/E_solid": ("E/E_solid", ".4g"),
    "+- %": ("uncertainty_percent", ".2f"),
    "wall mm": ("wall_mm", ".3g"),
    "gap mm": ("gap_mm", ".3g"),
    "trapped %": ("trapped_percent", ".1f"),
}
HEADER = ["", *_COLUMNS]


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
    """All runs; the cells that are written, best first, and plates, by `numbers`.

    The settings are those of solver and options, with "base_E", "base_nu", "void",
    "tol", "symmetry", "resolution", "cell_size_mm" and "recheck".
    """

    entries: Sequence[Entry]
    chosen: Sequence[Entry]
    numbers: Sequence[Mapping[str, Any]]
    plates: Mapping[str, Mapping[str, Any]]
    goal: Goal
    settings: Mapping[str, Any]


def collect(
    entries: Sequence[Entry],
    num_best: int,
    lattices: Lattices,
    goal: Goal,
    settings: Mapping[str, Any],
) -> Results:
    """Return the results: the `num_best` cells, and plates."""
    chosen = ranking.named(ranking.ranked(entries), num_best)
    size = {"nu": settings["base_nu"], "size_mm": settings["cell_size_mm"]}
    outcomes = [entry.outcome for entry in chosen]
    found = [numbers(o.psi, o.constants, o.uncertainty, **size) for o in outcomes]
    for outcome, known in zip(outcomes, found, strict=True):
        known["C_voxels"] = of_voxels(outcome.psi, settings).tolist()
    if settings["recheck"] and (finer := checked(outcomes[0].psi, settings)):
        found[0]["on_finer_grids"] = finer
    plates = {name: numbers(*known[:3], **size) for name, known in lattices.items()}
    return Results(entries, chosen, found, plates, goal, settings)


def checked(
    psi: Float[np.ndarray, "n n n"], settings: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the numbers of a cell from grids of 128^3 and 256^3 elements.

    None where these do not converge, or are no finer than those of its own tensor.
    """
    if psi.shape[-1] > accuracy.FINER:
        return None
    found = accuracy.check(psi, **_solver(settings))
    if not found.converged:
        return None
    size = {"nu": settings["base_nu"], "size_mm": settings["cell_size_mm"]}
    return numbers(psi, found.constants, found.uncertainty, **size)


def _solver(settings):
    options = {"nu": settings["base_nu"], "void": settings["void"]}
    return options | {key: settings[key] for key in ("tol", "symmetry")}


def of_voxels(
    psi: Float[np.ndarray, "n n n"], settings: Mapping[str, Any]
) -> Float[np.ndarray, "6 6"]:
    """Return the tensor of the binary cell as written, one element per voxel."""
    options = _solver(settings)
    constants = accuracy.of_voxels(psi, settings["resolution"] // 2, **options)
    return elasticity.constants_to_voigt(constants)


def numbers(
    psi: Float[np.ndarray, "n n n"],
    constants: Float[np.ndarray, "k"],
    uncertainty: Float[np.ndarray, "k"],
    *,
    nu: float = elasticity.NU,
    size_mm: float = 10.0,
) -> dict[str, Any]:
    """Return the numbers of a cell by name, base E = 1.

    `nu` is that of the base material, `size_mm` the edge of the printed cell.
    """
    tensor = elasticity.constants_to_voigt(np.asarray(constants, np.float64))
    cubic = elasticity.voigt_to_cubic(tensor)
    moduli = elasticity.moduli(cubic)
    volume = surface.volume(np.asarray(psi, np.float64))
    shares = bounds.hashin_shtrikman_ratios(cubic, volume, nu)
    printed = printability(psi).in_mm(size_mm)
    doubt = (uncertainty / np.maximum(abs(constants), 1e-12)).max()
    return {
        "C": tensor.tolist(),
        "uncertainty": elasticity.constants_to_voigt(uncertainty).tolist(),
        **dict(zip(elasticity.NAMES, cubic.tolist(), strict=True)),
        **{name: float(moduli[name]) for name in ("K", "G", "E", "nu")},
        "Zener": float(moduli["zener"]),
        "cubic_distance": float(elasticity.cubic_distance(tensor)),
        "volume": volume,
        **{f"{name}/{name}_HS": float(share) for name, share in shares.items()},
        "E/E_solid": float(moduli["E"]),
        "uncertainty_percent": 100 * float(doubt),
        "printability": vars(printed),
        "wall_mm": printed.wall,
        "gap_mm": printed.gap,
        "trapped_percent": 100 * printed.trapped,
    }


def in_units(known: Mapping, base: float) -> dict[str, Any]:
    """Return the numbers of `numbers` with stiffness in units of the base material."""
    stiff = (*elasticity.NAMES, "K", "G", "E")
    scaled = {key: base * known[key] for key in stiff}
    tensors = [name for name in ("C", "uncertainty", "C_voxels") if name in known]
    scaled |= {name: (base * np.array(known[name])).tolist() for name in tensors}
    if finer := known.get("on_finer_grids"):
        scaled["on_finer_grids"] = in_units(finer, base)
    return {**known, **scaled}


def of_cell(entry: Entry, known: Mapping, goal: Goal, settings: Mapping) -> dict:
    """Return a cell's part of properties.json from its `numbers`."""
    outcome, nu = entry.outcome, settings["base_nu"]
    refinement = outcome.refinement[np.isfinite(outcome.refinement[:, 0])]
    first = refinement[0]
    unit = settings["base_E"] if goal.is_stiffness else 1.0
    found = {
        "file": f"{entry.name}.npy",
        "start": entry.start,
        "start_kind": entry.kind,
        "design_resolution": entry.edge,
        **in_units(known, settings["base_E"]),
        "value": unit * float(outcome.value),
        "value_before_refinement": unit * float(first[0]),
        f"{goal.label} before refinement": float(goal.score(first[0], first[2], nu)),
        "design_steps": outcome.steps,
        "refinement_steps": len(refinement) - 1,
        "solves": int(outcome.solutions),
        "residual": float(outcome.residual),
        "converged": bool(outcome.converged),
        "flaws": list(entry.flaws),
    }
    # A share of a bound is there already, in float64.
    found.setdefault(goal.label, float(goal.score(outcome.value, entry.volume, nu)))
    return found


def of_start(entry: Entry, goal: Goal, nu: float) -> dict:
    """Return a start's part of properties.json, whether or not it led to a cell."""
    outcome, steps = entry.outcome, entry.outcome.steps
    score = goal.score(float(outcome.value), entry.volume or 1.0, nu)
    return {
        "start": entry.start,
        "kind": entry.kind,
        "design_steps": steps,
        "value_of_the_grey_design": float(outcome.history[steps - 1, 0])
        if steps
        else None,
        goal.label: float(score) if outcome.found else None,
        "volume": entry.volume,
        "flaws": list(entry.flaws),
    }


def values(results: Results, remarks: Sequence[str] = ()) -> dict[str, Any]:
    """Return the content of properties.json, with remarks about the results."""
    goal, settings = results.goal, results.settings
    base, nu = settings["base_E"], settings["base_nu"]
    pairs = zip(results.chosen, results.numbers, strict=True)
    cells = [of_cell(entry, known, goal, settings) for entry, known in pairs]
    return {
        "summary": summary(results.chosen[0], cells[0], goal),
        **settings,
        "objective": goal.name,
        "cells": cells,
        "plates": {name: in_units(k, base) for name, k in results.plates.items()},
        "starts": [of_start(entry, goal, nu) for entry in results.entries],
        "remarks": list(remarks),
    }


def table(results: Results) -> list[list[str]]:
    """Return the rows of the table on the terminal, columns as in `HEADER`."""
    labels = [entry.name.replace("_", " ") for entry in results.chosen]
    labels += [f"plates: {name}" for name in results.plates]
    every = [*zip(labels, [*results.numbers, *results.plates.values()], strict=True)]
    if finer := results.numbers[0].get("on_finer_grids"):
        every.insert(1, (f"{labels[0]} at 256^3", finer))
    return [
        [label, *(format(known[key], form) for key, form in _COLUMNS.values())]
        for label, known in every
    ]


def remarks(results: Results, printing: Printing) -> list[str]:
    """Return sentences about what cannot be printed as asked and tensors not cubic."""
    size = results.settings["cell_size_mm"]
    sides = {"wall": "thinnest wall", "gap": "narrowest gap"}
    found = []
    for entry, known in zip(results.chosen, results.numbers, strict=True):
        found += [
            f"{entry.name}: {text} is {known[f'{name}_mm']:.2g} mm at cell size "
            f"{size:g} mm; below the {size * getattr(printing, name):.2g} mm limit set "
            f"by `min_{name}_mm`."
            for name, text in sides.items()
            if known[f"{name}_mm"] < size * getattr(printing, name)
        ]
        if printing.drainable and known["trapped_percent"] > 0:
            found.append(
                f"{entry.name}: {known['trapped_percent']:.3g} % of its void is closed "
                "in, and `drainable` asks for none."
            )
        if known["cubic_distance"] > 1e-3:
            found.append(
                f"{entry.name}: its tensor is {100 * known['cubic_distance']:.2g} % "
                "away from cubic; moduli and shares of the bounds are those of the "
                "closest cubic tensor."
            )
    return found


def summary(entry: Entry, known: Mapping, goal: Goal) -> str:
    """Return a sentence about the best cell, from its part of properties.json."""
    first = known[f"{goal.label} before refinement"]
    violation = float(entry.outcome.refinement[0, 1])
    # Otherwise a refinement that repairs a constraint would look like a loss.
    off = f", with a constraint off by {100 * violation:.2g} %"
    return (
        f"best: {entry.name}, start {entry.start}, {goal.show(known[goal.label])} at V "
        f"{entry.volume:.3f}, Zener {known['Zener']:.2f}; refined from "
        f"{goal.number(first)}{off if violation > SLACK else ''}."
    )
