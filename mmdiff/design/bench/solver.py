"""Time and iterations of the homogenizer on easy and hard cells, batches, the sampler.

Three reference cells and random heterogeneous ones (`specimens`) are solved one after
the other by one compiled program per symmetry and edge; wall and CPU seconds are
medians of several calls. Edges are those of the whole cell.
"""

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import elasticity
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.bench import specimens
from mmdiff.errors import InputError
from mmdiff.fem import homogenize
from mmdiff.models.sampling import make_draw
from mmdiff.models.weights import load_model
from mmdiff.run import console
from mmdiff.run.timing import counting_compiles, measure
from mmdiff.typing import AnyArray, Float

GOAL = {"C11": 0.11, "C12": 0.045, "C44": 0.04, "V": 0.3}  # of samples
REFERENCES = ("schwarz_p", "plates", "graded")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How cells are solved and timed, see `configs/bench.py`."""

    num_random: int
    void: float
    tol: float
    maxiter: int
    repeats: int
    seconds: float
    other_voids: Sequence[float]


def grid(symmetry: str, edge: int) -> int:
    """Return the elements per side that are solved for a cell of some edge."""
    return edge if symmetry == "periodic" else edge // 2


def check_edge(symmetry: str, edge: int) -> None:
    """Raise InputError for an edge that cannot be solved."""
    try:
        if edge % 2:
            raise InputError("a mirror-symmetric cell needs an even edge.")
        homogenize.check_shape(3 * (grid(symmetry, edge),), symmetry)
    except InputError as error:
        raise InputError(f"{symmetry} cells of {edge}^3: {error}") from error


def densities(
    symmetry: str, edge: int, num_random: int
) -> dict[str, Float[np.ndarray, "n n n"]]:
    """Return the float32 densities that are solved, by name of the cell."""
    octants = specimens.specimens(edge // 2, num_random)
    grow = octant_to_cell if symmetry == "periodic" else np.asarray
    return {name: grow(cell.astype(np.float32)) for name, cell in octants.items()}


def measure_cells(
    symmetry: str, edge: int, settings: Settings, earlier: Sequence[Mapping] = ()
) -> tuple[list[dict], list[dict], int]:
    """Return rows of cells and of other voids, and the programs that were recompiled.

    A periodic cell is compared with its cubic solve in the rows of earlier groups.
    """
    cells = densities(symmetry, edge, settings.num_random)
    options = {"symmetry": symmetry, "tol": settings.tol, "maxiter": settings.maxiter}
    solve = functools.partial(homogenize.homogenize, **options)
    cubic = {row["cell"]: row for row in earlier if row["edge"] == edge}
    rows, softer = [], []
    jax.block_until_ready(solve(cells["graded"], void=settings.void))
    with (
        counting_compiles() as count,
        console.progress(f"{symmetry} {edge}^3", len(cells)) as advance,
    ):
        for name, density in cells.items():
            call = functools.partial(solve, density, void=settings.void)
            timing = measure(call, settings.repeats, settings.seconds)
            tensor, info = jax.device_get(timing.result)
            constants = elasticity.voigt_to_cubic(tensor.astype(float))
            row = {
                "symmetry": symmetry,
                "edge": edge,
                "cell": name,
                "calls": timing.calls,
                "wall_s": timing.wall_s,
                "cpu_s": timing.cpu_s,
                **_outcome(info),
                **dict(zip(elasticity.NAMES, constants.tolist(), strict=True)),
            }
            if symmetry == "periodic":
                row["cubic_distance"] = float(elasticity.cubic_distance(tensor))
                if name in cubic:
                    row["off_cubic"] = deviation(tensor, cubic[name])
            rows.append(row)
            for void in settings.other_voids if symmetry == "cubic" else ():
                _, info = jax.device_get(solve(density, void=void))
                which = {"edge": edge, "void": void, "cell": name}
                softer.append(which | _outcome(info))
            advance(info=name)
    return rows, softer, count[0]


def _outcome(info: homogenize.Info) -> dict[str, Any]:
    return {
        "iterations": int(info.iterations.max()),
        "converged": bool(info.converged.all()),
    }


def deviation(tensor: Float[AnyArray, "6 6"], row: Mapping) -> float:
    """Return the largest difference of a tensor from the constants of a row."""
    constants = np.array([row[name] for name in elasticity.NAMES])
    return float(abs(tensor - elasticity.cubic_to_voigt(constants)).max())


def summarize(rows: Sequence[Mapping]) -> dict[str, float]:
    """Return medians and worst figures of the reference and of the random cells."""
    out = {}
    for name, known in (("reference", True), ("random", False)):
        for key in ("wall_s", "cpu_s"):
            values = [r[key] for r in rows if (r["cell"] in REFERENCES) == known]
            if values:
                out[f"{name}_{key}"] = float(np.median(values))
                out[f"{name}_{key}_worst"] = max(values)
    return out | count_iterations(rows)


def count_iterations(rows: Sequence[Mapping]) -> dict[str, float]:
    """Return the median and largest number of iterations, and of unsolved cells."""
    counts = [row["iterations"] for row in rows]
    return {
        "iterations_median": float(np.median(counts)),
        "iterations_most": max(counts),
        "unconverged": sum(not row["converged"] for row in rows),
    }


def measure_batches(edge: int, sizes: Sequence[int], settings: Settings) -> list[dict]:
    """Return cells per second of random cubic cells, in batches and one by one."""
    n = edge // 2
    options = {"void": settings.void, "tol": settings.tol, "maxiter": settings.maxiter}
    single = jax.jit(homogenize.make_homogenizer(n, **options))
    together = homogenize.batched_homogenizer(n, **options)
    octants = [specimens.random_cell(n, seed) for seed in range(max(sizes))]
    stack = jnp.asarray(np.stack(octants), jnp.float32)
    cells = list(stack)
    jax.block_until_ready(single(cells[0]))
    rows = []
    for size in sizes:
        calls = {
            "cells_per_s": functools.partial(together, stack[:size]),
            "one_by_one_per_s": functools.partial(jax.tree.map, single, cells[:size]),
        }
        jax.block_until_ready(together(stack[:size]))
        row = {"edge": edge, "batch": size}
        for name, call in calls.items():
            timing = measure(call, settings.repeats, settings.seconds)
            row[name] = size / timing.wall_s
        rows.append(row)
    return rows


def measure_sampler(
    num_samples: int, steps: int, settings: Settings
) -> dict[str, float]:
    """Return seconds of the first and of further calls of the shipped model."""
    draw = make_draw(*load_model(), num_samples=num_samples, steps=steps)
    start = time.perf_counter()
    jax.block_until_ready(draw(jax.random.key(0), GOAL))
    first = time.perf_counter() - start
    timing = measure(
        lambda: draw(jax.random.key(1), GOAL), settings.repeats, settings.seconds
    )
    return {"first_s": first, "wall_s": timing.wall_s, "cpu_s": timing.cpu_s}
