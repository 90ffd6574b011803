"""Measurements that each need a new process, from the one that collects them.

What costs once (imports, compilation, memory) and what another package does to a
process cannot be measured in one that goes on. The modules `fresh`, `steps`, `shards`,
`job` and `peers` of this folder are run, not imported: each prints its figures as JSON.
"""

import importlib.util
import itertools
import os
import subprocess
import sys
import tempfile
import time
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


def measure_edges(
    what: str, module: str, edges: Iterable[int], *arguments: int
) -> list[dict]:
    """Return what a module of this folder measures, by edge; `what` is for the note."""
    edges = sorted(set(edges))
    rows = [_figures(f"{what} {edge}^3", module, edge, *arguments) for edge in edges]
    return [row for row in rows if row]


def measure_job(cells: int) -> dict:
    """Return what `job` measures of so many cells; empty if it fails."""
    return _figures(f"job of {cells} cells", "job", cells)


def measure_command() -> list[dict[str, Any]]:
    """Return wall and CPU seconds of the default command, two times in new processes.

    The first one begins with an empty compilation cache.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        env = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
        env["XDG_CACHE_HOME"] = f"{folder}/cache"
        for name in ("cold", "warm"):
            command = [
                sys.executable,
                "-m",
                "mmdiff.main",
                f"--workdir={folder}/{name}",
            ]
            wall, before = time.perf_counter(), os.times()
            done = subprocess.run(command, env=env, capture_output=True, text=True)
            after = os.times()
            if done.returncode:
                console.note(f"default command: {done.stderr.strip().splitlines()[-1]}")
                return []
            rows.append(
                {
                    "command": f"default command, {name}",
                    "wall_s": time.perf_counter() - wall,
                    "cpu_s": after.children_user
                    + after.children_system
                    - before.children_user
                    - before.children_system,
                }
            )
    return rows


def measure_peers(
    edges: Iterable[int], cells: Sequence[dict], settings: solver.Settings, limit: float
) -> list[dict]:
    """Solve the reference cells with other packages, one process and thread for each.

    Rows hold CPU seconds in all and of the set-up, iterations and the largest deviation
    of the tensor from our periodic one, which `cells` must have. `status` says "done",
    "stopped" after `limit` seconds, or why there is no result.
    """
    ours = {(r["edge"], r["cell"]): r for r in cells if r["symmetry"] == "periodic"}
    absent = [p for p in set(PEERS.values()) if not importlib.util.find_spec(p)]
    for package in sorted(absent):
        console.note(f"no times of {package}: it needs pip install {package}")
    peers = [peer for peer, package in PEERS.items() if package not in absent]
    tasks = list(itertools.product(sorted(edges), solver.REFERENCES, peers))
    rows, stopped = [], set()
    with console.progress("peers", len(tasks)) as advance:
        for edge, name, peer in tasks:
            row = {"edge": edge, "cell": name, "peer": peer, "status": "stopped"}
            if (name, peer) not in stopped:  # at a smaller edge
                density = solver.densities("periodic", edge, 0)[name]
                row |= _solve_with(peer, density, settings, limit)
            if row["status"] == "stopped":
                stopped.add((name, peer))
            if "C" in row:
                tensor = np.array(row["C"])
                row["deviation"] = solver.deviation(tensor, ours[edge, name])
            rows.append(row)
            advance(info=f"{peer} {name} {edge}^3")
    return rows


def _solve_with(peer, density, settings, limit) -> dict:
    moduli = homogenize.modulus(density.astype(np.float64), settings.void)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/moduli.npy", moduli)
        arguments = f"{__package__}.peers", peer, f"{folder}/moduli.npy", settings.tol
        return run_module(*arguments, timeout=limit)
