"""Programs whose traces are kept, so that later processes start without tracing.

JAX traces a function in Python and lowers it before its compilation cache can tell
whether the program is there, which takes seconds for a solver. A kept program is the
StableHLO of that (`jax.export`), in the directory of the compilation cache. Its name
holds all that the trace depends on: the source of mmdiff, what the function was made
with, the shapes and types of its arguments, JAX and the kind of device.
"""

import dataclasses
import functools
import hashlib
import os
import pathlib
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import export

# Settings of JAX that change what is traced.
OPTIONS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
)


def kept(function: Callable, *made_with: Any) -> Callable:
    """Return the jitted function, its trace kept where there is a compilation cache.

    Traced, or where not all is on the one device of JAX's choice, it is
    `jax.jit(function)`.

    Args:
      function: traceable, of pytrees of arrays by position. Its results and arguments
        are built of tuples, lists, dicts and what `keep_namedtuple` was told of.
      made_with: all that the trace depends on beyond the arguments; nothing is kept if
        some of it has no lasting description, such as a function within a function.
        Constants of modules count as they stand in the files.
    """
    jitted = jax.jit(function)
    name = description((function.__module__, function.__qualname__, made_with))
    loaded = {}

    @functools.wraps(jitted)
    def call(*args):
        folder = jax.config.jax_compilation_cache_dir
        leaves, tree = jax.tree.flatten(args)
        if not (folder and name and all(map(_is_plain, leaves))):
            return jitted(*args)
        options = tuple(getattr(jax.config, option) for option in OPTIONS)
        key = (tree, *map(jax.typeof, leaves), jax.default_backend(), *options)
        if key not in loaded:
            parts = [source(), jax.__version__, name, str(key)]
            digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
            path = pathlib.Path(folder) / f"{digest[:32]}.stablehlo"
            program = jax.jit(_load_or_export(path, jitted, args).call)
            # Compiled here: `jit` would do it anew for arrays that a program returned.
            loaded[key] = program.lower(*args).compile()
        return loaded[key](*args)

    return call


def keep_namedtuple(kind: type) -> type:
    """Let kept programs take and return a NamedTuple; for use as a decorator."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    export.register_namedtuple_serialization(kind, serialized_name=name)
    return kind


def description(value: Any) -> str | None:
    """Return a text that is the same in every process, None where there is none."""
    if value is None or isinstance(value, str | bytes | bool | int | float | type):
        return repr(value)
    if isinstance(value, types.FunctionType):
        name = f"{value.__module__}.{value.__qualname__}"
        # Of others the source is not known.
        return name if "<" not in name and name.startswith("mmdiff.") else None
    if isinstance(value, functools.partial):
        value = ("partial", value.func, value.args, value.keywords)
    elif dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        value = (type(value), fields)
    if isinstance(value, Mapping):
        value = [pair for pair in value.items()]
    if not isinstance(value, tuple | list):
        return None
    parts = [description(part) for part in value]
    return None if None in parts else f"({', '.join(parts)})"


@functools.cache
def source() -> str:
    """Return a digest of the source files of mmdiff."""
    digest, root = hashlib.sha256(), pathlib.Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _is_plain(leaf):
    """Whether an argument is concrete and on the device that JAX would choose."""
    if isinstance(leaf, jax.core.Tracer) or jax.process_count() > 1:
        return False
    first = jax.devices()[0]
    if jax.config.jax_default_device not in (None, first):
        return False
    return not isinstance(leaf, jax.Array) or leaf.devices() == {first}


def _load_or_export(path, jitted, args):
    try:
        return export.deserialize(bytearray(path.read_bytes()))
    except Exception:  # not there, cut short, or of another version
        program = export.export(jitted)(*args)
    try:
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(program.serialize())
        part.replace(path)
    except OSError:
        pass  # a full disk: the next process traces again
    return program
