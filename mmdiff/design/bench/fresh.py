"""Compile and run one homogenizer in a new process: seconds and peak memory as JSON.

    python -m mmdiff.design.bench.fresh cubic 32 1e-6

Started by `processes`. The persistent compilation cache is off. Memory is that above
the interpreter with JAX loaded and a trivial program compiled; on an accelerator it is
that of the device.
"""

import json
import sys
import time

from mmdiff.run import environment
from mmdiff.run.timing import peak_bytes


def main(symmetry: str, n: int, void: float) -> dict:
    """Return what the first solve of an n^3 grid costs: compiling, then the call.

    compile_MB and memory_MB are the peaks before and after the first call.
    """
    environment.silence_xla()
    import jax
    import jax.numpy as jnp

    from mmdiff.cells.symmetry import octant_to_cell
    from mmdiff.design.bench import specimens
    from mmdiff.fem import homogenize

    jax.config.update("jax_enable_compilation_cache", False)
    jax.block_until_ready(jax.jit(lambda x: x + 1)(jnp.zeros(8)))
    periodic = symmetry == "periodic"
    octant = specimens.schwarz_p(n // 2 if periodic else n)
    cell = octant_to_cell(octant) if periodic else octant
    density = jax.block_until_ready(jnp.asarray(cell, jnp.float32))
    before = peak_bytes()
    run = jax.jit(homogenize.make_homogenizer(n, symmetry=symmetry, void=void))
    wall, cpu = time.perf_counter(), time.process_time()
    compiled = run.lower(density).compile()
    figures = {
        "compile_s": time.perf_counter() - wall,
        "compile_cpu_s": time.process_time() - cpu,
        "compile_MB": (peak_bytes() - before) / 1e6,
    }
    wall = time.perf_counter()
    jax.block_until_ready(compiled(density))
    figures["first_call_s"] = time.perf_counter() - wall
    return figures | {"memory_MB": (peak_bytes() - before) / 1e6}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
