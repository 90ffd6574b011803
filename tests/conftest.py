"""Settings for all tests: checked shapes, strict types and ranks, shared programs."""

import builtins
import gc
import os
from pathlib import Path

from jaxtyping import install_import_hook

ROOT = Path(__file__).resolve().parent.parent
# Each call of a function of mmdiff is checked against its annotations, with shapes.
install_import_hook("mmdiff", "checked.check")
# Compiled programs are shared by the processes of the tests, and kept for the next run.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "programs")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # see `environment.silence_xla`


def _own_core() -> None:
    """Keep each of parallel test processes to a core: XLA's threads wait in a loop."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")[2:]
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) >= int(os.environ["PYTEST_XDIST_WORKER_COUNT"]) > 1:
            os.sched_setaffinity(0, {cores[int(worker)]})


_own_core()  # before JAX counts them
# Tests that start processes work in a clone that is not installed, too.
_PATHS = [str(ROOT), os.environ.get("PYTHONPATH")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, _PATHS))

import jax  # noqa: E402
import pytest  # noqa: E402

# Tracing makes millions of small objects: looking through all of them less often is a
# tenth of the time of a test.
gc.set_threshold(100_000, 50, 100)
MEMORY = 1.2e9  # bytes of a test process beyond which its compiled programs are dropped


@pytest.fixture(autouse=True)
def strict_arrays(request):
    """Refuse implicit widening: of float32 by float64, of (n,) arrays by (n, n) ones.

    Users' own code may do as it likes; here it is a mistake. Flax itself widens its
    bfloat16 statistics, so the tests of networks keep the usual promotion of types.
    """
    flax = {"models", "train"} & set(request.path.parts)
    with (
        jax.numpy_dtype_promotion("standard" if flax else "strict"),
        jax.numpy_rank_promotion("raise"),
    ):
        yield


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """Drop compiled programs between files where they pile up: the cache has them."""
    yield
    if _resident() > MEMORY:
        jax.clear_caches()
        gc.collect()


def _resident() -> float:
    """Return the bytes of this process in memory; 0 where nothing tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def x64():
    """Switch float64 on for one test: the reference path of the solvers."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def no_matplotlib(monkeypatch):
    """Make every import of matplotlib fail, as in a core installation."""
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
