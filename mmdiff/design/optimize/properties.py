"""What is known about optimized cells: their numbers, report and table.

Every number comes from finite elements on the written binary cell, without
interpolation of densities. K, G, E, nu and the Zener ratio of an orthotropic cell are
those of its closest cubic tensor. Stiffness is in the units of the base material's
Young's modulus.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff import bounds, elasticity
from mmdiff.cells import thickness
from mmdiff.cells.connectivity import periodic_pieces
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.generate import properties
from mmdiff.design.optimize.goal import Goal
from mmdiff.design.optimize.ranking import Entry
from mmdiff.topopt import interface
from mmdiff.topopt.binary import SLACK

CONVENTIONS = {
    **{
        key: properties.CONVENTIONS[key]
        for key in ("voigt_order", "shear", "moduli", "finite_elements", "cell")
    },
    "bounds": "K_HS, G_HS, E_HS: upper Hashin-Shtrikman bounds at the cell's volume; "
    "those of G and E hold for isotropic cells, others may exceed them",
    "cubic_distance": "relative distance of the tensor from its closest cubic one, "
    "whose moduli are given; 0 for cubic cells",
    "thinnest_wall": "of the solid, narrowest_hole of the void: the thickness that 1 % "
    "of the phase's voxels do not exceed, each voxel with that of the middle of its "
    "wall, strut or pore",
    "error": properties.CONVENTIONS["error"],
    "value": "objective, maximized; moduli in units of base E, all else for base E = "
    "1; of a target the negative error, and in the history of the design loop the "
    "negative root mean square of (C - target) / R",
}
HEADER = (
    *("", "V", "K/K_HS", "G/G_HS", "E/E_HS", "nu", "Zener", "E/E_solid"),
    *("wall", "wall mm"),
)


def numbers(
    octant: np.ndarray,
    constants: np.ndarray,
    *,
    nu: float = elasticity.NU,
    size_mm: float = 10.0,
) -> dict:
    """Return every number of a binary cell, base E = 1.

    Args:
      octant: (n, n, n) uint8, not empty.
      constants: 3 or 9 of its tensor.
      nu: Poisson's ratio of the base material.
      size_mm: edge of the printed cell.
    """
    tensor = interface.to_tensor(np.asarray(constants, np.float64))
    cubic = elasticity.voigt_to_cubic(tensor)
    moduli = elasticity.moduli(cubic)
    volume = float(octant.mean())
    shares = bounds.hashin_shtrikman_ratios(cubic, volume, nu)
    voxels = thickness.feature_size(octant)
    sizes = {"voxels": voxels}
    sizes["mm"] = thickness.in_mm(voxels, size_mm, 2 * octant.shape[0])
    return {
        "C": tensor.tolist(),
        **dict(zip(elasticity.NAMES, cubic.tolist(), strict=True)),
        **{name: float(moduli[name]) for name in ("K", "G", "E", "nu")},
        "Zener": float(moduli["zener"]),
        "cubic_distance": float(elasticity.cubic_distance(tensor)),
        "volume": volume,
        **{f"{name}/{name}_HS": float(share) for name, share in shares.items()},
        "E/E_solid": float(moduli["E"]),
        "pieces": int(periodic_pieces(octant_to_cell(octant))[1]),
        **{f"thinnest_wall_{u}": size.solid.minimum for u, size in sizes.items()},
        **{f"narrowest_hole_{u}": size.void.minimum for u, size in sizes.items()},
    }


def in_units(facts: Mapping, base: float) -> dict:
    """Return the numbers of `numbers` with stiffness in units of the base material."""
    stiff = (*elasticity.NAMES, "K", "G", "E")
    scaled = {key: base * facts[key] for key in stiff}
    return {**facts, **scaled, "C": (base * np.array(facts["C"])).tolist()}


def cell_facts(entry: Entry, facts: Mapping, goal: Goal, settings: Mapping) -> dict:
    """Return a cell's part of properties.json.

    Args:
      entry: the cell.
      facts: its `numbers`.
      goal: what was asked.
      settings: with "base_E" and "base_nu".
    """
    outcome, nu = entry.outcome, settings["base_nu"]
    refinement = outcome.refinement[np.isfinite(outcome.refinement[:, 0])]
    first = refinement[0]
    unit = settings["base_E"] if goal.is_stiffness else 1.0
    found = {
        "file": f"{entry.name}.npy",
        "start": entry.start,
        "start_kind": entry.kind,
        "resolution": entry.edge,
        **in_units(facts, settings["base_E"]),
        "value": unit * float(outcome.value),
        "value_before_refinement": unit * float(first[0]),
        f"{goal.label} before refinement": float(goal.score(first[0], first[2], nu)),
        "design_steps": outcome.steps,
        "refinement_steps": len(refinement) - 1,
        "pieces_removed": int(outcome.pieces_found) - facts["pieces"],
        "residual": float(outcome.residual),
        "converged": bool(outcome.converged),
        "flaws": list(entry.flaws),
    }
    # A share of a bound is there already, in float64.
    found.setdefault(goal.label, float(goal.score(outcome.value, entry.volume, nu)))
    return found


def start_facts(entry: Entry, goal: Goal, settings: Mapping) -> dict:
    """Return one line about a start, whether or not it led to a cell."""
    outcome = entry.outcome
    steps = outcome.steps
    grey = outcome.history[steps - 1, 0] if steps else np.nan
    score = goal.score(float(outcome.value), entry.volume or 1.0, settings["base_nu"])
    return {
        "start": entry.start,
        "kind": entry.kind,
        "resolution": entry.edge,
        "design_steps": steps,
        "value_of_the_grey_design": float(grey),
        goal.label: float(score) if outcome.octant.any() else None,
        "volume": entry.volume,
        "flaws": list(entry.flaws),
    }


def table_row(name: str, facts: Mapping) -> list:
    """Return a row of the table on the terminal, columns as in `HEADER`."""
    return [
        name,
        f"{facts['volume']:.4f}",
        *(f"{facts[key]:.4f}" for key in ("K/K_HS", "G/G_HS", "E/E_HS", "nu", "Zener")),
        f"{facts['E/E_solid']:.4g}",
        f"{facts['thinnest_wall_voxels']:.3g}",
        f"{facts['thinnest_wall_mm']:.3g}",
    ]


def report(
    entries: Sequence[Entry],
    facts: Sequence[Mapping],
    every: Sequence[Entry],
    plates: Mapping[str, Mapping],
    goal: Goal,
    settings: Mapping,
) -> dict:
    """Return the content of properties.json.

    Args:
      entries: cells that are written, best first.
      facts: their `numbers`.
      every: all runs, also those that failed.
      plates: `numbers` of textbook lattices of the same volume by name.
      goal: what was asked.
      settings: solver, base material and options; with "base_E" and "base_nu".
    """
    cells = [
        cell_facts(entry, known, goal, settings)
        for entry, known in zip(entries, facts, strict=True)
    ]
    base = settings["base_E"]
    return {
        "summary": summary(entries[0], cells[0], goal),
        "conventions": CONVENTIONS,
        **settings,
        "objective": goal.name,
        "cells": cells,
        "plates": {name: in_units(known, base) for name, known in plates.items()},
        "starts": [start_facts(entry, goal, settings) for entry in every],
    }


def remarks(
    entries: Sequence[Entry], facts: Sequence[Mapping], size_mm: float, wall_mm: float
) -> list[str]:
    """Return what is to be said of thin walls and of tensors that are not cubic."""
    said = []
    for entry, known in zip(entries, facts, strict=True):
        voxels, wall = known["thinnest_wall_voxels"], known["thinnest_wall_mm"]
        if wall < wall_mm:
            said.append(
                f"{entry.name}: thinnest wall is {voxels:.3g} voxel"
                f"{'' if voxels == 1 else 's'} = {wall:.2g} mm at cell size "
                f"{size_mm:g} mm; below the {wall_mm:g} mm limit set by "
                "--config.min_wall."
            )
        if known["cubic_distance"] > 1e-3:
            said.append(
                f"{entry.name}: its tensor is {100 * known['cubic_distance']:.2g} % "
                "away from cubic; moduli and shares of the bounds are those of the "
                "closest cubic tensor."
            )
    return said


def summary(entry: Entry, facts: Mapping, goal: Goal) -> str:
    """Return the line a run ends with.

    Args:
      entry: the best cell.
      facts: its `cell_facts`.
      goal: what was asked.
    """
    first = facts[f"{goal.label} before refinement"]
    violation = float(entry.outcome.refinement[0, 1])
    # Otherwise a refinement that repairs a constraint would look like a loss.
    off = f", with a constraint off by {100 * violation:.2g} %"
    return (
        f"best: {entry.name}, start {entry.start}, {goal.show(facts[goal.label])} at V "
        f"{entry.volume:.3f}, Zener {facts['Zener']:.2f}; refined from "
        f"{goal.number(first)}{off if violation > SLACK else ''}."
    )
