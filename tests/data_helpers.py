"""Small datasets made by hand, for the tests that read one."""

import numpy as np

from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.data import store

BASE = {"E": 1.0, "nu": 0.3, "void": 1e-6, "penal": 3.0, "tol": 1e-5}


def write_cells(root, octants, constants, records, rejected=None):
    """Write a dataset of one full shard; returns its labels.

    Args:
      root: `data.zarr` directory to make.
      octants: uint8 (N, n, n, n).
      constants: (N, 3).
      records: one for each.
      rejected: counts by reason.
    """
    count, n = len(octants), octants.shape[-1]
    store.create(root, n=n, shards=1, shard_size=count, base=BASE, recipe={})
    cells = {"octants": octants, "constants": constants, "records": records}
    store.write_shard(root, 0, **cells, rejected=rejected or {})
    return store.read_labels(root)


def write_noise(root, splits, *, n=8, power=1, selected=None):
    """Write cells of noise: what training reads does not depend on them.

    Args:
      root: `data.zarr` directory to make.
      splits: 0, 1 or 2 for each cell.
      n: voxels per side of the octants.
      power: of the volume, to which the constants are in proportion.
      selected: ids of the property-uniform subset, None for no choice.
    """
    rng, count = np.random.default_rng(0), len(splits)
    shares = rng.uniform(0.2, 0.8, count)
    octants = [threshold_to_volume(rng.random((n, n, n)), share) for share in shares]
    octants = np.stack(octants)
    volume = octants.mean((1, 2, 3))[:, None]
    constants = volume**power * np.array([1.0, 0.4, 0.3])
    records = [{"id": i, "split": split} for i, split in enumerate(splits)]
    write_cells(root, octants, constants, records)
    if selected is not None:
        store.write_selection(root, {"duplicates": [], "selected": selected})
    return root
