"""Weights files: one `.npz` with named arrays, a JSON header and a SHA-256 sidecar.

The format needs nothing but NumPy to read. Arrays may be stored as float16 (half the
size, about 5e-4 relative rounding); they are always returned as float32. The header
holds the fields of the network (`make_network(**meta["model"])`) and a record of its
training.
"""

import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from mmdiff import assets
from mmdiff.checksums import sha256
from mmdiff.diffusion.conditions import NAMES, Conditions
from mmdiff.diffusion.schedule import schedule_from_dict
from mmdiff.errors import DataError, MemoryLimitError, cut, described
from mmdiff.io.read_arrays import read_archive
from mmdiff.io.write import write_bytes, write_npz
from mmdiff.models.network import Network, make_network

_META = "__meta__"
_HINT = (
    "Train one with configs/train.py first, or leave `checkpoint` empty to use the "
    "shipped model."
)


def save_weights(
    path: str | os.PathLike,
    params: Any,
    meta: dict[str, Any],
    *,
    half: bool = False,
) -> pathlib.Path:
    """Write parameters and header, and the sidecar `PATH.sha256`; return the path.

    Args:
      path: file to write, ending in `.npz`; replaced in one rename.
      params: nested dict of arrays.
      meta: JSON-serialisable header; `meta["model"]` are the fields of the network.
      half: store float16, half the size.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    dtype = np.float16 if half else np.float32
    flat = flatten_dict(params, sep="/").items()
    arrays = {"params/" + name: np.asarray(value, dtype) for name, value in flat}
    arrays[_META] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    write_npz(path, arrays)
    write_bytes(sidecar(path), f"{sha256(path)}  {path.name}\n".encode())
    return path


class Model(NamedTuple):
    """A trained network.

    Attributes:
      params: its parameters, a nested dict of arrays.
      meta: header of its file: fields of the network, conditions, training.
    """

    params: Any
    meta: dict[str, Any]


def load_model(path: str | os.PathLike = "") -> Model:
    """Return a trained denoiser.

    Args:
      path: weights file; empty for the shipped one.

    Raises:
      DataError: see `load_weights`, or it is of another kind of networks.

    Example:
      >>> model = load_model()
      >>> model.meta["octant"], model.meta["cond"]["names"]
      (32, ['C11', 'C12', 'C44', 'V', 'drainable'])
    """
    path = path or assets.weights_path()
    params, meta = load_weights(path)
    cond = meta.get("cond", {})
    names = cond.get("names", ()) if isinstance(cond, dict) else ()
    if tuple(names) != NAMES:
        raise DataError(
            f"checkpoint {path} has the conditions {cut(', '.join(names))}, not "
            f"{', '.join(NAMES)}: it is of another version. {_HINT}"
        )
    try:
        _check_header(meta)
    except Exception as error:  # a header may hold any values
        raise DataError(
            f"checkpoint {path} has a header that is not whole ({described(error)}). "
            f"{_HINT}"
        ) from error
    return Model(params, meta)


def _check_header(meta) -> None:
    """Raise any exception where what sampling takes from a header is missing."""
    scaling = Conditions.from_dict(meta["cond"])
    schedule_from_dict(meta["schedule"])
    labels = np.asarray(meta["training"]["labels"], float)
    numbers = meta["training"]["coverage"], meta["base"]["nu"]
    if labels.ndim != 2 or labels.shape[1] != 4 or not len(labels):
        raise ValueError(f"labels of shape {labels.shape}")
    if not all(len(ends) == len(NAMES) for ends in (scaling.low, scaling.high)):
        raise ValueError("ranges of other conditions")
    known = [labels.ravel(), scaling.low, scaling.high, [scaling.power], numbers]
    if not np.isfinite(np.concatenate([np.asarray(x, float) for x in known])).all():
        raise ValueError("numbers that are not finite")


def load_weights(
    path: str | os.PathLike,
    *,
    network: Callable[..., Any] = make_network,
    init: Callable[..., Any] | None = None,
    hint: str = _HINT,
) -> tuple[dict, dict[str, Any]]:
    """Return float32 parameters, a nested dict, and header of a weights file.

    Args:
      path: file that `save_weights` wrote.
      network: makes the network, of the fields `meta["model"]`.
      init: `init(network, key, octant)`, its fresh parameters; None for `init_params`.
      hint: way out, for the messages.

    Raises:
      DataError: if the file or its sidecar is missing or damaged, or if the arrays
        do not fit the network that the header describes.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise DataError(f"no checkpoint at {path}. {hint}")
    if not sidecar(path).is_file():
        raise DataError(
            f"checkpoint {path} has no checksum file {sidecar(path).name}. "
            "Copy both files together."
        )
    if sidecar(path).read_bytes().split()[:1] != [sha256(path).encode()]:
        raise DataError(
            f"checkpoint {path} fails its SHA-256 checksum, so the file is damaged or "
            "was edited. Copy it again or train anew."
        )
    try:
        arrays = read_archive(path)
        meta = json.loads(arrays.pop(_META).tobytes())
        flat = {
            name.removeprefix("params/"): array.astype(np.float32)
            for name, array in arrays.items()
        }
        meta["model"] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in meta["model"].items()
        }
        octant = int(meta["octant"])
    except (MemoryError, MemoryLimitError):
        raise
    except Exception as error:  # NumPy, zipfile and zlib let all kinds through
        raise DataError(
            f"checkpoint {path} is not a weights file of mmdiff ({described(error)}). "
            f"{hint}"
        ) from error

    def build(key):
        return (init or init_params)(network(**meta["model"]), key, octant)

    _check_shapes(path, flat, build, hint)
    for name, array in flat.items():
        if wrong := int((~np.isfinite(array)).sum()):
            raise DataError(
                f"checkpoint {path} holds {wrong} numbers that are not finite, the "
                f"first in {name}: its training went astray. {hint}"
            )
    return unflatten_dict(flat, sep="/"), meta


def sidecar(path: str | os.PathLike) -> pathlib.Path:
    """Return the checksum file that stands beside `path`."""
    path = pathlib.Path(path)
    return path.with_name(path.name + ".sha256")


def init_params(model: Network, key, octant: int) -> dict:
    """Return fresh parameters of a network for octants of side `octant`."""
    field, cond = jnp.zeros((1, *3 * (octant,))), jnp.zeros((1, model.conditions))
    inputs = field, jnp.zeros((1,)), field, cond, field
    return jax.jit(model.init)(key, *inputs)["params"]


def _check_shapes(path, flat, build, hint) -> None:
    try:
        shapes = jax.eval_shape(build, jax.random.key(0))
    except Exception as error:  # a header may hold any values
        raise DataError(
            f"checkpoint {path} describes a network that cannot be built "
            f"({described(error)}). {hint}"
        ) from error
    shapes = flatten_dict(shapes, sep="/").items()
    needed = {name: value.shape for name, value in shapes}
    found = {name: value.shape for name, value in flat.items()}
    if needed == found:
        return
    odd = sorted(set(needed.items()) ^ set(found.items()), key=str)[0][0]
    raise DataError(
        f"checkpoint {path} was made for another network than its header says: array "
        f"{odd} has shape {found.get(odd)}, the network needs {needed.get(odd)}. {hint}"
    )
