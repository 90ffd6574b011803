"""Store a pytree of arrays between two steps of a long computation, and read it back.

One .npz file per tree, written under a temporary name and renamed, so that a killed
run leaves the old file or the new one. Each array carries a checksum (that of the zip
format); a file that fails it, or holds other arrays than expected, is refused.
"""

import io
import os
import pathlib
import zipfile
import zlib

import jax
import numpy as np

from mmdiff.errors import DataError
from mmdiff.io.writers import write_bytes


def save(path: str | os.PathLike, tree) -> pathlib.Path:
    """Write a pytree of arrays to a file, exactly."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **_named(tree))
    return write_bytes(path, buffer.getvalue())


def load(path: str | os.PathLike, like):
    """Return the pytree of a file as NumPy arrays.

    Args:
      path: file that `save` wrote.
      like: a tree of the same structure, shapes and types; its leaves need `shape` and
        `dtype` only, so the result of `jax.eval_shape` will do.

    Raises:
      DataError: the file is damaged or holds another tree.
    """
    expected = _named(like, np.empty(0))
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it.") from error
    except (zlib.error, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it.") from error
    kinds = {name: (array.shape, array.dtype) for name, array in found.items()}
    leaves, structure = jax.tree_util.tree_flatten(like)
    wanted = dict(
        zip(expected, ((leaf.shape, leaf.dtype) for leaf in leaves), strict=True)
    )
    if kinds != wanted:
        raise DataError(
            f"{path} holds other arrays than this version of mmdiff stores. Delete it."
        )
    return structure.unflatten([found[name] for name in wanted])


def _named(tree, stand_in=None):
    """Return the leaves of a tree by the path to each, in the order of the tree."""
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path).lstrip("."): np.asarray(leaf)
        if stand_in is None
        else stand_in
        for path, leaf in pairs
    }
