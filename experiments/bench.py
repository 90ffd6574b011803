"""How long the homogenizer takes on easy and hard cells, and what it costs otherwise.

Three reference cells and random heterogeneous ones (`mmdiff.cells.specimens`) are
solved one after the other by one compiled program per symmetry and edge; wall and CPU
seconds are medians of several calls. Compile time and memory are those of a fresh
process each (`bench_fresh.py`), and so are the other packages (`bench_peers.py`), the
design loop (`bench_design.py`) and the making of a dataset (`bench_dataset.py`).
Throughput of batches and the sampler's speed come last. Everything is in bench.json.
"""

import functools
import importlib.util
import itertools
import pathlib
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mmdiff import assets, elasticity
from mmdiff.cells import specimens
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.generate import sampler
from mmdiff.errors import InputError
from mmdiff.fem import batch, homogenize
from mmdiff.io import plots
from mmdiff.io.json import write_csv, write_json
from mmdiff.models import weights
from mmdiff.run import console, environment
from mmdiff.run.timing import counting_compiles, measure, run_script
from mmdiff.targets import target

REFERENCES = ("schwarz_p", "plates", "graded")
# Peer -> the package it needs; see bench_peers.py.
PEERS = {
    "scipy-jacobi": "scipy",
    "pyamg-sa": "pyamg",
    "mugrid-green": "muGrid",
    "mugrid-green-jacobi": "muGrid",
}
SCRIPTS = pathlib.Path(__file__).parent
CELLS = ("", "wall s", "CPU s", "iterations", "C11", "C12", "C44", "off cubic")
GROUPS = (
    "", "compile s", "memory MB", "recompiled", "reference s", "worst", "random s",
    "worst", "iterations", "most", "unsolved",
)  # fmt: skip


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Time everything and write bench.json, bench.csv and bench.png."""
    periodic = {*config.periodic, *(config.peer_sizes if config.peers else ())}
    wanted = [("cubic", edge) for edge in sorted(set(config.cubic))]
    wanted += [("periodic", edge) for edge in sorted(periodic)]
    _check(config, wanted)
    report = {"settings": config.to_dict(), **environment.environment(), "groups": []}
    cells: list[dict] = []
    voids: list[dict] = []
    for symmetry, edge in wanted:
        facts = measure_fresh(symmetry, edge, config) if config.fresh else {}
        rows, softer, compiles = measure_cells(symmetry, edge, config, cells)
        cells, voids = cells + rows, voids + softer
        group = {"symmetry": symmetry, "edge": edge, **facts, "recompiled": compiles}
        report["groups"].append(group | summarize(rows))
    report |= {"cells": cells, "other_voids": voids}
    report["batches"] = measure_batches(config)
    report["design"] = measure_design(config)
    report["dataset"] = measure_dataset(config)
    report["sampler"] = measure_sampler(config) if config.num_samples else None
    report["peers"] = measure_peers(config, cells) if config.peers else []
    write_json(folder / "bench.json", report)
    write_csv(folder / "bench.csv", cells)
    drawn = plots.grouped_points(
        folder / "bench.png",
        [f"{row['symmetry']} {row['edge']}^3" for row in cells],
        [row["cell"] if row["cell"] in REFERENCES else "random" for row in cells],
        {
            "wall seconds": [row["wall_s"] for row in cells],
            "iterations": [row["iterations"] for row in cells],
        },
    )
    if not drawn:
        console.note("bench.png needs matplotlib: pip install 'mmdiff[viz]'.")
    _say(config, report)


def _check(config, wanted) -> None:
    if not wanted:
        raise InputError("cubic=() and periodic=(): there is nothing to solve.")
    edges = [
        ("cubic", edge)
        for edge in (*config.batch_cubic, *config.design, *config.dataset)
    ]
    for symmetry, edge in [*wanted, *edges]:
        try:
            if edge % 2:
                raise ValueError("a mirror-symmetric cell needs an even edge.")
            homogenize.make_homogenizer(_grid(symmetry, edge), symmetry=symmetry)
        except ValueError as error:
            raise InputError(f"{symmetry} cells of {edge}^3: {error}") from error
    if config.repeats < 1 or config.num_random < 0:
        raise InputError(
            f"repeats={config.repeats}, num_random={config.num_random}: there must be "
            "one timed call at least, and no negative number of cells."
        )


def _grid(symmetry: str, edge: int) -> int:
    """Return the elements per side that are solved for a cell of some edge."""
    return edge if symmetry == "periodic" else edge // 2


def _densities(symmetry: str, edge: int, num_random: int) -> dict[str, np.ndarray]:
    """Return the float32 densities that are solved, by name of the cell."""
    octants = specimens.specimens(edge // 2, num_random)
    grow = octant_to_cell if symmetry == "periodic" else np.asarray
    return {name: grow(cell.astype(np.float32)) for name, cell in octants.items()}


def measure_cells(
    symmetry: str, edge: int, config: ConfigDict, earlier: list[dict]
) -> tuple[list[dict], list[dict], int]:
    """Solve every cell and time it.

    Args:
      symmetry: "cubic" or "periodic".
      edge: voxels per side of the cells.
      config: of the run.
      earlier: rows of other groups; a periodic cell is compared with its cubic solve.

    Returns:
      one row for each cell, one for each octant and other void with its iterations, and
      the number of programs compiled after the first solve.
    """
    densities = _densities(symmetry, edge, config.num_random)
    options = {"symmetry": symmetry, "tol": config.tol, "maxiter": config.maxiter}
    solve = functools.partial(homogenize.homogenize, **options)
    cubic = {row["cell"]: row for row in earlier if row["edge"] == edge}
    rows, softer = [], []
    jax.block_until_ready(solve(densities["graded"], void=config.void))
    with (
        counting_compiles() as count,
        console.progress(f"{symmetry} {edge}^3", len(densities)) as advance,
    ):
        for name, density in densities.items():
            call = functools.partial(solve, density, void=config.void)
            timing = measure(call, config.repeats, config.seconds)
            tensor, info = jax.device_get(timing.result)
            constants = elasticity.voigt_to_cubic(tensor.astype(float))
            row = {
                "symmetry": symmetry,
                "edge": edge,
                "cell": name,
                "calls": timing.calls,
                "wall_s": timing.wall_s,
                "cpu_s": timing.cpu_s,
                "iterations": int(info.iterations.max()),
                "converged": bool(info.converged.all()),
                **dict(zip(elasticity.NAMES, constants.tolist(), strict=True)),
            }
            if symmetry == "periodic":
                row["cubic_distance"] = float(elasticity.cubic_distance(tensor))
            if symmetry == "periodic" and name in cubic:
                want = [cubic[name][constant] for constant in elasticity.NAMES]
                row["off_cubic"] = _deviation(tensor, want)
            rows.append(row)
            for void in config.other_voids if symmetry == "cubic" else ():
                _, info = jax.device_get(solve(density, void=void))
                softer.append(
                    {
                        "edge": edge,
                        "void": void,
                        "cell": name,
                        "iterations": int(info.iterations.max()),
                        "converged": bool(info.converged.all()),
                    }
                )
            advance(info=name)
    return rows, softer, count[0]


def _deviation(tensor, constants) -> float:
    return float(abs(tensor - elasticity.cubic_to_voigt(np.array(constants))).max())


def summarize(rows: list[dict]) -> dict:
    """Return medians and worst figures of the reference and of the random cells."""
    out = {}
    groups = {
        "reference": [row for row in rows if row["cell"] in REFERENCES],
        "random": [row for row in rows if row["cell"] not in REFERENCES],
    }
    for name, group in groups.items():
        for key in ("wall_s", "cpu_s") if group else ():
            values = [row[key] for row in group]
            out[f"{name}_{key}"] = float(np.median(values))
            out[f"{name}_{key}_worst"] = max(values)
    return out | count_iterations(rows)


def count_iterations(rows: list[dict]) -> dict:
    """Return the median and largest number of iterations, and of unsolved cells."""
    counts = [row["iterations"] for row in rows]
    return {
        "iterations_median": float(np.median(counts)),
        "iterations_most": max(counts),
        "unconverged": sum(not row["converged"] for row in rows),
    }


def measure_batches(config: ConfigDict) -> list[dict]:
    """Return cells per second of random cubic cells, in batches and one by one."""
    rows = []
    options = {"void": config.void, "tol": config.tol, "maxiter": config.maxiter}
    for edge in config.batch_cubic if config.batches else ():
        n = edge // 2
        single = jax.jit(homogenize.make_homogenizer(n, **options))
        label = batch.labeller(n, **options)
        octants = [
            specimens.random_cell(n, seed) for seed in range(max(config.batches))
        ]
        stack = jnp.asarray(np.stack(octants), jnp.float32)
        cells = list(stack)
        jax.block_until_ready(single(cells[0]))
        for size in config.batches:
            jax.block_until_ready(label(stack[:size]))
            figures = {"edge": edge, "batch": size}
            for name, call in (
                ("cells_per_s", functools.partial(label, stack[:size])),
                ("one_by_one_per_s", functools.partial(_loop, single, cells[:size])),
            ):
                timing = measure(call, config.repeats, config.seconds)
                figures[name] = size / timing.wall_s
            rows.append(figures)
    return rows


def _loop(single, cells):
    return [single(cell)[0] for cell in cells]


def measure_sampler(config: ConfigDict) -> dict:
    """Return what drawing cells from the shipped model costs."""
    params, meta = weights.load_weights(assets.weights_path())
    draw = sampler.make_sampler(
        params, meta, num_samples=config.num_samples, steps=config.steps
    )
    goal = target.of_constants((0.11, 0.045, 0.04), 0.3)
    start = time.perf_counter()
    jax.block_until_ready(draw(jax.random.key(0), goal))
    first = time.perf_counter() - start
    call = functools.partial(draw, jax.random.key(1), goal)
    timing = measure(call, config.repeats, config.seconds)
    return {"first_s": first, "wall_s": timing.wall_s, "cpu_s": timing.cpu_s}


def measure_fresh(symmetry: str, edge: int, config: ConfigDict) -> dict:
    """Return compile seconds and peak memory of one solve in a new process."""
    grid = _grid(symmetry, edge)
    facts = run_script(SCRIPTS / "bench_fresh.py", symmetry, grid, config.void)
    if "status" in facts:
        console.note(f"{symmetry} {edge}^3 in a new process: {facts['status']}")
        return {}
    return facts


def measure_design(config: ConfigDict) -> list[dict]:
    """Return what design steps cost beside the solves in them, one process per edge."""
    rows = []
    for edge in sorted(set(config.design)) if config.num_starts else ():
        arguments = (edge, config.num_starts, config.repeats)
        facts = run_script(SCRIPTS / "bench_design.py", *arguments)
        if "status" in facts:
            console.note(f"design steps at {edge}^3: {facts['status']}")
        else:
            rows.append(facts)
    return rows


def measure_dataset(config: ConfigDict) -> list[dict]:
    """Return what labelled cells cost beside finite elements, workers on all cores."""
    rows = []
    for edge in sorted(set(config.dataset)) if config.num_candidates else ():
        facts = run_script(SCRIPTS / "bench_dataset.py", edge, config.num_candidates)
        if "status" in facts:
            console.note(f"dataset of {edge}^3: {facts['status']}")
        else:
            rows.append(facts)
    return rows


def measure_peers(config: ConfigDict, cells: list[dict]) -> list[dict]:
    """Solve the reference cells with other packages, one process and thread for each.

    Returns:
      rows with CPU seconds in all and of the set-up, iterations and the largest
      deviation of their tensor from our periodic one; `status` says "done", "stopped"
      after `peer_seconds`, or why there is no result.
    """
    ours = {
        (row["edge"], row["cell"]): [row[constant] for constant in elasticity.NAMES]
        for row in cells
        if row["symmetry"] == "periodic"
    }
    missing = [p for p in set(PEERS.values()) if not importlib.util.find_spec(p)]
    for package in sorted(missing):
        console.note(f"no times of {package}: it needs pip install {package}")
    peers = [peer for peer, package in PEERS.items() if package not in missing]
    edges = sorted(config.peer_sizes)
    rows: list[dict] = []
    stopped = set()
    total = len(edges) * len(REFERENCES) * len(peers)
    with console.progress("peers", total) as advance:
        for edge, name, peer in itertools.product(edges, REFERENCES, peers):
            row = {"edge": edge, "cell": name, "peer": peer, "status": "stopped"}
            if (name, peer) not in stopped:  # at a smaller edge
                density = _densities("periodic", edge, 0)[name]
                row |= _solve_with(peer, density, config)
            if row["status"] == "stopped":
                stopped.add((name, peer))
            if "C" in row:
                row["deviation"] = _deviation(np.array(row["C"]), ours[edge, name])
            rows.append(row)
            advance(info=f"{peer} {name} {edge}^3")
    return rows


def _solve_with(peer, density, config) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "moduli.npy"
        np.save(path, homogenize.modulus(density.astype(np.float64), config.void))
        script, limit = SCRIPTS / "bench_peers.py", config.peer_seconds
        return run_script(script, peer, path, config.tol, timeout=limit)


def _say(config: ConfigDict, report: dict) -> None:
    """Print the tables: cells, batches, sampler, peers, and one line per group."""
    console.table(_cell_rows(report["cells"]), CELLS)
    if report["batches"]:
        keys = ("cells_per_s", "one_by_one_per_s")
        console.table(
            [
                (
                    f"cubic {row['edge']}^3, batch {row['batch']}",
                    *(row[k] for k in keys),
                )
                for row in report["batches"]
            ],
            ("", "cells / s", "one by one / s"),
        )
    if report["design"]:
        console.table(
            [
                (
                    f"{row['edge']}^3, {row['starts']} starts",
                    *(np.median(row[key]) for key in ("step_s", "solve_s")),
                    row["ratio"],
                    row["batch_s"],
                    row["one_by_one_s"],
                )
                for row in report["design"]
            ],
            ("design", "step s", "solve s", "ratio", "batch s", "one by one s"),
        )
    for facts in report["dataset"]:
        console.table(
            [
                [
                    f"{facts['edge']}^3, {name}",
                    row["cells_per_hour"],
                    *(row[key] for key in ("make", "clean", "label", "check")),
                    100 * row["overhead"],
                ]
                for name, row in facts["kinds"].items()
            ],
            [
                f"labelled cells, {facts['workers']} workers",
                *("per hour", "make s", "clean s", "label s", "check s", "beside %"),
            ],
        )
    if report["sampler"]:
        facts = report["sampler"]
        what = f"sampler, {config.num_samples} cells x {config.steps} steps"
        row = (what, facts["wall_s"], facts["cpu_s"], facts["first_s"])
        console.table([row], ("", "wall s", "CPU s", "first call s"))
    if report["peers"]:
        header = ("", "CPU s", "set-up s", "iterations", "off ours", "")
        console.table(_peer_rows(report), header)
    if report["other_voids"]:
        rows = [
            [f"cubic {edge}^3, void {void:g}", *count_iterations(members).values()]
            for (edge, void), members in _grouped(report["other_voids"], "edge", "void")
        ]
        console.table(rows, ("", "iterations", "most", "unsolved"))
    console.table([_group_row(group) for group in report["groups"]], GROUPS)
    counts = [row["iterations"] for row in report["cells"]]
    console.say(
        f"iterations of all {len(counts)} solves: median {np.median(counts):g}, most "
        f"{max(counts)}; medians and worst of the reference and of the random cells.\n"
        f"{environment.device_line()}; relative residual {config.tol:g}, void "
        f"{config.void:g}, medians of at most {config.repeats} warm calls. Compile "
        "time and memory above the interpreter are those of the first solve in a fresh "
        "process without cache; recompiled counts the programs built between the first "
        "cell and void of a line and its last."
    )


def _grouped(rows: list[dict], *keys: str) -> list[tuple[tuple, list[dict]]]:
    """Return the rows by their values of some keys, in order of first appearance."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return list(groups.items())


def _cell_rows(cells: list[dict]) -> list[list]:
    """Return rows of the reference cells and of the worst random one."""
    rows = []
    keys = ("wall_s", "cpu_s", "iterations", *elasticity.NAMES, "off_cubic")
    for (symmetry, edge), members in _grouped(cells, "symmetry", "edge"):
        shown = {row["cell"]: row for row in members if row["cell"] in REFERENCES}
        drawn = [row for row in members if row["cell"] not in REFERENCES]
        if drawn:
            worst = max(drawn, key=lambda row: row["wall_s"])
            shown[f"worst: {worst['cell']}"] = worst
        for name, row in shown.items():
            rows.append([f"{symmetry} {edge}^3 {name}", *map(row.get, keys)])
    return rows


def _peer_rows(report: dict) -> list[list]:
    """Return our periodic and cubic figures with those of the peers, by cell."""
    rows = []
    keys = ("cpu_s", "setup_s", "iterations", "deviation", "status")
    cells = dict(_grouped(report["cells"], "edge", "cell"))
    for (edge, name), peers in _grouped(report["peers"], "edge", "cell"):
        for row in [*cells[edge, name], *peers]:
            who = row.get("peer") or f"mmdiff {row['symmetry']}"
            rows.append([f"{name} {edge}^3 {who}", *map(row.get, keys)])
    return rows


def _group_row(group: dict) -> list:
    keys = (
        "compile_s", "memory_MB", "recompiled", "reference_wall_s",
        "reference_wall_s_worst", "random_wall_s", "random_wall_s_worst",
        "iterations_median", "iterations_most", "unconverged",
    )  # fmt: skip
    return [f"{group['symmetry']} {group['edge']}^3", *map(group.get, keys)]
