"""Measurements that each need a new process, from the one that collects them.

What costs once (imports, compilation, memory) and what another package does to a
process cannot be measured in one that goes on. The modules `fresh`, `steps`, `shards`
and `peers` of this folder are run, not imported: each prints its figures as JSON.
"""

import importlib.util
import itertools
import pathlib
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mmdiff.design.bench import solver
from mmdiff.fem import homogenize
from mmdiff.run import console
from mmdiff.run.timing import run_module

# Peer -> the package it needs; see `peers`.
PEERS = {
    "scipy-jacobi": "scipy",
    "pyamg-sa": "pyamg",
    "mugrid-green": "muGrid",
    "mugrid-green-jacobi": "muGrid",
}


def _figures(what: str, module: str, *arguments: Any) -> dict:
    """Return what a module of this folder prints; a note, and nothing, if it fails."""
    figures = run_module(f"{__package__}.{module}", *arguments)
    if "status" not in figures:
        return figures
    console.note(f"{what}: {figures['status']}")
    return {}


def measure_first_solve(symmetry: str, edge: int, void: float) -> dict[str, float]:
    """Return compile seconds and peak memory of one solve in a new process."""
    what = f"{symmetry} {edge}^3 in a new process"
    return _figures(what, "fresh", symmetry, solver.grid(symmetry, edge), void)


def measure_steps(edges: Iterable[int], starts: int, repeats: int) -> list[dict]:
    """Return what design steps cost beside the solves in them, by edge."""
    rows = (
        _figures(f"design steps at {edge}^3", "steps", edge, starts, repeats)
        for edge in sorted(set(edges))
    )
    return [row for row in rows if row]


def measure_shards(edges: Iterable[int], candidates: int) -> list[dict]:
    """Return what labelled cells cost beside finite elements, workers on all cores."""
    rows = (
        _figures(f"dataset of {edge}^3", "shards", edge, candidates)
        for edge in sorted(set(edges))
    )
    return [row for row in rows if row]


def measure_peers(
    edges: Iterable[int], cells: Sequence[dict], settings: solver.Settings, limit: float
) -> list[dict]:
    """Solve the reference cells with other packages, one process and thread for each.

    Args:
      edges: of the cells; all have been solved as periodic ones.
      cells: rows of `solver.measure_cells`.
      settings: of the solver.
      limit: seconds after which a solve is stopped.

    Returns:
      rows with CPU seconds in all and of the set-up, iterations and the largest
      deviation of their tensor from our periodic one; `status` says "done", "stopped"
      after `limit`, or why there is no result.
    """
    ours = {
        (row["edge"], row["cell"]): row
        for row in cells
        if row["symmetry"] == "periodic"
    }
    absent = [p for p in set(PEERS.values()) if not importlib.util.find_spec(p)]
    for package in sorted(absent):
        console.note(f"no times of {package}: it needs pip install {package}")
    peers = [peer for peer, package in PEERS.items() if package not in absent]
    tasks = list(itertools.product(sorted(edges), solver.REFERENCES, peers))
    rows: list[dict] = []
    stopped = set()
    with console.progress("peers", len(tasks)) as advance:
        for edge, name, peer in tasks:
            row = {"edge": edge, "cell": name, "peer": peer, "status": "stopped"}
            if (name, peer) not in stopped:  # at a smaller edge
                density = solver.densities("periodic", edge, 0)[name]
                row |= _solve_with(peer, density, settings, limit)
            if row["status"] == "stopped":
                stopped.add((name, peer))
            if "C" in row:
                row["deviation"] = solver.deviation(
                    np.array(row["C"]), ours[edge, name]
                )
            rows.append(row)
            advance(info=f"{peer} {name} {edge}^3")
    return rows


def _solve_with(peer, density, settings, limit) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "moduli.npy"
        np.save(path, homogenize.modulus(density.astype(np.float64), settings.void))
        module = f"{__package__}.peers"
        return run_module(module, peer, path, settings.tol, timeout=limit)
