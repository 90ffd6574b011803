"""Resumable runs: the same bits after any interruption, nothing done twice."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from design_helpers import wave
from jax import lax

from mmdiff.cells import surface
from mmdiff.cells.mend import PRINTING
from mmdiff.design.optimize import resumable
from mmdiff.design.optimize.method import RunSpec
from mmdiff.fem.accuracy import Estimate
from mmdiff.run import workdir
from mmdiff.topopt import finish, objectives
from mmdiff.topopt.optimize import COLUMNS, Loop, Settings, Stage, State
from mmdiff.topopt.problem import Limits, Problem

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


def _finish(density, problem, limits, evaluate, *, symmetry, steps, printing, solver):
    constants = np.array([0.3, 0.1, 0.08])
    result = Estimate(
        constants, 0.01 * constants, constants, constants, 0.5, 1e-6, True, None
    )
    history = ((0.1, 0.0, 0.5), (0.2, 0.0, 0.5))
    psi = np.asarray(density, np.float64) - 0.5
    return finish.Design(psi, result, 0.2, 0.0, "thin walls", history, 7)


@pytest.fixture(scope="module", autouse=True)
def no_refinement():
    """Let the surface be that of the design."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "finish", _finish)
        yield


@pytest.fixture(scope="module")
def spec():
    return RunSpec(
        loop=Loop(*map(jax.jit, _loop())),
        settings=Settings(stages=(Stage(3.0, 1.0, STEPS),)),
        problem=Problem(lambda _: objectives.bulk),
        limits=Limits(1.0),
        evaluate=lambda psi, fields=None: None,
        refine_steps=4,
        chunk=CHUNK,
        printing=PRINTING,
        solver={},
    )


START, OTHER = np.random.default_rng(0).uniform(size=(2, N, N, N)).astype(np.float32)


def run(spec, folder=None, start=START, after=lambda step, line: None, name="0"):
    return resumable.run(start, spec, name=name, folder=folder, after=after)


def _assert_equal(one, other):
    for name, a, b in zip(one._fields, one, other, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes(), name


@pytest.fixture(scope="module")
def undisturbed(spec):
    return run(spec)


def test_the_outcome_is_that_of_the_loop(spec, undisturbed):
    state = spec.loop.run(spec.loop.init(jnp.asarray(START)), spec.limits, STEPS)
    np.testing.assert_array_equal(undisturbed.history, state.history)
    np.testing.assert_array_equal(undisturbed.density, state.design)
    assert undisturbed.steps == STEPS
    np.testing.assert_array_equal(undisturbed.start, START)
    np.testing.assert_array_equal(undisturbed.constants, [0.3, 0.1, 0.08])
    np.testing.assert_allclose(undisturbed.uncertainty, [0.003, 0.001, 0.0008])
    assert undisturbed.value == 0.2 and undisturbed.volume == 0.5
    assert undisturbed.found and not undisturbed.printable
    assert undisturbed.solutions == 7
    np.testing.assert_array_equal(undisturbed.psi, undisturbed.density - 0.5)
    np.testing.assert_array_equal(
        undisturbed.refinement[:2], [[0.1, 0, 0.5], [0.2, 0, 0.5]]
    )
    assert np.isnan(undisturbed.refinement[2:]).all()
    # Snapshots are of the start and of each chunk.
    np.testing.assert_array_equal(undisturbed.when, [0, 5, 10, 15, 17, -1, -1])
    for i, density in ((0, START), (4, undisturbed.density)):
        grey = np.round(255 * density)
        np.testing.assert_array_equal(undisturbed.snapshots[i], grey)
    assert not undisturbed.snapshots[5:].any()


def _killed(spec, folder, survived):
    """Kill a run after a chunk; returns the steps that it did."""
    seen = []

    def after(step, line):
        seen.append(step)
        if len(seen) == survived:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(spec, folder, after=after)
    return seen


def _resumed(spec, folder, undisturbed):
    """Go on with a run to the same bits; returns the steps that it did."""
    rest = []
    outcome = run(spec, folder, after=lambda step, line: rest.append(step))
    _assert_equal(outcome, undisturbed)
    assert [path.name for path in folder.iterdir()] == ["result_0.npz"]
    return rest


@pytest.mark.parametrize("survived", [1, 2, 3])
def test_killed_and_resumed_gives_the_same_bits(spec, undisturbed, tmp_path, survived):
    seen = _killed(spec, tmp_path, survived)
    # Each chunk was done once: nothing lost, nothing repeated.
    assert seen + _resumed(spec, tmp_path, undisturbed) == [5, 10, 15, 17]


def test_killed_while_it_stores_loses_one_chunk(
    spec, undisturbed, tmp_path, monkeypatch
):
    save, count = resumable.saved.save, []

    def killed(path, tree):
        count.append(path)
        if len(count) == 2:
            raise KeyboardInterrupt
        return save(path, tree)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(resumable.saved, "save", killed)
        run(spec, tmp_path)
    assert _resumed(spec, tmp_path, undisturbed) == [10, 15, 17]


def test_a_finished_start_is_never_done_again(spec, undisturbed, tmp_path):
    run(spec, tmp_path)
    # Killed after the result was written and before the state was removed.
    (tmp_path / "state_0.npz").write_bytes(b"left over")
    assert _resumed(spec, tmp_path, undisturbed) == []


@pytest.mark.parametrize("name", ["state", "result"])
def test_a_damaged_file_is_done_anew_and_said(
    spec, undisturbed, tmp_path, capsys, name
):
    if name == "state":
        _killed(spec, tmp_path, 1)
    else:
        run(spec, tmp_path)
    path = tmp_path / f"{name}_0.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert _resumed(spec, tmp_path, undisturbed) == [5, 10, 15, 17]
    said = capsys.readouterr().out
    assert f"{path} is damaged" in said and "It is made again." in said


def test_two_starts_do_not_share_files(spec, undisturbed, tmp_path):
    other = run(spec, tmp_path, OTHER, name="1")
    outcome = run(spec, tmp_path)
    _assert_equal(outcome, undisturbed)
    assert (other.density != outcome.density).any()


def _field(psi, problem, limits, evaluate, **options):
    """Stand for `finish.finish_field`."""
    design = _finish(psi, problem, limits, evaluate, **options)
    return dataclasses.replace(design, psi=np.float64(psi) + 0.25)


def test_a_field_has_no_design_steps(spec, tmp_path, monkeypatch):
    moved = []

    def finish_field(psi, **options):
        moved.append(psi)
        return _field(psi, **options)

    monkeypatch.setattr(finish, "finish_field", finish_field)
    monkeypatch.setattr(finish, "finish", None)
    told = []
    after = lambda step, line: told.append(step)  # noqa: E731
    psi = wave(N)
    outcome = run(spec, tmp_path, psi, after=after)
    assert outcome.steps == 0 and not told
    assert all(len(column) == 0 for column in outcome.columns.values())
    # What it began with, as solid shares.
    shares = surface.fractions(psi, N)
    np.testing.assert_allclose(outcome.start, shares, atol=1e-6)  # float32
    np.testing.assert_array_equal(outcome.density, outcome.start)
    np.testing.assert_allclose(moved, [psi], atol=1e-6)
    np.testing.assert_allclose(outcome.psi, psi + 0.25, atol=1e-6)
    np.testing.assert_array_equal(outcome.when, [0, *(6 * [-1])])
    grey = np.round(255 * outcome.start)
    np.testing.assert_array_equal(outcome.snapshots[0], grey)
    assert outcome.value == 0.2 and outcome.solutions == 7
    np.testing.assert_array_equal(
        outcome.refinement[:2], [[0.1, 0, 0.5], [0.2, 0, 0.5]]
    )
    # It is never done again, and leaves no other file.
    _assert_equal(run(spec, tmp_path, psi), outcome)
    assert len(moved) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["result_0.npz"]


def test_all_steps_of_a_field_count_at_once(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(finish, "finish_field", _field)
    (tmp_path / "state").mkdir()
    counts = []
    options = {"name": "0", "label": 0, "folder": tmp_path, "show": str}
    options["advance"] = lambda steps, info="": counts.append(steps)
    resumable.tracked(wave(N), spec, **options)
    assert counts == [STEPS] and not workdir.read_metrics(tmp_path)


def test_fields_of_three_axes_keep_them(spec, monkeypatch):
    monkeypatch.setattr(finish, "finish_field", lambda *a, **o: finish.Design())
    settings = dataclasses.replace(spec.settings, symmetry="orthotropic")
    psi = wave(N) + np.linspace(-0.5, 0.5, N)[:, None, None]
    outcome = run(dataclasses.replace(spec, settings=settings), start=psi)
    shares = surface.fractions(psi, N, cubic=False)
    np.testing.assert_allclose(outcome.start, shares, atol=1e-6)  # float32
    assert not outcome.found and outcome.constants.shape == (9,)


def test_an_empty_design_is_an_outcome(spec, tmp_path, monkeypatch):
    nothing = finish.Design()
    monkeypatch.setattr(finish, "finish", lambda *args, **options: nothing)
    outcome = run(spec, tmp_path)
    assert not outcome.found and (outcome.psi < 0).all()
    assert outcome.value == -np.inf and not outcome.converged
    assert outcome.solutions == 0
    _assert_equal(run(spec, tmp_path), outcome)


def test_progress_is_shown_and_logged(spec, tmp_path, undisturbed):
    (tmp_path / "state").mkdir()
    shown = []
    options = {"name": "000", "label": 0, "show": lambda line: f"{line['volume']:.3f}"}

    def advance(steps, info=""):
        shown.append((steps, info))

    options |= {"folder": tmp_path, "advance": advance}
    _assert_equal(resumable.tracked(START, spec, **options), undisturbed)
    lines = workdir.read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [5, 10, 15, 17]
    assert {(line["start"], line["resolution"]) for line in lines} == {(0, 2 * N)}
    assert [steps for steps, _ in shown] == [5, 5, 5, 2, 0]
    assert shown[0][1] == f"start 0, step 5: {lines[0]['volume']:.3f}"
    # What is finished counts at once.
    resumable.tracked(START, spec, **options)
    assert shown[5:] == [(STEPS, "")]
    assert len(workdir.read_metrics(tmp_path)) == 4


def test_without_a_folder_nothing_is_shown(spec, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = {"name": "0", "label": 1, "advance": lambda *_, **__: None}
    resumable.tracked(START, spec, folder=None, show=str, **options)
    assert not list(tmp_path.iterdir()) and not capsys.readouterr().out
