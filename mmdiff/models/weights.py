"""Weights files: one `.npz` with named arrays, a JSON header and a SHA-256 sidecar.

The format needs nothing but NumPy to read. Arrays may be stored as float16 (half the
size, about 5e-4 relative rounding); they are always returned as float32. The header
holds the fields of the network (`make_network(**meta["model"])`) and a record of its
training.
"""

import json
import os
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from mmdiff import assets
from mmdiff.diffusion.conditions import NAMES
from mmdiff.errors import DataError
from mmdiff.io.checksums import sha256
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
    names = meta.get("cond", {}).get("names", ())
    if tuple(names) != NAMES:
        raise DataError(
            f"checkpoint {path} has the conditions {', '.join(names)}, not "
            f"{', '.join(NAMES)}: it is of another version. {_HINT}"
        )
    return Model(params, meta)


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
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(file[_META].tobytes())
            flat = {
                name.removeprefix("params/"): file[name].astype(np.float32)
                for name in file.files
                if name != _META
            }
        meta["model"] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in meta["model"].items()
        }
        octant = int(meta["octant"])
    except (KeyError, ValueError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"checkpoint {path} is not a weights file of mmdiff ({error}). {hint}"
        ) from error

    def build(key):
        return (init or init_params)(network(**meta["model"]), key, octant)

    _check_shapes(path, flat, build, hint)
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
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise DataError(
            f"checkpoint {path} describes a network that cannot be built ({error}). "
            f"{hint}"
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
