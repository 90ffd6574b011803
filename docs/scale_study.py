"""How solve, Newton step and memory grow with the grid, and iterations over many cells.

    taskset -c 0 python docs/scale_study.py --cells 500 --picture docs/scale.png

A field of the dataset on ever finer grids of its octant, each in a process of its own
and twice: CPU seconds of the second time, after compilation. The slopes are those of a
line through the logarithms. Then the iterations of the solver over cells of the
dataset, drawn evenly. The tables and the picture in docs/homogenizer.md come from here.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

import numpy as np

GRIDS = (16, 32, 64, 128)  # elements along the octant
MOVED = 64  # largest grid on which derivatives are taken
CELL = 4000  # of the shipped dataset
TOL = 1e-5


def one(m: int) -> dict[str, float]:
    """Return seconds and memory of a solve and a Newton step's evaluation."""
    from mmdiff.data.dataset import load_dataset
    from mmdiff.fem import accuracy
    from mmdiff.run.timing import peak_bytes
    from mmdiff.topopt import move

    psi = load_dataset().fields(CELL).astype(np.float64)

    def solve():
        _, _, info = accuracy.on_grid(psi, m, tol=TOL)
        return int(np.max(np.asarray(info.iterations)))

    iterations = solve()
    start = time.process_time()
    solve()
    found = {
        "edge": 2 * m,
        "iterations": iterations,
        "solve_s": time.process_time() - start,
        "memory_GB": peak_bytes() / 1e9,
    }
    if m <= MOVED:
        evaluate = move.make_evaluate(len(psi), m)
        evaluate(psi)
        start = time.process_time()
        evaluate(psi)
        found["step_s"] = time.process_time() - start
    return found


def iterations(count: int) -> list[int]:
    """Return the iterations of the worst load of cells spread over the dataset."""
    from mmdiff.data.dataset import load_dataset
    from mmdiff.fem import accuracy

    data = load_dataset()
    found = []
    for row in np.linspace(0, len(data.volume) - 1, count).astype(int):
        psi = data.fields(row).astype(np.float64)
        _, _, info = accuracy.on_grid(psi, data.n, tol=TOL)
        found.append(int(np.max(np.asarray(info.iterations))))
    return found


def slope(edges: list[float], values: list[float]) -> float:
    """Return the exponent of the growth."""
    return float(np.polyfit(np.log(edges), np.log(values), 1)[0])


def draw(path: pathlib.Path, rows: list[dict]) -> None:
    """Draw seconds and memory over the edge of the cell."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.2), dpi=144, layout="constrained")
    for place, (keys, label) in enumerate(
        ((("solve_s", "step_s"), "CPU seconds"), (("memory_GB",), "peak memory / GB"))
    ):
        axis = figure.add_subplot(1, 2, place + 1)
        for key in keys:
            known = [(row["edge"], row[key]) for row in rows if key in row]
            name = {"solve_s": "solve", "step_s": "Newton step"}.get(key, "process")
            axis.loglog(*zip(*known, strict=True), "o-", label=name)
        axis.set(xlabel="edge of the cell in elements", ylabel=label)
        axis.set_xticks([r["edge"] for r in rows], [str(r["edge"]) for r in rows])
        axis.minorticks_off()
        axis.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    """Print the tables, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", type=int, help="measure one grid, as JSON")
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--picture", type=pathlib.Path)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one)))
        return
    rows = []
    for m in GRIDS:
        command = [sys.executable, __file__, "--one", str(m)]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(found.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    for key in ("solve_s", "step_s", "memory_GB"):
        known = [row for row in rows if key in row][-3:]
        edges = [row["edge"] for row in known]
        print(f"{key}: edge^{slope(edges, [row[key] for row in known]):.2f}")
    if options.picture:
        draw(options.picture, rows)
    if options.cells:
        found = iterations(options.cells)
        quarters = np.percentile(found, [0, 50, 90, 99, 100])
        print(f"{len(found)} cells, iterations 0/50/90/99/100 %: {quarters}")


if __name__ == "__main__":
    main()
