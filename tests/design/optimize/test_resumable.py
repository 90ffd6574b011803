"""Developing a start: the same bits after any interruption, nothing done twice."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.optimize import resumable
from mmdiff.topopt import binary
from mmdiff.topopt.interface import Evaluation
from mmdiff.topopt.optimize import COLUMNS, Loop, State
from mmdiff.topopt.problem import Limits

N, STEPS, CHUNK = 8, 17, 5


def _loop():
    """A loop that costs nothing and forgets nothing: a chaotic map of the design."""

    def init(start):
        zero = jnp.zeros((), jnp.int32)
        history = jnp.full((STEPS, len(COLUMNS)), jnp.nan, jnp.float32)
        return State(start, {"last": start}, start[None], zero, zero, zero, history)

    def step(state, limits):
        design = 3.9 * state.design * (1 - state.design) * jnp.float32(limits.volume)
        line = jnp.full(len(COLUMNS), design.mean(), jnp.float32)
        return state._replace(
            design=0.5 * (design + state.optimizer["last"]),
            optimizer={"last": state.design},
            total=state.total + 1,
            history=state.history.at[state.total].set(line),
        )

    def run(state, limits, steps):
        last = jnp.minimum(state.total + steps, STEPS)
        return lax.while_loop(
            lambda s: s.total < last, lambda s: step(s, limits), state
        )

    return Loop(init, run, lambda state: state.total >= STEPS, lambda s: s.design)


def _finish(density):
    octant = threshold_to_volume(density, 0.5)
    result = Evaluation(np.array([0.3, 0.1, 0.08]), np.zeros(1), 1e-6, True, None)
    history = ((0.1, 0.0, 0.5), (0.2, 0.0, 0.5))
    return binary.Design(octant, result, 0.2, 0.0, 2, history)


@pytest.fixture(scope="module")
def shop():
    return resumable.Workshop(
        loop=resumable.jitted(_loop()),
        limits=Limits(1.0),
        finish=_finish,
        steps=STEPS,
        refine_steps=4,
        num_constants=3,
        chunk=CHUNK,
    )


def _start(seed=0):
    return np.random.default_rng(seed).uniform(size=(N, N, N)).astype(np.float32)


def _assert_equal(one, other):
    for name, a, b in zip(one._fields, one, other, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes(), name


@pytest.fixture(scope="module")
def undisturbed(shop, tmp_path_factory):
    return resumable.develop(_start(), "0", tmp_path_factory.mktemp("whole"), shop)


def test_the_outcome_is_that_of_the_loop(shop, undisturbed):
    state = shop.loop.run(shop.loop.init(jnp.asarray(_start())), shop.limits, STEPS)
    np.testing.assert_array_equal(undisturbed.history, state.history)
    np.testing.assert_array_equal(undisturbed.density, state.design)
    assert undisturbed.steps == STEPS
    np.testing.assert_array_equal(undisturbed.start, _start())
    np.testing.assert_array_equal(undisturbed.constants, [0.3, 0.1, 0.08])
    assert undisturbed.value == 0.2 and undisturbed.pieces_found == 2
    np.testing.assert_array_equal(
        undisturbed.refinement[:2], [[0.1, 0, 0.5], [0.2, 0, 0.5]]
    )
    assert np.isnan(undisturbed.refinement[2:]).all()


def test_snapshots_are_of_the_start_and_each_chunk(shop, undisturbed):
    np.testing.assert_array_equal(undisturbed.when, [0, 5, 10, 15, 17, -1, -1])
    np.testing.assert_array_equal(
        undisturbed.snapshots[0], np.round(255 * _start()).astype(np.uint8)
    )
    np.testing.assert_array_equal(
        undisturbed.snapshots[4], np.round(255 * undisturbed.density).astype(np.uint8)
    )
    assert not undisturbed.snapshots[5:].any()


@pytest.mark.parametrize("survived", [1, 2, 3])
def test_killed_and_resumed_gives_the_same_bits(shop, undisturbed, tmp_path, survived):
    seen = []

    def killed(step, line):
        seen.append(step)
        if len(seen) == survived:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resumable.develop(_start(), "0", tmp_path, shop, killed)
    rest = []
    outcome = resumable.develop(
        _start(), "0", tmp_path, shop, lambda step, line: rest.append(step)
    )
    _assert_equal(outcome, undisturbed)
    # Each chunk was done once: nothing lost, nothing repeated.
    assert seen + rest == [5, 10, 15, 17]
    assert [path.name for path in tmp_path.iterdir()] == ["result_0.npz"]


def test_killed_while_it_stores_loses_one_chunk(
    shop, undisturbed, tmp_path, monkeypatch
):
    save, count = resumable.stored.save, []

    def killed(path, tree):
        count.append(path)
        if len(count) == 2:
            raise KeyboardInterrupt
        return save(path, tree)

    monkeypatch.setattr(resumable.stored, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        resumable.develop(_start(), "0", tmp_path, shop)
    monkeypatch.undo()
    rest = []
    outcome = resumable.develop(
        _start(), "0", tmp_path, shop, lambda step, line: rest.append(step)
    )
    _assert_equal(outcome, undisturbed)
    assert rest == [10, 15, 17]


def test_a_finished_start_is_never_done_again(shop, undisturbed, tmp_path):
    resumable.develop(_start(), "0", tmp_path, shop)
    # Killed after the result was written and before the state was removed.
    (tmp_path / "state_0.npz").write_bytes(b"left over")

    def never(*_):
        raise AssertionError("done again")

    again = resumable.develop(_start(), "0", tmp_path, shop, never)
    _assert_equal(again, undisturbed)
    assert not (tmp_path / "state_0.npz").exists()


@pytest.mark.parametrize("name", ["state", "result"])
def test_a_damaged_file_is_done_anew_and_said(
    shop, undisturbed, tmp_path, capsys, name
):
    def killed(step, line):
        raise KeyboardInterrupt

    if name == "state":
        with pytest.raises(KeyboardInterrupt):
            resumable.develop(_start(), "0", tmp_path, shop, killed)
    else:
        resumable.develop(_start(), "0", tmp_path, shop)
    path = tmp_path / f"{name}_0.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    rest = []
    outcome = resumable.develop(
        _start(), "0", tmp_path, shop, lambda step, line: rest.append(step)
    )
    _assert_equal(outcome, undisturbed)
    assert rest == [5, 10, 15, 17]
    said = capsys.readouterr().out
    assert f"{path} is damaged" in said
    assert "Start 0 is done again from its beginning." in said


def test_two_starts_do_not_share_files(shop, undisturbed, tmp_path):
    other = resumable.develop(_start(1), "1", tmp_path, shop)
    outcome = resumable.develop(_start(), "0", tmp_path, shop)
    _assert_equal(outcome, undisturbed)
    assert (other.density != outcome.density).any()


def test_an_empty_design_is_an_outcome(shop, tmp_path):
    nothing = binary.Design(np.zeros((N,) * 3, np.uint8), None, -np.inf, np.inf, 3, ())
    empty = resumable.Workshop(**{**vars(shop), "finish": lambda density: nothing})
    outcome = resumable.develop(_start(), "0", tmp_path, empty)
    assert not outcome.octant.any() and np.isnan(outcome.constants).all()
    assert outcome.value == -np.inf and not outcome.converged
    _assert_equal(resumable.develop(_start(), "0", tmp_path, empty), outcome)
