"""Store a pytree of arrays between two steps of a long computation, and read it back.

One .npz file per tree, written under a temporary name and renamed, so that a killed
run leaves the old file or the new one. Each array carries a checksum (that of the zip
format), and the file the digest of the settings and inputs of its run; one that fails
them, or holds other arrays than expected, is refused.
"""

import io
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mmdiff.errors import DataError
from mmdiff.io.write import write_npz
from mmdiff.run import console, origin

_ORIGIN = "__origin__"


def save(path: str | os.PathLike, tree) -> pathlib.Path:
    """Write a pytree of arrays to a file, exactly."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    arrays = {_name(place): leaf for place, leaf in leaves}
    return write_npz(path, arrays | {_ORIGIN: np.array(origin.of(path))})


def load(path: str | os.PathLike, like=None):
    """Return the pytree of a file as NumPy arrays.

    Args:
      path: file that `save` wrote.
      like: a tree of the same structure, shapes and types, such as `jax.eval_shape`
        gives. None returns the arrays as a flat dictionary, whatever they are.

    Raises:
      DataError: the file is damaged, holds another tree, or is of another run.
    """
    try:
        # NumPy leaves a damaged file open; bytes need no closing.
        content = io.BytesIO(pathlib.Path(path).read_bytes())
        with np.load(content, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except MemoryError:
        raise
    except Exception as error:  # NumPy and zipfile let all kinds through
        raise DataError(f"{path} is damaged ({error}).") from error
    if str(found.pop(_ORIGIN, "")) != origin.of(path):
        raise DataError(f"{path} follows from other settings or inputs.")
    if like is None:
        return found
    leaves, structure = jax.tree_util.tree_flatten(like)
    names = [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(like)]
    kinds = {name: (array.shape, array.dtype) for name, array in found.items()}
    expected = [(leaf.shape, leaf.dtype) for leaf in leaves]
    if kinds != dict(zip(names, expected, strict=True)):
        raise DataError(
            f"{path} holds other arrays than this version of mmdiff stores."
        )
    return structure.unflatten([found[name] for name in names])


def load_if_good(path: str | os.PathLike, like=None):
    """Return what `load` does, None where the file is missing or damaged.

    Damage is noted: what follows from the settings can be made again.
    """
    try:
        return load(path, like) if pathlib.Path(path).exists() else None
    except DataError as error:
        console.note(f"{error} It is made again.")
        return None


def once(
    path: str | os.PathLike, make: Callable[[], Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """Return arrays by name from a file, made and stored where there are none."""
    cached = load_if_good(path)
    if cached is None:
        cached = {name: np.asarray(value) for name, value in make().items()}
        save(path, cached)
    return cached


def _name(path) -> str:
    """Return the name of a leaf: `state.design`, `0.fields`, `kind`."""
    return jax.tree_util.keystr(path, simple=True, separator=".")
