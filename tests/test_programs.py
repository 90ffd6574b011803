"""Kept programs: found again without tracing, never where they do not belong."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import programs
from mmdiff.diffusion.schedule import CosineSchedule, ExponentialSchedule
from mmdiff.run.timing import counting_compiles


@programs.keep_namedtuple
class Pair(NamedTuple):
    """Two arrays."""

    first: jax.Array
    second: jax.Array


@pytest.fixture
def folder(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def _process(factor=2.0, traced=None):
    """Return a program as a new process would make it; `traced` counts its traces."""

    def scale(pair, key):
        if traced is not None:
            traced.append(1)
        noise = jax.random.normal(jax.random.wrap_key_data(key), pair.first.shape)
        return Pair(factor * pair.first + noise, pair.second)

    return programs.kept(scale, factor)


def _arguments(n=3):
    return Pair(np.arange(n, dtype=np.float32), np.int32(4)), np.zeros(2, np.uint32)


def test_a_program_is_found_again_without_tracing(folder):
    traced = []
    first = _process(traced=traced)(*_arguments())
    assert len(traced) == 1 and len(list(folder.glob("*.stablehlo"))) == 1
    again = _process(traced=traced)
    second = again(*_arguments())
    again(*_arguments())
    assert len(traced) == 1
    assert isinstance(second, Pair)
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_what_a_program_returns_is_taken_without_another_compilation(folder):
    process = _process()
    with counting_compiles() as count:
        found = process(*_arguments())
        first = count[0]
        process(found, _arguments()[1])
    assert first >= 1 and count[0] == first


def test_what_a_trace_depends_on_is_in_its_name(folder):
    _process(2.0)(*_arguments())
    got = _process(3.0)(*_arguments())
    other = _process(2.0)(*_arguments())
    np.testing.assert_allclose(got.first - other.first, np.arange(3), atol=1e-5)
    _process(2.0)(*_arguments(4))
    assert len(list(folder.glob("*.stablehlo"))) == 3


def test_a_damaged_file_is_made_anew(folder):
    want = _process()(*_arguments())
    (path,) = folder.glob("*.stablehlo")
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    got = _process()(*_arguments())
    np.testing.assert_array_equal(got.first, want.first)
    assert len(path.read_bytes()) == len(whole)


def test_nothing_is_kept_without_a_cache_or_a_description(folder):
    function = programs.kept(lambda x: x + 1, lambda x: x)
    assert function(np.float32(1)) == 2 and not any(folder.iterdir())
    jax.config.update("jax_compilation_cache_dir", None)
    assert programs.kept(lambda x: x + 1)(np.float32(1)) == 2


def test_a_kept_program_can_be_traced(folder):
    square = programs.kept(lambda x: x**2)
    assert jax.grad(lambda x: square(x).sum())(jnp.ones(2)).tolist() == [2, 2]
    assert not any(folder.iterdir())


def test_arrays_elsewhere_are_not_for_a_kept_program(folder, monkeypatch):
    add = programs.kept(lambda x: x + 1)
    array = jnp.float32(1)
    monkeypatch.setattr(jax, "devices", lambda: ["an accelerator"])
    assert add(array) == 2 and not any(folder.iterdir())
    # A number goes where JAX puts it: to the device of choice, or not.
    assert programs._is_plain(np.float32(1))
    with jax.default_device(array.device):
        assert not programs._is_plain(np.float32(1))


def test_descriptions():
    own = programs.description
    assert own(ExponentialSchedule()) == own(ExponentialSchedule())
    assert own(ExponentialSchedule()) != own(ExponentialSchedule(shift=0.0))
    assert own(ExponentialSchedule()) != own(CosineSchedule())
    assert own({"a": (1, 2.0, None)}) != own({"a": (1, 2.5, None)})
    assert own(functools.partial(own, 3)) != own(functools.partial(own, 4))
    assert own(programs.source) is None  # as it is wrapped
    assert own(programs.kept) == "mmdiff.programs.kept"
    for value in (
        _process,
        lambda x: x,
        np.ones(3),
        [object()],
        functools.partial(lambda: 0),
    ):
        assert own(value) is None
