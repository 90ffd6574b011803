"""How many labelled cells an hour gives, beside finite elements alone.

    python -m mmdiff.design.bench.shards 64 16

Started by `processes` with the edge of the cells and the candidates of a shard. Makes a
small dataset twice with one worker on every core, as `configs/dataset.py` does; the
second one, with everything compiled, is timed.
"""

import dataclasses
import json
import pathlib
import sys
import tempfile
import time

from mmdiff.run import environment, workers

AIMS = ("bulk_shear", "poisson", "everywhere")


def main(edge: int, size: int) -> dict:
    """Return candidates, seconds and overhead of optimized and perturbed shards."""
    from mmdiff.data import pipeline, shard, store, tables
    from mmdiff.data.recipe import Optimized, Perturbed, Recipe

    count = environment.cores()
    recipe = Recipe(
        n=edge // 2,
        shard_size=size,
        optimized=Optimized(count * size, 0, count * size, 0, 0, 0),
        perturbed=Perturbed(4 * count * size, (), ()),
    )
    rates = {}
    with tempfile.TemporaryDirectory() as folder, workers.local_pool(count) as pool:
        for seed in (1, 0):
            root = pathlib.Path(folder) / str(seed) / "data.zarr"
            recipe = dataclasses.replace(recipe, seed=seed)
            shard.create(recipe, root)
            for aim in AIMS:
                numbers = [i for i, s in enumerate(recipe.plan()) if s.kind == aim]
                start = time.perf_counter()
                list(pool.map(pipeline.shard_unit, [root] * len(numbers), numbers))
                seconds = time.perf_counter() - start
                made = sum(m["count"] for m in store.read_manifests(root, numbers))
                rates[aim] = {"cells": made, "cells_per_hour": 3600 * made / seconds}
        rows = tables.throughput(
            store.read_timings(root), store.read_manifests(root), recipe
        )
    for row in rows:
        rates[row["kind"]] |= row
    return {"edge": edge, "workers": count, "kinds": rates}


if __name__ == "__main__":
    environment.silence_xla()
    environment.enable_compilation_cache()
    print(json.dumps(main(*map(int, sys.argv[1:]))))
