"""One and two devices give the same numbers."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mmdiff.errors import InputError
from mmdiff.train import parallel

_SCRIPT = """
import sys
sys.path.insert(0, "tests")
import jax
import jax.numpy as jnp
import numpy as np
import train_helpers as helpers
from mmdiff.train import parallel
from mmdiff.train.state import create_state
from mmdiff.train.step import make_step

run = parallel.parallel_step(make_step(helpers.DIFFUSION, helpers.OPTIMIZER))
devices = jax.local_device_count()
cond = np.asarray(helpers.CONDITIONS.normalize(jnp.asarray(helpers.DATA.cond)))[:8]
batch = {
    "packed": helpers.DATA.packed[:8],
    "cond": cond,
    "index": np.arange(8, dtype=np.int32),
}
state = parallel.replicate(
    create_state(helpers.params(), helpers.OPTIMIZER), devices
)
for _ in range(5):
    state, metrics = run(state, jax.random.key(7), parallel.shard(batch, devices))
leaves = jax.tree.leaves((parallel.unreplicate(state), metrics["loss"][0]))
print(devices, *[f"{float(v):.9e}" for x in leaves for v in np.ravel(x)])
"""


def _run(devices):
    env = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    out = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    count, *values = out.stdout.split()
    assert int(count) == devices
    return np.asarray(values, float)


@pytest.mark.slow
def test_two_devices_equal_one():
    one, two = _run(1), _run(2)
    # The mean of two half-batch means rounds differently from that of the whole;
    # Adam divides by the gradient's own size, which keeps this at a few 1e-6.
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)


def test_odd_shares_are_refused():
    with pytest.raises(InputError, match="batch size 6 .* 2 devices"):
        parallel.check_shares(6, 2)
