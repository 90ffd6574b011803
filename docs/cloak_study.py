"""Why a resolved slab distorts more than its tensors promise: one thing at a time.

    python docs/cloak_study.py STATE [body, isotropic] [cells, 12]

STATE is the folder `state` of a run of configs/cloak.py, whose pool is used. A slab of
cells is cloaked (`mmdiff.design.cloak.resolved`), designed with one element a cell and
with several, and each promise is compared with the same cells resolved, at first by as
many elements along a cell as samples along its octant. Distortions in percent; `off` is
the difference of the displacements, over all cells but the hole.
"""

import pathlib
import sys
import tempfile
import time

import numpy as np

from mmdiff.cells.symmetry import gather_independent
from mmdiff.data import dataset
from mmdiff.design.cloak import case as cases
from mmdiff.design.cloak import resolved
from mmdiff.design.cloak.case import Case
from mmdiff.design.cloak.geometry import geometry, gripped
from mmdiff.design.cloak.model import make_model
from mmdiff.design.cloak.pool import Pool
from mmdiff.elasticity import voigt_to_cubic
from mmdiff.fem import accuracy
from mmdiff.run import environment

LIMITS = {"steps": 120, "exchanges": 60, "own_cells": 0}
SEVERAL = 3  # elements along a cell's tensor where there are more than one


def designed(pool, shape, elements, folder):
    """Return the labels of a slab designed with so many elements along a cell."""
    box = geometry(shape, "cylinder", elements=elements)
    loads = gripped(tuple(elements * n for n in shape))._replace(name=f"{elements}")
    case = Case("cylinder", "study", loads, box, pool)
    model = make_model(box, loads)(pool.constants[-1])
    found = cases.find(case, model, folder, **LIMITS)
    return resolved.labels(box, found.choice.pick, pool)


def unfitted(pool, labels, data, edge):
    """Return the pool with the cells of the dataset, whose faces do not fit."""
    samples, constants = pool.samples.copy(), pool.constants.copy()
    for row in np.unique(labels):
        if row >= 0 and pool.number[row] >= 0:
            psi = data.fields(int(pool.number[row]))
            samples[row] = gather_independent(psi)
            tensor, *_ = accuracy.on_grid(psi, edge // 2)
            constants[row] = voigt_to_cubic(np.asarray(tensor, np.float64))
    return pool._replace(samples=samples, constants=constants)


def show(name, pool, shape, labels, elements, edge):
    """Print one line: what is promised and what is kept."""
    begun = time.perf_counter()
    box = geometry(shape, "cylinder", elements=elements)
    found = resolved.check(box, labels, pool, edge)
    numbers = [100 * x for pair in found[:3] for x in pair]
    columns = " ".join(f"{x:8.3f}" for x in numbers)
    print(f"{name:44s} {columns} {time.perf_counter() - begun:6.0f} s", flush=True)


def doubled(labels):
    """Return labels with each cell replaced by two times two of its kind."""
    return tuple(label.repeat(2, 0).repeat(2, 1) for label in labels)


def main(state, body="isotropic", cells=12):
    """Print the table."""
    environment.enable_compilation_cache()
    data = dataset.load_dataset()
    with np.load(pathlib.Path(state) / f"pool_{body}.npz") as file:
        surfaces = Pool(*(file[name] for name in Pool._fields))
    edge, shape, k = data.n, (cells, cells, 1), SEVERAL
    pool = surfaces.on_grid(edge)
    heads = ("promised", "cloak", "resolved", "cloak", "off", "cloak")
    print(" " * 44, " ".join(f"{head:>8s}" for head in heads))
    with tempfile.TemporaryDirectory() as folder:
        plain = designed(pool, shape, 1, pathlib.Path(folder))
        fine = designed(pool, shape, k, pathlib.Path(folder))
    show("one element a cell", pool, shape, plain, 1, edge)
    show("  two in the promise alone", pool, shape, plain, 2, edge)
    show("  three", pool, shape, plain, 3, edge)
    show(f"designed with {k} elements a cell", pool, shape, fine, k, edge)
    show("  tensors of surfaces, not of the grid", surfaces, shape, fine, k, edge)
    finer = surfaces.on_grid(2 * edge)
    show("  resolved twice as fine", finer, shape, fine, k, 2 * edge)
    wide = (2 * cells, 2 * cells, 1)
    show("  each cell two by two", pool, wide, doubled(fine), k, edge)
    raw = unfitted(pool, np.stack(fine), data, edge)
    show("  faces that do not fit", raw, shape, fine, k, edge)


if __name__ == "__main__":
    main(sys.argv[1], *sys.argv[2:3], *map(int, sys.argv[3:]))
