"""The delivered files: complete, closed, and true to the reported numbers."""

import json

import jax
import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.cells import specimens
from mmdiff.cells.symmetry import cell_to_octant
from mmdiff.design.generate import pipeline, properties
from mmdiff.design.generate import report as deliver
from mmdiff.fem import homogenize
from mmdiff.targets import quantities
from mmdiff.targets.target import of_constants, parse
from mmdiff.topopt import interface

N = 16


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("delivered")
    goal = of_constants((0.12, 0.02, 0.02))
    wave = np.cos(np.pi * (np.arange(N) + 0.5) / N)
    smooth = np.asarray(wave[:, None, None] + wave[:, None] + wave)
    plates = 2 * specimens.plates(N) - 1
    fields = np.stack([np.round(smooth + 0.8, 9), plates])
    with jax.numpy_rank_promotion("allow"):
        cells, counts = pipeline.generate(
            jax.random.key(0),
            goal,
            draw=lambda key, target: fields,
            evaluate=interface.make_evaluate(N),
            num_best=2,
        )
        settings = {
            "void": homogenize.VOID,
            "penal": homogenize.PENAL,
            "tol": homogenize.TOL,
            "base_E": 1.0,
            "base_nu": elasticity.NU,
            "cell_size_mm": 12.0,
            "counts": counts,
        }
        report = properties.report(goal, cells, settings)
        deliver.write(folder, goal, cells, report)
    return folder, cells


def test_every_file_is_there(delivered):
    folder, cells = delivered
    assert len(cells) == 2
    names = [f"cell_{i:02d}.{k}" for i in (0, 1) for k in "npy stl 3mf vti png".split()]
    names += "cells.npz properties.json properties.csv sheet.png index.html".split()
    missing = [name for name in names if not (folder / name).stat().st_size]
    assert not missing


def test_the_numbers_are_those_of_the_written_cells(delivered):
    folder, _ = delivered
    report = json.loads((folder / "properties.json").read_text())
    for cell in report["cells"]:
        voxels = np.load(folder / cell["file"])
        assert voxels.dtype == np.uint8 and voxels.shape == (2 * N,) * 3
        octant = cell_to_octant(voxels).astype(np.float32)
        tensor, info = homogenize.homogenize(octant, void=report["void"])
        # The same program on the same voxels: equal far below 1e-6.
        np.testing.assert_allclose(tensor, cell["C"], atol=1e-6)
        assert bool(info.converged.all())
        assert cell["volume"] == voxels.mean()


def test_npz_holds_the_same_cells(delivered):
    folder, cells = delivered
    with np.load(folder / "cells.npz") as data:
        assert data["void"] == homogenize.VOID
        for i, cell in enumerate(cells):
            np.testing.assert_array_equal(
                data["cells"][i], np.load(folder / f"cell_{i:02d}.npy")
            )
            np.testing.assert_array_equal(data["constants"][i], cell.constants)


def test_stl_is_closed_and_has_the_volume_of_the_voxels(delivered):
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("skimage")
    folder, cells = delivered
    for i, cell in enumerate(cells):
        mesh = trimesh.load(folder / f"cell_{i:02d}.stl")
        assert mesh.is_watertight and mesh.is_winding_consistent
        # 1 % is what is promised of the smoothed surface.
        np.testing.assert_allclose(mesh.volume, cell.volume * 12.0**3, rtol=0.01)
        np.testing.assert_allclose(np.ptp(mesh.bounds, axis=0), 12.0, rtol=0.02)


def test_page_is_offline_and_links_the_files(delivered):
    folder, _ = delivered
    text = (folder / "index.html").read_text()
    assert "http://" not in text and "https://" not in text
    for name in ("cell_00.stl", "cell_01.vti", "properties.json", "sheet.png"):
        assert f'href="{name}"' in text


def test_without_scikit_image_the_stl_is_voxel_exact(
    delivered, tmp_path, monkeypatch, capsys
):
    folder, cells = delivered

    def missing(*args, **kwargs):
        raise ImportError("No module named 'skimage'")

    monkeypatch.setattr(deliver.surface, "smooth_surface", missing)
    voxels = np.load(folder / "cell_00.npy")
    report = json.loads((folder / "properties.json").read_text())
    deliver.write_cell(tmp_path, "cell_00", voxels, report)
    said = capsys.readouterr().out
    assert "STL smoothing needs scikit-image: pip install 'mmdiff[viz]'." in said
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.load(tmp_path / "cell_00.stl")
    # Voxel faces: exact but for float32 coordinates.
    np.testing.assert_allclose(mesh.volume, cells[0].volume * 12.0**3, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "shown", "titles"),
    [
        ("E=0.1,zener=1", ["cell 0"], ["E / E base", "Zener ratio"]),
        ("E=0.1,zener=1,nu=0.2", ["asked", "cell 0"], ["C11 / E base"]),
    ],
)
def test_plots_show_what_is_asked(
    delivered, tmp_path, monkeypatch, text, shown, titles
):
    _, cells = delivered
    drawn = {}
    for name in ("modulus_spheres", "parity"):
        monkeypatch.setattr(
            deliver.plots,
            name,
            lambda *args, name=name, **options: drawn.update({name: (args, options)}),
        )
    monkeypatch.setattr(
        deliver, "write_cell", lambda *args: np.zeros((8, 8, 3), np.uint8)
    )
    goal = parse(text, volume=0.3)
    settings = {"cell_size_mm": 12.0, "tol": 1e-5, "base_nu": 0.3}
    settings |= {"base_E": 10.0, "void": 1e-6, "penal": 3.0}
    deliver.write(tmp_path, goal, cells, properties.report(goal, cells, settings))
    (_, tensors, labels), _ = drawn["modulus_spheres"]
    assert labels == shown and np.isfinite(tensors).all()
    (_, asked, got), options = drawn["parity"]
    assert options["names"][: len(titles)] == titles
    assert options["names"][-1] == "volume fraction" and asked[-1] == 0.3
    # In units of the base material, as the axes say.
    names = [name for name, _ in goal.counted]
    np.testing.assert_array_equal(
        got[0][:-1], quantities.values(cells[0].constants, names)
    )
    page = (tmp_path / "index.html").read_text()
    assert "<title>mmdiff: cells for E 1, zener 1" in page
    table = (tmp_path / "properties.csv").read_text()
    assert "history" not in table.splitlines()[0]
