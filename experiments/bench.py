"""Compile time, warm wall and CPU seconds, and iterations of solver and sampler.

Each figure is the median of several calls in one process after a first, untimed one.
The cells are a binary Schwarz-P network, a simple-cubic plate lattice and a random
blob, so that a solver cannot look good on smooth cells alone.
"""

import functools
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mmdiff import assets
from mmdiff.design import sampler, target
from mmdiff.fem import homogenize
from mmdiff.io import console, record, writers
from mmdiff.models import weights
from mmdiff.topopt import initial
from mmdiff.voxels import threshold_to_volume

HEADER = ("", "compile s", "wall s", "CPU s", "iterations", "C11", "C12", "C44")


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Time everything and write bench.csv."""
    rows = []
    for size in config.sizes:
        n = size // 2
        run = jax.jit(homogenize.make_homogenizer(n, void=config.void, tol=config.tol))
        start = time.perf_counter()
        compiled = run.lower(jnp.zeros((n, n, n), jnp.float32)).compile()
        built = time.perf_counter() - start
        for name, octant in octants(n).items():
            density = jnp.asarray(octant, jnp.float32)
            call = functools.partial(compiled, density)
            wall, cpu = measure(call, config.repeats)
            tensor, info = compiled(density)
            rows.append(
                [
                    f"{name} {size}^3",
                    built,
                    wall,
                    cpu,
                    int(info.iterations.max()),
                    *(float(tensor[i, j]) for i, j in ((0, 0), (0, 1), (3, 3))),
                ]
            )
    if config.num_samples:
        rows.append(_sampler_row(config))
    writers.write_csv(
        folder / "bench.csv", [dict(zip(HEADER, row, strict=True)) for row in rows]
    )
    console.table(rows, HEADER)
    console.say(
        f"{record.device_line()}; relative residual {config.tol:g}, void "
        f"{config.void:g}; medians of {config.repeats} calls; compile time is that of "
        "the whole program, once per size (short where the compilation cache has it)"
    )


def _sampler_row(config) -> list:
    params, meta = weights.load_weights(assets.weights_path())
    draw = sampler.make_sampler(
        params, meta, num_samples=config.num_samples, steps=config.steps
    )
    goal = target.Target((0.11, 0.045, 0.04), 0.3)
    start = time.perf_counter()
    jax.block_until_ready(draw(jax.random.key(0), goal))
    first = time.perf_counter() - start
    wall, cpu = measure(lambda: draw(jax.random.key(1), goal), config.repeats)
    name = f"sampler, {config.num_samples} cells x {config.steps} steps"
    return [name, first - wall, wall, cpu, "", "", "", ""]


def measure(call, repeats: int) -> tuple[float, float]:
    """Return the median wall and CPU seconds of a call that is already compiled."""
    jax.block_until_ready(call())
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(call())
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return float(np.median(walls)), float(np.median(cpus))


def octants(n: int) -> dict[str, np.ndarray]:
    """Return the octants (n, n, n) that are timed, by name."""
    wave = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    schwarz = wave[:, None, None] + wave[:, None] + wave
    wall = np.arange(n) < max(1, n // 16)
    plates = wall[:, None, None] | wall[:, None] | wall
    blob = np.asarray(initial.random_start(jax.random.key(0), n, 0.4, waves=5))
    return {
        "schwarz_p": threshold_to_volume(schwarz, 0.3),
        "plates": plates.astype(np.uint8),
        "random": threshold_to_volume(blob, 0.4),
    }
