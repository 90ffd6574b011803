"""The public names: loaded on first use, documented by examples that run."""

import ast
import doctest
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import mmdiff as mm

INIT = Path(mm.__file__)


def test_dir_lists_the_names():
    assert sorted(dir(mm)) == sorted([*mm.__all__, "__version__"])
    assert sorted(mm._PUBLIC) == sorted(mm.__all__)
    assert all(callable(getattr(mm, name)) for name in mm.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'homogenise'"):
        _ = mm.homogenise


def test_editors_are_told_the_same_names():
    (block,) = (n for n in ast.parse(INIT.read_text()).body if isinstance(n, ast.If))
    told = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        for alias in node.names
    }
    places = {name: place.partition(":") for name, place in mm._PUBLIC.items()}
    assert told == {n: (m, inner or n) for n, (m, _, inner) in places.items()}


def _run(code, **environment):
    command = [sys.executable, "-c", code]
    kept = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=kept | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_is_instant():
    heavy = ("jax", "numpy", "scipy", "flax", "absl", "ml_collections")
    code = f"import sys, mmdiff; print([n for n in {heavy} if n in sys.modules])"
    assert _run(code) == "[]"


needs_flag = pytest.mark.skipif(
    not jax.version.__version__.startswith("0.10."), reason="jaxlib 0.10 alone needs it"
)


@needs_flag
def test_the_flag_is_set_once_and_beside_others():
    code = "import mmdiff, os; print(os.environ['XLA_FLAGS'])"
    flags = _run(code, XLA_FLAGS="--xla_cpu_multi_thread_eigen=false")
    assert flags.startswith("--xla_cpu_multi_thread_eigen=false --xla_cpu_exp")
    assert _run(code, XLA_FLAGS=flags) == flags


@needs_flag
@pytest.mark.parametrize(
    "before, warned", [("", False), ("jax.devices()", True)], ids=["in time", "late"]
)
def test_importing_after_jax_warns_only_where_it_is_too_late(before, warned):
    code = f"""
import warnings, jax
{before}
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    import mmdiff
print([str(w.message) for w in seen])
"""
    assert ("Import mmdiff first" in _run(code)) == warned


# Their examples compile for ten seconds and more.
SLOW = ("generate", "optimize", "polish", "characterize")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in mm.__all__],
)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = getattr(mm, name)
    assert value.__doc__ and value.__doc__.strip()
    examples = doctest.DocTestParser().get_examples(value.__doc__)
    # Types are seen in the examples of the functions that return them.
    assert examples or isinstance(value, type), f"mm.{name} has no example"
    test = doctest.DocTest(
        examples, {"mm": mm, "np": np, name: value}, name, None, None, value.__doc__
    )
    said = []
    with (
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
    ):
        result = doctest.DocTestRunner().run(test, out=said.append)
    assert not result.failed, "".join(said)
