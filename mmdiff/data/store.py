"""Dataset files: zarr v3 through tensorstore, one shard per owner, manifest last.

Each shard of the arrays `octant`, `constants` and `volume` is written whole by one
process; its manifest, a small JSON file put in place by rename, follows. Readers trust
manifests only, so a killed writer leaves nothing that counts. Chunks and shard indices
carry a crc32c: a flipped byte raises an error that names the shard.
"""

import hashlib
import json
import os
import pathlib

import numpy as np
import tensorstore as ts

from mmdiff.errors import DataError

FORMAT = 1


def _spec(root: pathlib.Path, name: str, shape, shard, dtype: str) -> dict:
    inner = [1, *shape[1:]] if len(shape) == 4 else [shard, *shape[1:]]
    itemsize = np.dtype(dtype).itemsize
    return {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": str(root / name)},
        "metadata": {
            "shape": list(shape),
            "data_type": dtype,
            "fill_value": 0,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [shard, *shape[1:]]},
            },
            "codecs": [
                {
                    "name": "sharding_indexed",
                    "configuration": {
                        "chunk_shape": inner,
                        "codecs": [
                            {"name": "bytes", "configuration": {"endian": "little"}},
                            {
                                "name": "blosc",
                                "configuration": {
                                    "cname": "zstd",
                                    "clevel": 5,
                                    "shuffle": "bitshuffle",
                                    "typesize": itemsize,
                                    "blocksize": 0,
                                },
                            },
                            {"name": "crc32c"},
                        ],
                        "index_codecs": [
                            {"name": "bytes", "configuration": {"endian": "little"}},
                            {"name": "crc32c"},
                        ],
                    },
                }
            ],
        },
    }


def create(
    root: pathlib.Path, *, n: int, shards: int, shard_size: int, base: dict
) -> None:
    """Create an empty dataset, or check that an existing one has the same layout.

    Args:
      root: directory `data.zarr`.
      n: voxels per side of the octants.
      shards: number of shards the arrays have room for.
      shard_size: cells per shard.
      base: what the tensors are for: E, nu, void, penal, tol.

    Raises:
      DataError: if a dataset of another layout is there.
    """
    layout = {
        "format": FORMAT,
        "n": n,
        "shards": shards,
        "shard_size": shard_size,
        "base": base,
    }
    path = root / "layout.json"
    if path.exists():
        found = _read_json(path)
        if found != layout:
            raise DataError(
                f"{root} holds a dataset of layout {found}, this run makes {layout}. "
                "Choose another --workdir."
            )
        return
    (root / "manifests").mkdir(parents=True, exist_ok=True)
    rows = shards * shard_size
    for name, shape, dtype in (
        ("octant", (rows, n, n, n), "uint8"),
        ("constants", (rows, 3), "float64"),
        ("volume", (rows,), "float64"),
    ):
        spec = _spec(root, name, shape, shard_size, dtype)
        ts.open(spec, create=True, open=True).result()
    _write_text(
        root / "zarr.json", json.dumps({"zarr_format": 3, "node_type": "group"})
    )
    _write_text(path, json.dumps(layout))


def _write_text(path: pathlib.Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def _read_json(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing: that part of the dataset is not finished. "
            "Rerun configs/dataset.py to make it."
        ) from error
    except ValueError as error:
        raise DataError(
            f"{path} is damaged ({_first_line(error)}). Delete it and rerun "
            "configs/dataset.py to rebuild what it stands for."
        ) from error


def _open(root: pathlib.Path, name: str):
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": str(root / name)},
    }
    try:
        return ts.open(spec, open=True).result()
    except ValueError as error:
        raise DataError(
            f"no dataset at {root}: {name} cannot be opened ({_first_line(error)}). "
            "Run --config=configs/dataset.py to make one."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].split(" [tensorstore_spec=")[0][:200]


def manifest_path(root: pathlib.Path, shard: int) -> pathlib.Path:
    """Return where the manifest of a shard lies."""
    return root / "manifests" / f"shard_{shard:05d}.json"


def content_hash(octants: np.ndarray, constants: np.ndarray) -> str:
    """Return the SHA-256 of the cells and tensors of a shard."""
    digest = hashlib.sha256(np.ascontiguousarray(octants, np.uint8).tobytes())
    digest.update(np.ascontiguousarray(constants, "<f8").tobytes())
    return digest.hexdigest()


def write_shard(
    root: pathlib.Path,
    shard: int,
    *,
    octants: np.ndarray,
    constants: np.ndarray,
    records: list[dict],
    rejected: dict[str, int],
) -> None:
    """Write one shard: its arrays, then its manifest.

    Args:
      root: dataset directory.
      shard: shard number; this process alone owns it.
      octants: (k, n, n, n) accepted cells, k at most the shard size.
      constants: (k, 3) their C11, C12, C44.
      records: provenance of each, plain JSON values.
      rejected: counts of rejected candidates by reason.
    """
    layout = _read_json(root / "layout.json")
    size, n, count = layout["shard_size"], layout["n"], len(octants)
    rows = slice(shard * size, (shard + 1) * size)
    full = np.zeros((size, n, n, n), np.uint8)
    full[:count] = octants
    tensors = np.zeros((size, 3))
    tensors[:count] = constants
    _open(root, "octant")[rows].write(full).result()
    _open(root, "constants")[rows].write(tensors).result()
    _open(root, "volume")[rows].write(full.mean((1, 2, 3))).result()
    manifest = {
        "shard": shard,
        "count": count,
        "sha256": content_hash(full[:count], tensors[:count]),
        "rejected": rejected,
        "records": records,
    }
    _write_text(manifest_path(root, shard), json.dumps(manifest))


def read_manifests(root: pathlib.Path, shards=None) -> list[dict]:
    """Return the manifests of the finished shards, in order.

    Args:
      root: dataset directory.
      shards: shard numbers to read; all finished ones when None.

    Raises:
      DataError: naming the file, if a manifest is missing or damaged.
    """
    if shards is None:
        paths = sorted((root / "manifests").glob("shard_*.json"))
    else:
        paths = [manifest_path(root, shard) for shard in shards]
    return [_read_json(path) for path in paths]


def read_shards(root: pathlib.Path, manifests: list[dict]):
    """Return octants (N, n, n, n), constants (N, 3), volume (N,) of finished shards.

    Raises:
      DataError: naming the shard file, if its checksum fails.
    """
    layout = _read_json(root / "layout.json")
    arrays = {name: _open(root, name) for name in ("octant", "constants", "volume")}
    parts = {name: [] for name in arrays}
    for manifest in manifests:
        shard, count = manifest["shard"], manifest["count"]
        start = shard * layout["shard_size"]
        for name, array in arrays.items():
            try:
                rows = array[start : start + count].read().result()
            except ValueError as error:
                file = "/".join(["c", str(shard)] + ["0"] * (array.rank - 1))
                raise DataError(
                    f"{root.name} shard {name}/{file} fails its checksum; {count} "
                    "cells are unreadable. Delete the file and the manifest "
                    f"{manifest_path(root, shard).name} and rerun configs/dataset.py "
                    "to rebuild only that shard."
                ) from error
            parts[name].append(np.asarray(rows))
        found = content_hash(parts["octant"][-1], parts["constants"][-1])
        # A shard file that is gone reads as zeros; the hash leaves the volume out.
        filled = parts["octant"][-1].mean((1, 2, 3))
        same = np.array_equal(parts["volume"][-1], filled)
        if found != manifest["sha256"] or not same:
            raise DataError(
                f"{root.name} shard {shard} does not match the hash in its manifest. "
                f"Delete {manifest_path(root, shard)} and rerun configs/dataset.py to "
                "rebuild only that shard."
            )
    n = layout["n"]
    empty = {
        "octant": np.zeros((0, n, n, n), np.uint8),
        "constants": np.zeros((0, 3)),
        "volume": np.zeros((0,)),
    }
    return tuple(np.concatenate([empty[name], *parts[name]]) for name in arrays)


def read_dataset(path):
    """Return every accepted cell of a dataset.

    Args:
      path: a `data.zarr` directory, or the directory that holds it.

    Returns:
      octants uint8 (N, n, n, n), constants float64 (N, 3), volume float64 (N,) and a
      dict with "split" (N,) (0 train, 1 validation, 2 test), "base" (material and void
      of the tensors), "records" and "manifests".

    Raises:
      DataError: if there is none, or it is damaged.
    """
    root = pathlib.Path(path)
    if (root / "data.zarr").is_dir():
        root = root / "data.zarr"
    if not (root / "layout.json").exists():
        raise DataError(
            f"no dataset at {root}. Run --config=configs/dataset.py --workdir=out/data "
            "first, or leave --config.data empty to use the shipped cells."
        )
    manifests = read_manifests(root)
    octants, constants, volume = read_shards(root, manifests)
    if not len(octants):
        raise DataError(
            f"{root} holds no cells: {len(manifests)} shards are finished and none has "
            "an accepted cell. Rerun configs/dataset.py to finish it."
        )
    records = [record for manifest in manifests for record in manifest["records"]]
    # The same cell can come out of two shards that were made side by side.
    _, first = np.unique(
        np.packbits(octants.reshape(len(octants), -1), axis=1),
        axis=0,
        return_index=True,
    )
    keep = np.sort(first)
    records = [records[i] for i in keep]
    info = {
        "base": _read_json(root / "layout.json")["base"],
        "records": records,
        "manifests": manifests,
        "split": np.array([record["split"] for record in records], int),
    }
    return octants[keep], constants[keep], volume[keep], info


def compact(source, destination: pathlib.Path, *, shard_size: int = 1024) -> None:
    """Copy a finished dataset into few large shards, for shipping.

    Args:
      source: as for `read_dataset`.
      destination: new `data.zarr` directory.
      shard_size: cells per shard of the copy.
    """
    octants, constants, _, info = read_dataset(source)
    rejected: dict[str, int] = {}
    for manifest in info["manifests"]:
        for reason, count in manifest["rejected"].items():
            rejected[reason] = rejected.get(reason, 0) + count
    shards = -(-len(octants) // shard_size)
    n = octants.shape[-1]
    create(destination, n=n, shards=shards, shard_size=shard_size, base=info["base"])
    for shard in range(shards):
        rows = slice(shard * shard_size, (shard + 1) * shard_size)
        write_shard(
            destination,
            shard,
            octants=octants[rows],
            constants=constants[rows],
            records=info["records"][rows],
            # The counts belong to the whole set; they stand once.
            rejected=rejected if shard == 0 else {},
        )
