"""Searches on frames in place of samples, with a design loop that keeps its start."""

import types

import field_helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from design_helpers import rough_dataset, rough_sampler
from field_helpers import RATES

from mmdiff.cells.mend import Printing
from mmdiff.design.extremes import edges, quest, report, runs
from mmdiff.design.extremes.network import Network
from mmdiff.design.extremes.starts import Setup
from mmdiff.design.extremes.variants import VariantPlan
from mmdiff.design.generate import sampler
from mmdiff.design.optimize import starts
from mmdiff.design.optimize.method import Method
from mmdiff.diffusion.conditions import NAMES, fit_conditions
from mmdiff.diffusion.schedule import ExponentialSchedule, schedule_to_dict
from mmdiff.elasticity import cubic_to_voigt
from mmdiff.fem import accuracy
from mmdiff.io.report import write
from mmdiff.models import noise_codec
from mmdiff.models.noise_codec import NoiseCodec
from mmdiff.models.weights import Model
from mmdiff.run import workers
from mmdiff.topopt import optimize
from mmdiff.topopt.optimize import COLUMNS, Loop, State

N, STEPS = 8, 12
ANY = Printing(0.0, 0.0, drainable=False)
THIN = Printing(0.01, 0.01, drainable=False)
META = {"octant": N, "schedule": schedule_to_dict(ExponentialSchedule())}
SETTINGS = {"cell_size_mm": 10.0, "num_starts": 2}


def _make_optimize(n, problem, settings):
    """Return a loop that keeps its start."""

    def init(start):
        history = jnp.full((settings.steps, len(COLUMNS)), jnp.nan, jnp.float32)
        zero = jnp.zeros((), jnp.int32)
        return State(start, (), start[None], zero, zero, zero, history)

    def run(state, limits, steps):
        done = jnp.minimum(state.total + steps, settings.steps)
        before = jnp.arange(settings.steps) < done
        history = jnp.where(before[:, None], limits.volume, state.history)
        return state._replace(total=done, history=history)

    def done(state):
        return state.total >= settings.steps

    return Loop(init, run, done, lambda state: state.design)


def _homogenize(octant, **options):
    """Return constants whose Zener ratio is that of a mixture, see `plates`."""
    constants = np.array([0.3, 0.1, 0.1 * (1.7 - octant[0].mean())])
    return cubic_to_voigt(constants), types.SimpleNamespace(converged=np.array([True]))


@pytest.fixture
def drawn(monkeypatch):
    """Targets that samples were drawn for; finite elements are proportional."""
    targets = []
    points = np.outer([0.2, 0.4, 0.6], [*RATES, 1.0, 1.0])
    scaling = fit_conditions(NAMES, points)
    codec = NoiseCodec(lambda key, x0, cond: 2 * x0, lambda x, *args: jnp.asarray(x))
    for module, name, value in (
        (sampler, "make_sampler", rough_sampler(targets)),
        (noise_codec, "load_noise_codec", lambda *args, **options: (codec, scaling)),
        (starts.homogenize, "homogenize", _homogenize),
        (optimize, "make_optimize", _make_optimize),
    ):
        monkeypatch.setattr(module, name, value)
    field_helpers.patch(monkeypatch)
    monkeypatch.setattr(workers, "on_cpu", lambda: False)
    return targets


@pytest.fixture(scope="module")
def data():
    return rough_dataset()


@pytest.fixture
def search(drawn, data, tmp_path):
    """Search below a directory; returns the quests, records and what comes back."""

    def run(*asked, volume=0.45, floor=0.005, plan=VARIANTS, **options):
        limits = {"isotropy": 0.2, "floor": floor}
        quests = [
            quest.make_quest(aim, volume, **limits, printing=printing)
            for aim, printing in asked or [("shear", ANY)]
        ]
        near = {"band": 0.9, "isotropy": 3.0, "alike": 0.95}
        rows = [edges.edge_rows(one, data, count=1, **near) for one in quests]
        (tmp_path / "state").mkdir(exist_ok=True)
        network = Network(Model({}, META), num_samples=2)
        method = Method(16, radius=1.2, steps=STEPS, refine_steps=0)
        counts = {"num_starts": 2, "num_edges": 1, "num_plates": 1}
        setup = Setup(data, network, method, tmp_path, **counts, **options)
        tasks = runs.make_tasks(quests, rows, jax.random.key(0), plan)
        return quests, *runs.search(tasks, setup)

    return run


VARIANTS = VariantPlan(sizes=[0.1, 0.3], steps=0, keep=2, alike=0.98, loss=0.05)


@pytest.mark.slow
def test_all_kinds_are_found_and_reported(search, data, tmp_path, capsys):
    (asked,), found, returned = search()
    kinds = [record.kind for record in found]
    count = {kind: kinds.count(kind) for kind in kinds}
    assert count.pop("variant") in (1, 2)  # the noise may lead to loose pieces
    assert count == {"edge": 1, "generated": 2, "random": 2, "plates": 5}
    # One lattice is a start; all five are there as they are.
    plates = [record for record in found if record.kind == "plates"]
    assert [record.after is not None for record in plates] == [True, *4 * [False]]
    for record in found:
        # Random starts alone are designed; the others are cells already.
        assert record.steps == (STEPS if record.kind == "random" else 0)
        if record.after and record.kind != "variant":
            # The looks at the surface, if there is one: on two grids, at its volume.
            lost = np.isnan(record.after.constants).any()
            assert record.solutions - record.steps in ((0,) if lost else (2, 3))
        if record.kind == "edge":
            # No steps: the surface is that of the start, moved alike to the volume.
            assert np.ptp(record.after.psi - record.before.psi) < 1e-6
            assert record.after.volume == pytest.approx(0.45, abs=1e-4)
    said = capsys.readouterr().out
    assert f"shear_closed_0: {100 * returned[asked.name]:.2f} % of" in said

    value = report.report([asked], found, returned, data, SETTINGS)
    known = value.values["quests"][asked.name]
    assert known["plates_as_they_are"]["value"]
    assert set(known["best"]) >= {"edge", "generated", "random"}
    assert known["voxels_that_come_back"] == returned[asked.name] == 1.0
    assert (known["void"], known["min_wall"], known["min_gap"]) == ("closed", 0, 0)
    assert value.notes == [known["verdict"]]
    rows = value.rows["extremes.csv"]
    assert [row["name"] for row in rows] == [record.name for record in found]
    assert rows[-1]["design_resolution"] == 16 and rows[-1]["before value"]
    # Four lattices are as they were.
    assert len(value.arrays["extremes.npz"]) == 2 * len(rows) - 4
    (cell,) = value.cells
    best = quest.best(asked, found)
    assert cell.name == "shear_closed_0_best" and cell.psi is best.after.psi
    (row,) = report.table([asked], found)
    assert row[:4] == ["shear", "closed, any walls", "0.45", "G/G_HS"]
    assert len(row) == len(report.HEADER)
    (costs,) = value.tables["What drainage and walls cost"]
    assert costs["closed, any walls"].endswith(f"({best.kind})")

    assert write(tmp_path, value) == []
    names = "extremes.json extremes.csv extremes.npz pairs.png bounds.png index.html "
    names += " ".join(f"{cell.name}.{kind}" for kind in ("npy", "stl", "vti", "png"))
    assert not [name for name in names.split() if not (tmp_path / name).stat().st_size]


def _times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_what_was_finished_is_not_made_again(search, drawn, tmp_path):
    _, found, returned = search()
    count, state = len(drawn), tmp_path / "state"
    torn = state / "result_shear_closed_0_random_01.npz"
    torn.write_bytes(torn.read_bytes()[:99])
    lost = ["result_shear_closed_0_generated_00.npz", "design_shear_00.npz"]
    before = _times(state)
    for name in lost:
        (state / name).unlink()
    _, again, same = search()
    assert same == returned
    for one, other in zip(found, again, strict=True):
        facts = ("name", "steps", "solutions", "spent", "flaws", "kept", "similarity")
        for name in facts:
            assert getattr(one, name) == getattr(other, name)
        for shape in ("before", "after"):
            if getattr(one, shape):
                psi, constants = (
                    [getattr(getattr(record, shape), name) for record in (one, other)]
                    for name in ("psi", "constants")
                )
                np.testing.assert_array_equal(*psi)
                np.testing.assert_array_equal(*constants)
    assert len(drawn) == count  # no sample was drawn again
    after = _times(state)
    redone = {name for name, time in after.items() if time != before[name]}
    assert redone == {torn.name, *lost} and set(after) == set(before)


def test_quests_of_an_aim_share_samples_and_designs(
    search, drawn, tmp_path, monkeypatch
):
    made, designed, order = [], [], []

    def spy(module, name, seen):
        plain = getattr(module, name)

        def told(*args, **options):
            seen.append(args)
            return plain(*args, **options)

        monkeypatch.setattr(module, name, told)

    spy(starts, "random_starts", made)
    spy(runs, "_designed", designed)
    spy(workers, "run_units", order)
    quests, found, returned = search(("shear", ANY), ("bulk", ANY), ("shear", THIN))
    # A batch of samples and two designs for each of two aims.
    assert len(drawn) == 2 and len(designed) == 4
    # Random densities of each aim: once for their shapes and once for their designs.
    assert len(made) == 4
    state = {path.name for path in (tmp_path / "state").iterdir()}
    shared = {f"generated_{aim}_closed.npz" for aim in ("shear", "bulk")}
    shared |= {f"random_{aim}.npz" for aim in ("shear", "bulk")}
    shared |= {f"design_{aim}_{i:02d}.npz" for aim in ("shear", "bulk") for i in (0, 1)}
    assert {n for n in state if n.startswith(("gen", "ran", "des"))} == shared
    first, second = (
        [r for r in found if r.quest == q.name and r.kind != "variant"]
        for q in (quests[0], quests[2])
    )
    assert [r.name.replace("closed_0", "closed_1") for r in first] == [
        r.name for r in second
    ]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.before.psi, other.before.psi)
        assert (one.steps, one.spent) == (other.steps, other.spent)
    # The best cell of the first quest of an aim is varied.
    assert returned["shear_closed_1"] is None
    assert returned["shear_closed_0"] == returned["bulk_closed_0"] == 1.0
    # What takes longest begins first; designs that others make are waited for.
    ((_, units),) = order
    names = [start.name for _, start, _ in units]
    own = [f"{q}_closed_0_random_{i:02d}" for q in ("shear", "bulk") for i in (0, 1)]
    assert names[:4] == own
    assert names[-2:] == ["shear_closed_1_random_00", "shear_closed_1_random_01"]
    assert all(
        (density is not None) == (start.kind == "random") for _, start, density in units
    )


def test_open_void_has_samples_of_its_own(search, drawn, tmp_path, monkeypatch):
    make_sampler, asked = sampler.make_sampler, []

    def told(*args, drainable, **options):
        asked.append(drainable)
        return make_sampler(*args, drainable=drainable, **options)

    monkeypatch.setattr(sampler, "make_sampler", told)
    search(("shear", Printing(0.0, 0.0)), ("shear", ANY), plan=None)
    assert asked == [True, False] and len(drawn) == 2
    names = {path.name for path in (tmp_path / "state").glob("generated_*")}
    assert names == {"generated_shear_open.npz", "generated_shear_closed.npz"}


def test_best_cells_are_checked_on_finer_grids_once(search, monkeypatch):
    looked = []

    def check(psi):
        looked.append(psi)
        result = accuracy.estimate(psi)
        return result._replace(constants=0.9 * result.constants)

    monkeypatch.setattr(accuracy, "check", check)
    (asked,), found, _ = search(recheck=True, plan=None)
    best = quest.best(asked, found)
    assert [record.name for record in found if record.checked] == [best.name]
    assert len(looked) == 1 and looked[0] is best.after.psi
    share = quest.score(asked, best.checked) / quest.score(asked, best.after)
    assert share == pytest.approx(0.9)
    _, again, _ = search(recheck=True, plan=None)
    (same,) = [record.checked for record in again if record.checked]
    np.testing.assert_array_equal(same.constants, best.checked.constants)
    assert len(looked) == 1


def test_a_design_that_falls_apart_is_no_cell(search, monkeypatch):
    dust = np.full((N, N, N), 0.05)
    dust[2:5, 2:5, 2:5] = 0.9

    def densities(asked, setup):
        return 2 * [dust.astype(np.float32)]

    monkeypatch.setattr(runs.starts, "densities", densities)
    (asked,), found, _ = search(plan=None)
    for record in found:
        if record.kind == "random":
            assert np.isnan(record.after.constants).all() and not record.is_good
            assert record.solutions == record.steps == STEPS
            assert "bears load" in record.flaws[0]
    assert quest.best(asked, found) and quest.median(asked, found, "random") is None


def test_a_quest_without_a_good_cell_is_noted(search, data, capsys):
    (asked,), found, returned = search(("poisson", ANY), volume=0.6, floor=0.55)
    said = capsys.readouterr().out
    assert "none of 10 starts gave the cell that was asked for" in said
    assert returned == {"poisson_closed_0": None} and quest.best(asked, found) is None
    verdict = report.verdict(asked, found)
    assert "poisson, closed, any walls: most starts failed" in verdict
    value = report.report([asked], found, returned, data, SETTINGS)
    assert value.values["quests"][asked.name]["best"] == {} and not value.cells
    (costs,) = value.tables["What drainage and walls cost"]
    assert costs["closed, any walls"] is None
