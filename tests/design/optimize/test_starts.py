"""Starts from everywhere: the right shape, symmetry, volume and range."""

import types

import numpy as np
import pytest
from design_helpers import dataset_of, wave
from field_helpers import RATES
from field_helpers import estimate as volume_estimate

from mmdiff.cells import surface
from mmdiff.cells.symmetry import is_cubic, octant_to_cell
from mmdiff.design.bench import specimens
from mmdiff.design.generate.cell import make_cell
from mmdiff.design.optimize import starts
from mmdiff.design.optimize.method import Method
from mmdiff.design.optimize.problem import Constraints, request
from mmdiff.elasticity import cubic_to_voigt
from mmdiff.errors import InputError
from mmdiff.targets.target import of_constants
from mmdiff.topopt.starts import is_field

N = 8


def _save(tmp_path, array):
    np.save(tmp_path / "cell.npy", array)
    return tmp_path / "cell.npy"


def test_random_starts_follow_the_seed():
    found = starts.random_starts(3, N, 0.4, seed=5)
    assert [kind for kind, _ in found] == 3 * ["random"]
    first, second, third = (grid for _, grid in found)
    assert is_cubic(first) and first.shape == (N, N, N)
    assert 0 <= first.min() and first.max() <= 1
    # Clipping moves the mean a little.
    np.testing.assert_allclose(first.mean(), 0.4, atol=0.05)
    assert (first != second).any() and (second != third).any()
    # More starts do not change the first ones.
    again = starts.random_starts(2, N, 0.4, seed=5)
    np.testing.assert_array_equal(again[1][1], second)
    assert (starts.random_starts(1, N, 0.4, seed=6)[0][1] != first).any()
    ((_, grid),) = starts.random_starts(1, N, 0.4, symmetry="orthotropic")
    assert grid.shape == (N, N, N) and not is_cubic(grid)


def test_cell_octant_and_other_resolutions_are_the_same_start(tmp_path):
    octant = specimens.plates(N)
    cell = _save(tmp_path, octant_to_cell(octant))
    ((label, grid),) = starts.file_starts(cell, N)
    assert label == "cell.npy" and grid.dtype == np.float32
    np.testing.assert_allclose(grid, 0.05 + 0.9 * octant, rtol=1e-6)  # float32
    same = starts.voxel_start(octant, "octant", N, input_is="octant")
    np.testing.assert_array_equal(same, grid)
    ((_, fine),) = starts.file_starts(cell, 2 * N)
    assert fine.shape == 3 * (2 * N,) and is_cubic(fine)
    np.testing.assert_allclose(fine.mean(), 0.05 + 0.9 * octant.mean(), atol=0.02)


def test_all_cells_of_a_file_are_starts(tmp_path):
    cell = octant_to_cell(specimens.plates(N))
    path = _save(tmp_path, np.stack([cell, 0.5 * cell]))
    found = starts.file_starts(path, N, index="all")
    assert [label for label, _ in found] == ["cell.npy[0]", "cell.npy[1]"]
    np.testing.assert_allclose(found[1][1].max(), 0.05 + 0.9 * 0.5, rtol=1e-6)
    ((label, _),) = starts.file_starts(path, N, index="1")
    assert label == "cell.npy[1]"


def test_cells_of_a_dataset_are_starts_on_any_grid(tmp_path, monkeypatch):
    data = dataset_of([wave(), wave() + 0.4], np.ones((2, 3)), [0.5, 0.6])
    monkeypatch.setattr(starts.dataset, "is_dataset", lambda path: True)
    monkeypatch.setattr(starts.dataset, "load_dataset", lambda path: data)
    ((label, psi),) = starts.file_starts(tmp_path / "run", 2 * N, index="1")
    assert label == "run[1]" and is_field(psi) and is_cubic(psi)
    np.testing.assert_array_equal(psi, surface.resampled(data.fields(1), 2 * N))
    ((_, psi),) = starts.file_starts(tmp_path / "run", N, index="0")
    np.testing.assert_array_equal(psi, data.fields(0))
    assert len(starts.file_starts(tmp_path / "run", N, index="all")) == 2
    with pytest.raises(InputError, match="run holds 2 cells .shape .2, 8, 8, 8"):
        starts.file_starts(tmp_path / "run", N)


def test_known_cells_are_the_best_of_the_dataset(monkeypatch):
    shapes = [wave(), wave() + 0.3, wave() - 0.3]
    volumes = [0.5, 0.52, 0.48]
    data = dataset_of(shapes, np.outer([0.3, 0.5, 0.4], RATES), volumes)
    monkeypatch.setattr(starts.dataset, "load_dataset", lambda: data)
    asked = request("bulk", Constraints(0.5))
    options = {"count": 2, "drainable": False, "nu": 0.3}
    found = starts.dataset_starts(asked, 2 * N, **options)
    assert [label for label, _ in found] == ["dataset 1", "dataset 2"]
    for i, (_, psi) in zip((1, 2), found, strict=True):
        np.testing.assert_array_equal(psi, surface.resampled(data.fields(i), 2 * N))
        assert is_field(psi)
    data.info["records"][1]["trapped"] = 0.5
    found = starts.dataset_starts(asked, N, **options | {"drainable": True})
    assert [label for label, _ in found] == ["dataset 2", "dataset 0"]


def test_densities_are_no_fields():
    octant = specimens.plates(N)
    ((_, random),) = starts.random_starts(1, N, 0.4)
    assert not is_field(random) and not is_field(starts.soften(octant))
    assert is_field(surface.from_voxels(octant))


def test_an_orthotropic_design_may_start_from_an_orthotropic_cell():
    octant = np.zeros((N, N, N))
    octant[:, :3, :2] = 1
    options = {"input_is": "octant", "symmetry": "orthotropic"}
    grid = starts.voxel_start(octant, "bar", N, **options)
    np.testing.assert_allclose(grid, 0.05 + 0.9 * octant, rtol=1e-6)  # float32


def test_starts_of_several_kinds_are_kept(tmp_path, capsys):
    made = {"random": starts.random_starts(2, N, 0.4)}
    made["plates"] = [("sc", made["random"][0][1])]
    options = {"make": made.__getitem__, "count": 2}
    found = starts.stored(tmp_path / "starts.npz", list(made), **options)
    assert [kind for kind, _ in found] == ["random", "random", "sc"]
    assert "start=plates gives 1 of 2 starts." in capsys.readouterr().out
    made.clear()
    again = starts.stored(tmp_path / "starts.npz", ["random", "plates"], **options)
    np.testing.assert_array_equal(again[1][1], found[1][1])


def _bar():
    bar = np.zeros((16, 16, 16))
    bar[:, 6:10, 6:10] = 1
    return bar


@pytest.mark.parametrize(
    ("voxels", "options", "message"),
    [
        (_bar()[..., :8], {}, r"start x has shape \(16, 16, 8\)"),
        (
            np.random.default_rng(0).uniform(size=(16, 16, 16)),
            {},
            "start x has no mirror planes",
        ),
        (_bar(), {}, "Pass `symmetry=orthotropic`"),
        (_bar(), {"input_is": "half"}, "input_is=half is unknown"),
        (255 * _bar(), {}, "For a 0/255 mask pass"),
        (0 * _bar(), {}, "x has no solid voxel above 0"),
    ],
)
def test_voxels_that_are_no_start(voxels, options, message):
    with pytest.raises(InputError, match=message):
        starts.voxel_start(voxels, "x", N, **options)


GOAL = of_constants((0.11, 0.045, 0.04))


@pytest.mark.parametrize(
    ("kind", "method", "goal", "message"),
    [
        ("cells.npy", {}, None, "start=cells.npy is neither dataset, random, plates"),
        ("cell.raw", {}, None, "a raw file carries no shape"),
        ("generated", {}, None, "start=generated needs a target for the model"),
        (
            "generated",
            {"symmetry": "orthotropic"},
            GOAL,
            "start=generated gives cubic cells, and symmetry=orthotropic",
        ),
    ],
)
def test_kinds_that_cannot_be_made(tmp_path, monkeypatch, kind, method, goal, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cell.raw").write_bytes(bytes(8))
    with pytest.raises(InputError, match=message):
        starts.check(kind, Method(**method), goal)


def test_kinds_that_can_be_made(tmp_path):
    path = _save(tmp_path, _bar())
    for kind in starts.kinds(f"dataset,random, plates,generated,{path}"):
        starts.check(kind, Method(), GOAL)


def test_plate_lattices_come_with_the_mixtures_first(tmp_path, monkeypatch):
    def homogenize(octant, **options):
        # Zener ratio from the corner of the octant, where only "octet" has none: what
        # matters here is that it lies on both sides of 1.
        constants = np.array([0.3, 0.1, 0.1 * (1.5 - octant[0].mean())])
        info = types.SimpleNamespace(converged=np.array([True]))
        return cubic_to_voigt(constants), info

    monkeypatch.setattr(starts.homogenize, "homogenize", homogenize)
    monkeypatch.setattr(starts.accuracy, "estimate", volume_estimate)
    path = tmp_path / "plates.npz"
    found = starts.plate_lattices(path, N, 0.4)
    assert list(found)[:2] == ["sc + octet", "sc + bcc"]
    assert set(found) == {"sc + octet", "sc + bcc", "sc", "bcc", "octet"}
    for psi, constants, uncertainty, _ in found.values():
        # To half an orbit.
        np.testing.assert_allclose(surface.volume(psi), 0.4, atol=3.1 / N**3)
        known = volume_estimate(psi)
        np.testing.assert_array_equal(constants, known.constants)
        np.testing.assert_array_equal(uncertainty, known.uncertainty)
    monkeypatch.delattr(starts.accuracy, "estimate")
    again = starts.plate_lattices(path, N, 0.4)
    assert list(again) == list(found)
    starting = starts.plate_starts(found)
    assert [name for name, _ in starting] == list(found)
    octants = [octant for *_, octant in found.values()]
    np.testing.assert_allclose(starting[0][1], 0.05 + 0.9 * octants[0], rtol=1e-6)


def test_generated_starts_are_cells_of_the_model(monkeypatch):
    samples = [np.stack([wave(), wave() + 0.8]), -np.ones((2, N, N, N))]
    drawn = []

    def make_draw(model, settings, count):
        drawn.append(count)
        return lambda key, target: samples[len(drawn) - 1]

    def make_check(n, settings):
        return lambda psi, target: make_cell(psi, volume_estimate(psi), target)

    model = types.SimpleNamespace(meta={"octant": N})
    monkeypatch.setattr(starts, "load_model", lambda: model)
    monkeypatch.setattr(starts.pipeline, "make_draw", make_draw)
    monkeypatch.setattr(starts.pipeline, "make_check", make_check)
    goal = of_constants(0.5 * RATES)
    found = starts.generated_starts(goal, 2 * N, count=2)
    assert [kind for kind, _ in found] == ["generated", "generated"]
    # On grids of any size; best first: half the solid's constants are asked for.
    assert {psi.shape for _, psi in found} == {3 * (2 * N,)}
    assert all(is_field(psi) for _, psi in found)
    values = [abs(surface.volume(psi) - 0.5) for _, psi in found]
    assert values == sorted(values) and drawn[0] >= 2
    with pytest.raises(InputError, match="pass `start=random`"):
        starts.generated_starts(goal, N, count=2)
