"""Dataset files: zarr v3 through tensorstore, one shard per owner, manifest last.

A cell is a level-set field, of which the independent samples are kept in 8 bits
(`cells.distance`). Each shard of the arrays `field`, `constants` and `volume` is
written whole by one process; its manifest, a small JSON file put in place by rename,
follows. Readers trust manifests only, so a killed writer leaves nothing that counts.
Chunks and shard indices carry a crc32c: a flipped byte raises an error that names the
shard. Manifests carry their own digest, `content.sha256` those of all JSON files.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorstore as ts

from mmdiff import checksums, places
from mmdiff.cells import distance
from mmdiff.cells.symmetry import num_independent
from mmdiff.errors import DataError
from mmdiff.io.json import write_json
from mmdiff.io.write import write_bytes
from mmdiff.typing import Bool, Float, Int, Int8

FORMAT = 3
ARRAYS = ("field", "constants", "volume")
CONTENT = "content.sha256"
_KEYS = {"shard", "count", "sha256", "rejected", "records"}  # of a manifest


def _spec(root: pathlib.Path, name: str) -> dict:
    file = {"driver": "file", "path": str(root / name)}
    return {"driver": "zarr3", "kvstore": file}


def _metadata(shape, shard: int, dtype: str) -> dict:
    """Return the zarr metadata of an array: checked chunks, fields one by one."""

    def named(name, **configuration):
        return {"name": name, "configuration": configuration}

    rest = shape[1:]
    size = np.dtype(dtype).itemsize
    inner = [1 if size == 1 else shard, *rest]
    shuffle = "noshuffle" if size == 1 else "shuffle"
    blosc = {"cname": "zstd", "clevel": 9, "shuffle": shuffle, "blocksize": 0}
    number, crc = named("bytes", endian="little"), {"name": "crc32c"}
    codecs = [number, named("blosc", typesize=size, **blosc), crc]
    sharding = {"chunk_shape": inner, "codecs": codecs, "index_codecs": [number, crc]}
    return {
        "shape": list(shape),
        "data_type": dtype,
        "fill_value": 0,
        "chunk_grid": named("regular", chunk_shape=[shard, *rest]),
        "codecs": [named("sharding_indexed", **sharding)],
    }


def create(
    root: pathlib.Path,
    *,
    n: int,
    shards: int,
    shard_size: int,
    base: Mapping[str, float],
    recipe: Mapping[str, Any],
) -> None:
    """Create an empty dataset, or check that an existing one is of the same recipe.

    It has room for `shards` shards of `shard_size` fields of n samples a side; the base
    holds E, nu, void, penal and tol of the tensors, the recipe plain JSON values.
    """
    layout = {"format": FORMAT, "n": n, "shards": shards, "shard_size": shard_size}
    layout |= {"base": base, "recipe": recipe}
    path = root / "layout.json"
    if path.exists():
        found = read_layout(root)
        for key in layout:
            if found.get(key) != layout[key]:
                raise DataError(
                    f"{root} holds another dataset: its {key} is {found.get(key)}, "
                    f"this run has {layout[key]}. Choose another --workdir."
                )
        return
    places.check(root / "layout.json")
    (root / "manifests").mkdir(parents=True, exist_ok=True)
    (root / "timings").mkdir(exist_ok=True)
    rows = shards * shard_size
    for name, shape, dtype in (
        ("field", (rows, num_independent(n)), "int8"),
        ("constants", (rows, 3), "float64"),
        ("volume", (rows,), "float64"),
    ):
        metadata = _metadata(shape, shard_size, dtype)
        spec = _spec(root, name) | {"metadata": metadata}
        ts.open(spec, create=True, open=True).result()
    write_json(root / "zarr.json", {"zarr_format": 3, "node_type": "group"})
    write_json(path, layout)


def read_layout(root: pathlib.Path) -> dict[str, Any]:
    """Return layout.json: sizes, base material and recipe of a dataset."""
    layout = _read_json(root / "layout.json")
    if layout.get("format") != FORMAT:
        raise DataError(
            f"{root} is of format {layout.get('format')}, this version reads format "
            f"{FORMAT}. Make it again with configs/dataset.py."
        )
    return layout


def _read_json(path: pathlib.Path) -> dict:
    try:
        return {**json.loads(path.read_text())}
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing: that part of the dataset is not finished. "
            "Rerun configs/dataset.py to make it."
        ) from error
    except (ValueError, TypeError) as error:  # TypeError: a list, or a number
        raise DataError(
            f"{path} is damaged ({_first_line(error)}). Delete it and rerun "
            "configs/dataset.py to rebuild it."
        ) from error


def _open(root: pathlib.Path, name: str):
    try:
        return ts.open(_spec(root, name), open=True).result()
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


def content_hash(
    packed: Int8[np.ndarray, "k m"],
    constants: Float[np.ndarray, "k 3"],
    volume: Float[np.ndarray, "k"],
) -> str:
    """Return the SHA-256 of fields, tensors and volumes of a shard."""
    digest = hashlib.sha256(np.ascontiguousarray(packed, np.int8).tobytes())
    for numbers in (constants, volume):
        digest.update(np.ascontiguousarray(numbers, "<f8").tobytes())
    return digest.hexdigest()


def dataset_hash(manifests: Iterable[Mapping[str, Any]]) -> str:
    """Return the SHA-256 over cells, tensors and records of all shards, in order."""
    texts = [json.dumps(manifest, sort_keys=True) for manifest in manifests]
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def write_shard(
    root: pathlib.Path,
    shard: int,
    *,
    packed: Int8[np.ndarray, "k m"],
    constants: Float[np.ndarray, "k 3"],
    volume: Float[np.ndarray, "k"],
    records: list[dict],
    rejected: dict[str, int],
    timing: Mapping[str, float] | None = None,
) -> None:
    """Write one shard, which this process alone owns: its arrays, then its manifest.

    Of at most as many cells as a shard has rows, with records of their provenance, and
    counts of rejected candidates by reason. The seconds by stage (`timing`) stand apart
    from the manifest, which is the same whoever made the shard.
    """
    layout = read_layout(root)
    size, n, count = layout["shard_size"], layout["n"], len(packed)
    rows = slice(shard * size, (shard + 1) * size)
    for name, part, shape, dtype in (
        ("field", packed, (size, num_independent(n)), np.int8),
        ("constants", constants, (size, 3), np.float64),
        ("volume", volume, (size,), np.float64),
    ):
        full = np.zeros(shape, dtype)
        full[:count] = part
        _open(root, name)[rows].write(full).result()
    if timing:
        write_json(_timing_path(root, shard), dict(timing))
    manifest = {
        "shard": shard,
        "count": count,
        "sha256": content_hash(packed, constants, volume),
        "rejected": rejected,
        "records": records,
    }
    manifest["digest"] = dataset_hash([manifest])
    write_json(manifest_path(root, shard), manifest, indent=None)


def read_manifests(
    root: pathlib.Path, shards: Iterable[int] | None = None
) -> list[dict]:
    """Return the manifests of some shards, or of all finished ones, in order."""
    chosen = finished(root) if shards is None else shards
    return [_read_manifest(manifest_path(root, shard)) for shard in chosen]


def finished(root: pathlib.Path) -> list[int]:
    """Return the shards that are finished, in order."""
    paths = (root / "manifests").glob("shard_*.json")
    return sorted(int(path.stem.removeprefix("shard_")) for path in paths)


def _read_manifest(path: pathlib.Path) -> dict:
    manifest = _read_json(path)
    digest = manifest.pop("digest", None)  # those of an earlier version have none
    if digest in (None, dataset_hash([manifest])) and manifest.keys() == _KEYS:
        return manifest
    raise DataError(
        f"{path} is damaged: it does not match its own digest. Rerun "
        "configs/dataset.py with the same --workdir to rebuild its shard."
    )


def read_timings(
    root: pathlib.Path, shards: Iterable[int] | None = None
) -> dict[int, dict[str, float]]:
    """Return the seconds by stage of some finished shards, or all, if noted."""
    chosen = finished(root) if shards is None else shards
    noted = [shard for shard in chosen if _timing_path(root, shard).exists()]
    return {shard: read_timing(root, shard) for shard in noted}


def read_timing(root: pathlib.Path, shard: int) -> dict[str, float]:
    """Return the seconds by stage of one finished shard."""
    return _read_json(_timing_path(root, shard))


def _timing_path(root, shard):
    return root / "timings" / f"shard_{shard:05d}.json"


@dataclasses.dataclass(frozen=True)
class Labels:
    """Cells, by their rows in the arrays; their fields are read on demand."""

    root: pathlib.Path
    n: int
    rows: Int[np.ndarray, "N"]
    records: list[dict]
    constants: Float[np.ndarray, "N 3"]
    volume: Float[np.ndarray, "N"]

    def packed(
        self, index: Sequence[int | np.integer] | Int[np.ndarray, "k"]
    ) -> Int8[np.ndarray, "k m"]:
        """Return the stored samples of the cells of the given numbers."""
        rows = self.rows[np.asarray(index, int)]
        try:
            found = _open(self.root, "field")[rows].read().result()
        except ValueError as error:
            raise DataError(
                f"{self.root.name}: some cells of rows {rows.min()} to "
                f"{rows.max()} fail their checksum. Rerun configs/dataset.py with "
                "the same --workdir: it finds the shard and rebuilds it."
            ) from error
        return np.asarray(found)

    def fields(
        self, index: Sequence[int | np.integer] | Int[np.ndarray, "k"]
    ) -> Float[np.ndarray, "k n n n"]:
        """Return the fields of the cells of the given numbers."""
        return distance.unpack(self.packed(index), self.n)

    @property
    def split(self) -> Int[np.ndarray, "N"]:
        """The part each cell belongs to, see `select`."""
        return np.array([record["split"] for record in self.records], int)

    @property
    def drainable(self) -> Bool[np.ndarray, "N"]:
        """Whether the void of each cell is one open piece."""
        return np.array([record["trapped"] == 0 for record in self.records], bool)


def read_labels(root: pathlib.Path, shards: Iterable[int] | None = None) -> Labels:
    """Return the labels of some shards, or of all finished ones."""
    manifests = read_manifests(root, shards)
    layout = read_layout(root)
    size = layout["shard_size"]
    found = [_read_rows(root, m, size, ARRAYS[1:]) for m in manifests]
    rows = [m["shard"] * size + np.arange(m["count"]) for m in manifests]
    return Labels(
        root,
        layout["n"],
        np.concatenate([np.zeros(0, int), *rows]),
        [record for manifest in manifests for record in manifest["records"]],
        np.concatenate([np.zeros((0, 3)), *(f["constants"] for f in found)]),
        np.concatenate([np.zeros(0), *(f["volume"] for f in found)]),
    )


def _read_rows(root, manifest, size, names) -> dict[str, np.ndarray]:
    """Return the rows of one shard; an error names the file whose checksum fails."""
    shard, count = manifest["shard"], manifest["count"]
    found = {}
    for name in names:
        array = _open(root, name)
        try:
            rows = array[shard * size : shard * size + count].read().result()
        except ValueError as error:
            file = "/".join(["c", str(shard)] + ["0"] * (array.rank - 1))
            raise DataError(
                f"{root.name} shard {name}/{file} fails its checksum; {count} of "
                f"{_total(root)} cells are unreadable. Rerun configs/dataset.py with "
                "the same --workdir to rebuild only that shard, or pass "
                "`skip_bad=True`."
            ) from error
        found[name] = np.asarray(rows)
    return found


def _total(root) -> int:
    """Return the number of cells in all shards whose manifest can be read."""
    count = 0
    for path in (root / "manifests").glob("shard_*.json"):
        with contextlib.suppress(DataError):
            count += _read_json(path)["count"]
    return count


def read_shard(
    root: pathlib.Path, manifest: Mapping[str, Any]
) -> tuple[Int8[np.ndarray, "k m"], Float[np.ndarray, "k 3"], Float[np.ndarray, "k"]]:
    """Return fields, constants and volume of a finished shard, checked."""
    found = _read_rows(root, manifest, read_layout(root)["shard_size"], ARRAYS)
    # A shard file that is gone reads as zeros.
    if content_hash(*(found[name] for name in ARRAYS)) != manifest["sha256"]:
        raise DataError(
            f"{root.name} shard {manifest['shard']} does not match the hash in its "
            f"manifest; {manifest['count']} of {_total(root)} cells are unreadable. "
            "Rerun configs/dataset.py with the same --workdir to rebuild only that "
            "shard, or pass `skip_bad=True`."
        )
    return tuple(found[name] for name in ARRAYS)


def missing(root: pathlib.Path) -> list[int]:
    """Return the shards that are not finished."""
    return sorted({*range(read_layout(root)["shards"])} - {*finished(root)})


def damaged(root: pathlib.Path) -> dict[int, str]:
    """Read everything; return the message of each damaged finished shard."""
    wrong = {}
    for shard in finished(root):
        try:
            read_shard(root, *read_manifests(root, [shard]))
        except DataError as error:
            wrong[shard] = str(error)
    return wrong


def forget(root: pathlib.Path, shard: int) -> None:
    """Remove a shard's manifest, so that it counts as not made, then its arrays."""
    manifest_path(root, shard).unlink(missing_ok=True)
    for name in ARRAYS:
        place = root / name / "c" / str(shard)
        for file in (place, *place.rglob("*")):
            if file.is_file():
                file.unlink()


def write_selection(root: pathlib.Path, selection: Mapping[str, list[int]]) -> None:
    """Close a dataset: write which cells are "duplicates" and "selected", by id."""
    (root / CONTENT).unlink(missing_ok=True)
    write_json(root / "selection.json", selection, indent=None)
    write_bytes(root / CONTENT, checksums.listing(root, json_files(root)).encode())


def json_files(root: pathlib.Path) -> list[str]:
    """Return the names of the JSON files that make a closed dataset."""
    manifests = [f"manifests/{manifest_path(root, i).name}" for i in finished(root)]
    return ["layout.json", "selection.json", *manifests]


def read_selection(root: pathlib.Path) -> dict[str, list[int]]:
    """Return the lists of `write_selection`; empty where there are none."""
    path = root / "selection.json"
    return _read_json(path) if path.exists() else {}
