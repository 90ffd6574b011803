"""Small datasets made by hand, for the tests that read one."""

import numpy as np
from scipy import ndimage

from mmdiff.cells import distance, surface
from mmdiff.cells.symmetry import num_independent, symmetrize
from mmdiff.data import store

BASE = {"E": 1.0, "nu": 0.3, "void": 1e-6, "penal": 3.0, "tol": 1e-5}
# What a record says of a cell that leaves nothing to wish for.
RECORD = {
    "uncertainty": [0.003, 0.002, 0.001],
    "trapped": 0.0,
    "wall": 0.06,
    "gap": 0.05,
    "asked_drainable": True,
    "residual": 1e-6,
}


def random_packed(n, count, seed=0):
    """Return packed cells int8 (count, m) without a surface: any numbers."""
    rng = np.random.default_rng(seed)
    return rng.integers(-127, 128, (count, num_independent(n)), np.int8)


def smooth_fields(n, shares, seed=0):
    """Return random smooth cubic fields (N, n, n, n) of about these volumes."""
    rng = np.random.default_rng(seed)
    fields = []
    for share in shares:
        noise = ndimage.gaussian_filter(rng.normal(size=(n,) * 3), n / 8)
        smooth = symmetrize(noise / abs(noise).max())
        fields.append(surface.to_volume(smooth, share))
    return np.stack(fields)


def write_cells(root, packed, constants, records, *, n, volume=None, rejected=None):
    """Write a dataset of one full shard; returns its labels.

    Args:
      root: `data.zarr` directory to make.
      packed: int8 (N, m), see `cells.distance`.
      constants: (N, 3).
      records: one for each; what is missing of `RECORD` is added.
      n: samples along the octants.
      volume: (N,), None for that of the voxels.
      rejected: counts by reason.
    """
    if volume is None:
        volume = (distance.unpack(packed, n) > 0).mean((1, 2, 3))
    store.create(root, n=n, shards=1, shard_size=len(packed), base=BASE, recipe={})
    cells = {"packed": packed, "constants": constants, "volume": volume}
    records = [{**RECORD, **record} for record in records]
    store.write_shard(root, 0, **cells, records=records, rejected=rejected or {})
    return store.read_labels(root)


def write_noise(root, splits, *, n=8, power=1, selected=None):
    """Write smooth random cells: what training reads does not depend on them.

    Args:
      root: `data.zarr` directory to make.
      splits: 0, 1 or 2 for each cell.
      n: samples along the octants.
      power: of the volume, to which the constants are in proportion.
      selected: ids of the property-uniform subset, None for no choice.
    """
    shares = np.random.default_rng(0).uniform(0.2, 0.8, len(splits))
    packed = distance.pack(smooth_fields(n, shares))
    volume = (distance.unpack(packed, n) > 0).mean((1, 2, 3))
    constants = volume[:, None] ** power * np.array([1.0, 0.4, 0.3])
    records = [{"id": i, "split": split} for i, split in enumerate(splits)]
    write_cells(root, packed, constants, records, n=n, volume=volume)
    if selected is not None:
        store.write_selection(root, {"duplicates": [], "selected": selected})
    return root
