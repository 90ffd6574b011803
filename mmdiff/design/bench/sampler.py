"""What drawing cells from the shipped model costs."""

import functools
import time

import jax

from mmdiff.models.sampling import make_draw
from mmdiff.models.weights import load_model
from mmdiff.run.timing import measure

GOAL = {"C11": 0.11, "C12": 0.045, "C44": 0.04, "V": 0.3}


def measure_sampler(
    num_samples: int, steps: int, *, repeats: int, seconds: float
) -> dict[str, float]:
    """Return seconds of the first and of further calls.

    Args:
      num_samples: samples of a call.
      steps: evaluations of the network per sample.
      repeats: most timed calls.
      seconds: no further call once so many have passed.
    """
    model = load_model()
    draw = make_draw(*model, num_samples=num_samples, steps=steps)
    start = time.perf_counter()
    jax.block_until_ready(draw(jax.random.key(0), GOAL))
    first = time.perf_counter() - start
    call = functools.partial(draw, jax.random.key(1), GOAL)
    timing = measure(call, repeats, seconds)
    return {"first_s": first, "wall_s": timing.wall_s, "cpu_s": timing.cpu_s}
