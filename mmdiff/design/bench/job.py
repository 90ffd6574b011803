"""What a generated cell costs, stage by stage, in CPU seconds of one core.

    python -m mmdiff.design.bench.job 4

Started by `processes` with the number of cells. Makes them, and their files, for the
default target as `mmdiff.generate` does, one thing after the other: first with all that
is done once, then with other seeds, of which one is profiled.
"""

import cProfile
import functools
import json
import pathlib
import pstats
import sys
import tempfile
import time

import numpy as np

from mmdiff.run import environment, workers

TARGET, VOLUME = "0.110,0.045,0.040", 0.3
# Stage -> file and functions that it is made of, none of which calls another one.
STAGES = {
    "samples": ("models/sampling.py", ("draw",)),
    "fields of samples": ("cells/grey.py", ("to_field",)),
    "solves, coarse grid": ("topopt/move.py", ("evaluate",)),
    "solves, fine grid": ("fem/accuracy.py", ("estimate",)),
    "steps of surfaces": ("topopt/move.py", ("smallest_change",)),
    "mending": ("cells/mend.py", ("mend",)),
    "printing checks": ("design/generate/refine.py", ("complying",)),
    "solves, binary cell": ("fem/accuracy.py", ("of_voxels",)),
    "files and pictures": ("io/cell_files.py", ("write_entry",)),
}


def stages(profile: cProfile.Profile, cells: int) -> list[dict]:
    """Return CPU seconds and calls for each cell, by stage; the rest comes last."""
    found = pstats.Stats(profile).stats
    rows = []
    for stage, (file, names) in STAGES.items():
        own = [
            (calls, total)
            for (path, _, name), (_, calls, _, total, _) in found.items()
            if name in names and path.endswith(f"mmdiff/{file}")
        ]
        calls, seconds = np.sum(own, axis=0) / cells if own else (0.0, 0.0)
        rows.append({"stage": stage, "cpu_s": float(seconds), "calls": float(calls)})
    whole = sum(own for _, _, own, _, _ in found.values()) / cells
    rest = whole - sum(row["cpu_s"] for row in rows)
    return [*rows, {"stage": "all else", "cpu_s": rest, "calls": None}]


def main(cells: int) -> dict:
    """Return the stages, and seconds of imports, of programs and of a single cell."""
    from mmdiff.design.generate import pipeline
    from mmdiff.io.cell_files import CellEntry, write_entry
    from mmdiff.targets.target import parse

    imported = time.process_time()
    target = parse(TARGET, volume=VOLUME)
    make = functools.partial(pipeline.generate, target, num_samples=2 * cells)

    def job(seed, folder):
        found = make(num_cells=cells, seed=seed)
        for i, cell in enumerate(found):
            fields = {"voxels": cell.voxels, "psi": cell.psi}
            entry = CellEntry(name=f"cell_{i}", label="", **fields)
            write_entry(folder, entry, 10.0, "")
        return len(found)

    with tempfile.TemporaryDirectory() as name:
        folder, marks = pathlib.Path(name), [time.process_time()]
        for seed in (0, 1):
            job(seed, folder)
            marks.append(time.process_time())
        profile = cProfile.Profile(time.process_time)
        made = profile.runcall(job, 2, folder)
    first, second = marks[1] - marks[0], marks[2] - marks[1]
    one = functools.partial(pipeline.generate, target, num_cells=1, num_samples=2)
    one()
    seconds = []
    for seed in range(3, 8):
        start = time.perf_counter()
        one(seed=seed)
        seconds.append(time.perf_counter() - start)
    return {
        "cells": cells,
        "imports_cpu_s": imported,
        "programs_cpu_s": first - second,
        "job_cpu_s": second,
        "one_cell_s": sorted(seconds)[2],
        "stages": stages(profile, made),
    }


if __name__ == "__main__":
    environment.silence_xla()
    workers.claim_core()
    environment.enable_compilation_cache()
    print(json.dumps(main(*map(int, sys.argv[1:]))))
