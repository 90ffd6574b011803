"""Experiments run as users run them: without the strict settings of the tests."""

import functools

import field_helpers
import jax
import numpy as np
import pytest
from fem_helpers import QUICK
from model_helpers import HEADER

from mmdiff.cells import distance
from mmdiff.design.evaluate import figures
from mmdiff.design.generate import sampler
from mmdiff.fem import homogenize
from mmdiff.io import plots
from mmdiff.models import weights
from mmdiff.run import workers
from mmdiff.topopt import move

N = 8


@pytest.fixture(autouse=True)
def usual_promotion():
    """Users run without the strict settings of the tests."""
    with (
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
    ):
        yield


@pytest.fixture(scope="module")
def quick_programs():
    """Compile five times as quickly; programs of small grids need no speed."""
    compiled = jax.jit

    def jit(function=None, **options):
        if function is None:
            return functools.partial(jit, **options)
        return compiled(function, compiler_options=QUICK, **options)

    _forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", jit)
        patch.setattr(workers, "on_cpu", lambda: False)
        yield
    _forget()


def _forget():
    homogenize.batched_homogenizer.cache_clear()
    homogenize.compiled.cache_clear()
    move.make_evaluate.cache_clear()
    move._program.cache_clear()


@pytest.fixture
def no_workers(monkeypatch):
    """Units of work are done by this process, which a test may have changed."""
    monkeypatch.setattr(workers, "on_cpu", lambda: False)


@pytest.fixture
def quick(monkeypatch, no_workers):
    """A model that draws noise, and stiffness in proportion to the volume."""
    drawn = []

    def make_sampler(params, meta, *, num_samples, **settings):
        def draw(key, target, first=0, total=0):
            drawn.append(target)
            wave = np.cos(np.pi * (np.arange(N) + 0.5) / N)
            smooth = wave[:, None, None] + wave[:, None] + wave
            shifts = 0.2 * (first + np.arange(num_samples)) + 0.1 * len(drawn)
            if dict(target.asked).get("C44") == 0.09:  # that one it cannot do
                shifts = shifts - 5
            return np.round(smooth + shifts[:, None, None, None], 9) / distance.CLIP

        return draw

    meta = {"octant": N, **HEADER}
    monkeypatch.setattr(sampler, "make_sampler", make_sampler)
    field_helpers.patch(monkeypatch)
    monkeypatch.setattr(weights, "load_weights", lambda path: ({}, meta))
    # It takes most of the time of so small cells.
    monkeypatch.setattr(plots, "modulus_spheres", lambda *args: True)
    return drawn


@pytest.fixture
def no_plots(monkeypatch):
    """Draw nothing: for tests of everything else."""
    for module, names in (
        (plots, ("parity", "contact_sheet")),
        (figures, ("error_histogram", "similarities", "coverage")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, lambda *args, **options: False)
