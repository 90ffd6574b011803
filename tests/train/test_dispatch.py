"""Several steps per dispatch: the same numbers, the same boundaries, one trace."""

import signal

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_helpers as helpers

from mmdiff.train import denoising, loop, parallel, step
from mmdiff.train.state import create_state


def _train(path, **changes):
    return helpers.train(
        path, **{"steps": 12, "log_every": 4, "checkpoint_every": 6, **changes}
    )


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return _train(tmp_path_factory.mktemp("single"))


def _rows(result):
    drop = {"seconds", "samples_per_s"}
    return [{k: v for k, v in r.items() if k not in drop} for r in result.history]


@pytest.mark.parametrize("count", [2, 3])
def test_any_number_per_dispatch_gives_the_numbers_of_single_steps(
    tmp_path, single, count
):
    # 2 fits every boundary; 3 leaves rests before reports.
    many = _train(tmp_path, steps_per_dispatch=count)
    assert helpers.largest_difference(many.state, single.state) == 0
    assert _rows(many) == _rows(single)
    assert sorted(int(p.stem) for p in tmp_path.glob("*.sha256")) == [6, 12]
    assert many.samples_per_s > 0


def test_dispatches_are_as_long_as_boundaries_allow(tmp_path, monkeypatch):
    lengths = []
    scan = step.scan_steps

    def counting(single):
        many = scan(single)

        def steps(state, key, batches):
            jax.debug.callback(lambda: lengths.append(len(batches["index"])))
            return many(state, key, batches)

        return steps

    monkeypatch.setattr(loop, "scan_steps", counting)
    _train(tmp_path, steps_per_dispatch=3, log_every=8, checkpoint_every=100)
    # Two of three, and two single steps to the report at 8; then one of three.
    jax.effects_barrier()
    assert lengths == [3, 3, 3]


def test_stopped_between_dispatches_and_resumed(tmp_path, single):
    hooks = helpers.kill_at(4, signal.SIGTERM)
    first = _train(tmp_path, steps_per_dispatch=2, hooks=hooks)
    assert first.reason == "signal" and int(first.state.step) == 4
    second = _train(tmp_path, steps_per_dispatch=2)
    assert helpers.largest_difference(second.state, single.state) == 0


def test_samples_come_at_their_steps_and_change_no_number(tmp_path, single):
    seen = []

    def sample(at, ema):
        assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(ema))
        seen.append((at, ema))
        jax.random.normal(jax.random.key(at), (3,))

    hooks = loop.Hooks(on_sample=sample)
    result = _train(tmp_path, sample_every=5, steps=10, hooks=hooks)
    assert [at for at, _ in seen] == [5, 10]
    assert helpers.largest_difference(seen[-1][1], result.state.ema) == 0
    resumed = _train(tmp_path, sample_every=5, steps_per_dispatch=2, hooks=hooks)
    assert [at for at, _ in seen] == [5, 10]
    assert helpers.largest_difference(resumed.state, single.state) == 0


class TestTraces:
    """The compiled step serves a whole run: it is traced once, resumed or not."""

    @pytest.fixture(autouse=True)
    def counted(self, monkeypatch):
        chex.clear_trace_counter()
        for module, name in ((denoising, "make_step"), (loop, "scan_steps")):
            make = getattr(step, name)
            monkeypatch.setattr(
                module,
                name,
                lambda *args, make=make, **options: chex.assert_max_traces(
                    make(*args, **options), n=1
                ),
            )

    @pytest.mark.parametrize("count", [1, 2])
    def test_one_program_serves_the_run_and_what_resumes_it(self, tmp_path, count):
        options = dict(steps_per_dispatch=count, log_every=2, checkpoint_every=4)
        _train(tmp_path, steps=6, **options)
        chex.clear_trace_counter()
        assert int(_train(tmp_path, **options).state.step) == 12

    def test_a_state_that_changes_its_type_would_be_found(self, tmp_path):
        # The average comes back as float32: another program from the second step on.
        half = jax.tree.map(lambda x: x.astype(jnp.float16), helpers.params())
        state = create_state(helpers.params(), helpers.OPTIMIZER)._replace(ema=half)
        run = parallel.parallel_step(
            denoising.make_step(helpers.DIFFUSION, helpers.OPTIMIZER)
        )
        batch = {
            "packed": helpers.DATA.packed[:8],
            "cond": np.zeros((8, 5), np.float32),
            "index": np.arange(8, dtype=np.int32),
        }
        args = jax.random.key(0), parallel.shard(batch, 1)
        state, _ = run(parallel.replicate(state, 1), *args)
        with pytest.raises(AssertionError, match="traced"):
            run(state, *args)
