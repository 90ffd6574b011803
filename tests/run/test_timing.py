"""Timings count calls and programs, and modules run in processes of their own."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.run import timing


def test_calls_end_with_the_repeats_or_the_seconds():
    seen = []
    got = timing.measure(lambda: seen.append(1), repeats=3, seconds=10.0)
    assert got.calls == len(seen) == 3 and got.wall_s >= 0 and got.cpu_s >= 0
    got = timing.measure(lambda: time.sleep(0.02) or 7, repeats=100, seconds=0.2)
    assert got.result == 7 and 1 < got.calls <= 10
    # Sleeping takes time but computes nothing.
    assert got.wall_s >= 0.02 and got.cpu_s < 0.01
    assert timing.measure(lambda: 1, repeats=5, seconds=0.0).calls == 1


def test_compiles_are_counted_once_per_program():
    run = jax.jit(lambda x: 3 * x + 1)
    small, large = jnp.zeros(3), jnp.zeros(4)
    with timing.counting_compiles() as count:
        run(small)
        assert count == [1]
        run(small)
        assert count == [1]
        run(large)
        assert count == [2]
    run(jnp.zeros(5))
    assert count == [2]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """What runs a text as a module."""
    monkeypatch.chdir(tmp_path)

    def run_text(text, *arguments, **options):
        (tmp_path / "module.py").write_text(text)
        return timing.run_module("module", *arguments, **options)

    return run_text


def test_modules_find_this_package_and_answer_in_json(run):
    text = (
        "import json, sys, mmdiff\n"
        "print(json.dumps({'file': mmdiff.__file__, 'args': sys.argv[1:]}))\n"
    )
    got = run(text, "a", 8, 1e-6)
    assert got == {"file": timing.mmdiff.__file__, "args": ["a", "8", "1e-06"]}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("raise ValueError('no such cell')", "ValueError: no such cell"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import time; time.sleep(60)", "stopped"),
    ],
)
def test_modules_that_fail_say_why(run, text, status):
    assert run(text, timeout=2.0) == {"status": status}


def test_peak_memory_is_that_of_the_process_alone(run):
    text = (
        "import json\nfrom mmdiff.run.timing import peak_bytes\n"
        "print(json.dumps({'peak': peak_bytes()}))\n"
    )
    ballast = np.ones(50_000_000)  # 400 MB that a child must not be charged for
    peak = run(text)["peak"]
    assert 20e6 < peak < 400e6 < ballast.nbytes + 1
    assert timing.peak_bytes() > 400e6
