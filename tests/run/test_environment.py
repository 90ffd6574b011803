import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from mmdiff.io.json import plain
from mmdiff.run import environment


def test_environment_is_json_with_versions_and_devices():
    found = json.loads(json.dumps(plain(environment.environment())))
    assert found["versions"]["jax"] == jax.__version__
    assert {"mmdiff", "flax", "numpy"} <= found["versions"].keys()
    assert len(found["devices"]) == len(jax.devices())


def test_device_line_counts_the_cores():
    if jax.devices()[0].platform != "cpu":
        pytest.skip("has an accelerator")
    assert environment.device_line().startswith("CPU (")


def test_clock_hears_a_compilation_and_then_stops():
    with environment.CompileClock() as clock:
        jax.jit(lambda x: jnp.sin(x) * 3.25 + 1.5)(jnp.ones(7)).block_until_ready()
    seconds = clock.seconds
    assert seconds > 0
    jax.jit(lambda x: jnp.cos(x) * 3.25 + 1.5)(jnp.ones(7)).block_until_ready()
    assert clock.seconds == seconds


def test_clock_counts_nested_intervals_once(monkeypatch):
    clock = environment.CompileClock()
    now = iter([5.0, 8.0, 10.0, 12.0])
    monkeypatch.setattr(environment.time, "monotonic", lambda: next(now))
    event = f"{environment.COMPILE_EVENTS}jaxpr_trace_duration"
    clock.add(event, 1.0)  # 4 to 5
    clock.add(event, 2.0)  # 6 to 8
    clock.add(event, 7.0)  # 3 to 10, around both
    assert clock.seconds == pytest.approx(7.0)
    clock.add(event, 4.0)  # 8 to 12, two of them new
    assert clock.seconds == pytest.approx(9.0)
    clock.add("/jax/other", 100.0)
    assert clock.seconds == pytest.approx(9.0)


def test_peak_memory_of_this_process_is_plausible():
    size = environment.peak_memory()["process_bytes"]
    if size is None:
        pytest.skip("no getrusage here")
    assert 5e7 < size < 1e12  # JAX alone takes 100 MB


SCRIPT = """
from mmdiff.run import environment
environment.silence_xla()
import jax, jax.numpy as jnp
environment.MIN_COMPILE_SECONDS = 0.0
print(environment.enable_compilation_cache())
jax.jit(lambda x: jnp.linalg.inv(x) @ x)(jnp.ones((30, 30))).block_until_ready()
"""


def test_second_process_takes_programs_from_the_cache_without_noise(tmp_path):
    unset = ("JAX_COMPILATION_CACHE_DIR", "TF_CPP_MIN_LOG_LEVEL")
    env = {key: value for key, value in os.environ.items() if key not in unset}
    env |= {"XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    names = []
    for _ in range(2):
        command = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(tmp_path / "mmdiff" / "xla")
        assert done.stderr == ""
        names.append(sorted(p.name for p in (tmp_path / "mmdiff/xla").glob("*-cache")))
    assert names[0] and names[0] == names[1]


def test_unusable_cache_directory_is_silently_left_out(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    before = jax.config.jax_compilation_cache_dir  # set by tests that ran main
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        assert environment.enable_compilation_cache() is None
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
