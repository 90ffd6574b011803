"""A dataset as arrays: every accepted cell with its tensor, volume and provenance."""

import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mmdiff import assets, checksums
from mmdiff.cells import distance
from mmdiff.cells.symmetry import spread
from mmdiff.cells.voxels import agreement, pack
from mmdiff.data import store
from mmdiff.data.select import TRAIN
from mmdiff.errors import DataError
from mmdiff.typing import Bool, Float, Int, Int8, UInt8


class Dataset(NamedTuple):
    """Cells as level-set fields with as many samples each, duplicates left out.

    Attributes:
      packed: (N, m) independent samples in 8 bits, see `cells.distance`.
      constants: (N, 3) C11, C12, C44 of the surfaces for base E = 1.
      volume: (N,) solid fractions.
      info: "n" (samples along the octants), "uncertainty" (N, 3) of the constants,
        "split" (N,) (0 train, 1 validation, 2 test), "selected" (N,) (whether a cell is
        in the property-uniform subset; all are where none was chosen), "base" (material
        and void of the tensors), "records", "manifests" and "skipped", the messages of
        damaged shards.
    """

    packed: Int8[np.ndarray, "N m"]
    constants: Float[np.ndarray, "N 3"]
    volume: Float[np.ndarray, "N"]
    info: dict[str, Any]

    @property
    def n(self) -> int:
        """Samples along the octants."""
        return self.info["n"]

    @property
    def drainable(self) -> Bool[np.ndarray, "N"]:
        """Whether the void of each cell is one open piece."""
        return np.array([r["trapped"] == 0 for r in self.info["records"]], bool)

    def fields(self, rows=slice(None)) -> Float[np.ndarray, "*k n n n"]:
        """Return the fields (`cells.surface`) of all cells or some."""
        return distance.unpack(self.packed[rows], self.n)

    def octants(self, rows=slice(None)) -> UInt8[np.ndarray, "*k n n n"]:
        """Return the binary octants of n^3 voxels, of all cells or some."""
        return spread((self.packed[rows] > 0).astype(np.uint8), self.n)


def load_dataset(path: str | os.PathLike = "", *, skip_bad: bool = False) -> Dataset:
    """Return every accepted cell of a dataset, duplicates left out.

    Args:
      path: a `data.zarr` directory, or the directory that holds it; empty for the
        shipped cells.
      skip_bad: leave damaged shards out instead of raising.

    Raises:
      DataError: if there is none, or it is damaged.

    Example:
      >>> data = mm.load_dataset()
      >>> data.fields([0]).shape, data.constants.shape[1:]
      ((1, 32, 32, 32), (3,))
      >>> psi = data.fields(0)  # an int gives one field, (n, n, n)
    """
    root = _root(path or assets.dataset_path())
    if not (root / "layout.json").exists():
        raise DataError(
            f"no dataset at {root}. Make one with configs/dataset.py first, or leave "
            "`data` empty to use the shipped cells."
        )
    _check_content(root, skip_bad)
    layout, manifests = store.read_layout(root), []
    parts, records, skipped = [], [], []
    for number in store.finished(root):
        try:
            [manifest] = store.read_manifests(root, [number])
            parts.append(store.read_shard(root, manifest))
            manifests.append(manifest)
            records += manifest["records"]
        except DataError as error:
            if not skip_bad:
                raise
            skipped.append(str(error))
    if not records:
        raise DataError(
            f"{root} holds no cells: {len(manifests)} shards are finished and none has "
            "an accepted cell. Rerun configs/dataset.py to finish it."
        )
    chosen = store.read_selection(root)
    ids = np.array([record["id"] for record in records])
    keep = np.flatnonzero(~np.isin(ids, chosen.get("duplicates", [])))
    selected = np.isin(ids, chosen["selected"]) if chosen else np.ones(len(ids), bool)
    records = [records[i] for i in keep]
    info = {
        "n": layout["n"],
        "base": layout["base"],
        "uncertainty": np.array([record["uncertainty"] for record in records]),
        "records": records,
        "manifests": manifests,
        "split": np.array([record["split"] for record in records], int),
        "selected": selected[keep],
        "skipped": skipped,
    }
    arrays = (np.concatenate(column)[keep] for column in zip(*parts, strict=True))
    return Dataset(*arrays, info)


def _check_content(root: pathlib.Path, skip_bad: bool) -> None:
    """Raise DataError where files of a closed dataset are not as they were written.

    Where bad shards are skipped their manifests are left to whoever reads them.
    """
    for name, text in checksums.flaws(root / store.CONTENT).items():
        if not (skip_bad and name.startswith("manifests/")):
            raise DataError(
                f"{root / name} {text}. Rerun configs/dataset.py with the same "
                "--workdir to mend it, or copy the dataset again."
            )


def octants_in_parts(
    data: Dataset, rows: Int[np.ndarray, "k"] | None = None, *, size: int = 512
) -> Iterator[UInt8[np.ndarray, "s n n n"]]:
    """Yield the octants of all cells, or of some rows, so many at once at most."""
    rows = np.arange(len(data.volume)) if rows is None else rows
    for start in range(0, len(rows), size):
        yield data.octants(rows[start : start + size])


def training_cells(data: Dataset, *, selected: bool = False) -> Bool[np.ndarray, "N"]:
    """Return which cells, or `selected` ones, a network may be trained on."""
    chosen = data.info["split"] == TRAIN
    if selected:
        chosen &= data.info["selected"]
    if not chosen.any():
        raise DataError(
            f"the dataset has no training cells among its {len(chosen)} cells. "
            "Generate it again with configs/dataset.py."
        )
    return chosen


def distinct(
    data: Dataset, order: Int[np.ndarray, "k"], *, count: int, alike: float
) -> list[int]:
    """Return the first `count` rows of an order without those like an earlier one.

    Two cells count as one from a share `alike` of equal voxels, also after a shift by
    half a period.
    """
    chosen: list[int] = []
    for row in order.tolist():
        if len(chosen) == count:
            break
        if chosen:
            same = agreement(
                data.octants(row), pack(data.octants(chosen)), half_shift=True
            )
            if same.max() >= alike:
                continue
        chosen.append(row)
    return chosen


def is_dataset(path: str | os.PathLike) -> bool:
    """Whether a folder is a dataset of `mmdiff.data.store`, or holds one."""
    return (_root(path) / "layout.json").is_file()


def _root(path: str | os.PathLike) -> pathlib.Path:
    root = pathlib.Path(path)
    return root / "data.zarr" if (root / "data.zarr").is_dir() else root


def compact(
    labels: store.Labels,
    index: Int[np.ndarray, "k"],
    destination: pathlib.Path,
    *,
    shard_size: int = 1024,
) -> None:
    """Copy some cells into a dataset of few large shards; all of them are selected.

    Nothing is said there of rejected candidates.
    """
    layout = store.read_layout(labels.root)
    shards = -(-len(index) // shard_size)
    size = {"n": labels.n, "shards": shards, "shard_size": shard_size}
    kind = {name: layout[name] for name in ("base", "recipe")}
    store.create(destination, **size, **kind)
    for shard in range(shards):
        rows = index[shard * shard_size : (shard + 1) * shard_size]
        store.write_shard(
            destination,
            shard,
            packed=labels.packed(rows),
            constants=labels.constants[rows],
            volume=labels.volume[rows],
            records=[labels.records[i] for i in rows],
            rejected={},
        )
    training = index[labels.split[index] == TRAIN]
    ids = [labels.records[i]["id"] for i in training]
    store.write_selection(destination, {"duplicates": [], "selected": ids})
