"""Named lattices through the command line: files, the table, blocks, and refusals."""

import csv
import json

import numpy as np
import pytest
from voxelize import edge_uses

import mmdiff as mm
from mmdiff import elasticity, main
from mmdiff.cells import mesh

SMALL = ("--config.samples=8", "--config.resolution=32", "--config.workers=1")


@pytest.fixture
def command(tmp_path):
    """Return a function that runs the experiment with options of the config."""

    def run(*options, variant=""):
        flags = [f"--config.{option}" for option in options]
        config = f"--config=configs/lattice.py{variant}"
        return main.main(
            ["mmdiff", config, f"--workdir={tmp_path / 'out'}", *SMALL, *flags]
        )

    run.folder = tmp_path / "out"
    return run


@pytest.mark.parametrize(
    "options, message",
    [
        (
            ["names=kagome"],
            "names=kagome: no lattice is called 'kagome'. Use some of P ",
        ),
        (["names=P sheet, P sheet"], "names a lattice twice. Name each once."),
        (["names=P sheet", "vf=0.05"], "P sheet with 8 samples has no volume of 0.05"),
        (["vf=1"], "vf=1.0 is too large. Set --config.vf to less than 1."),
        (["names=P network", "thickness_mm=1"], "has necks instead of walls"),
        (["names=bcc struts", "thickness_mm=0.1"], "no thickness of 0.01 edges"),
        (["fields=heat"], "heat is unknown"),
        (["grade=0.3,0.0"], "grade=(0.3, 0.0) is not two solid shares. Give those at"),
        (["grade=0.4,0.5", "axis=w"], "axis=w is unknown. Use x, y or z."),
        (["grade=0.5,0.99"], "gyroid sheet with 8 samples has no volume of 0.99"),
        (["names=P sheet,IWP sheet", "grade=0.4,0.5"], "one lattice is graded at a ti"),
        (
            ["grade=0.5,0.6", "repeat=64,64,64"],
            "too many to mesh at once. Lower --conf",
        ),
        (["grade=0.5,0.6,0.7"], "is not two solid shares"),
        (
            ["grade=0.5,0.6", "repeat=1,1"],
            "repeat=(1, 1) is not 3 numbers",
        ),
        (["grade=0.5,0.6", "thickness_mm=1"], "thickness_mm=1 and grade=(0.5, 0.6) ex"),
        (["samples=72", "vf=0.2"], "is solved on 64^3 elements of the whole cell: 72"),
        (["names=Neovius sheet", "vf=0.6"], "Neovius sheet needs more than 8 samples"),
        (["base.nu=0.5"], "base.nu=0.5 is too large"),
    ],
)
def test_bad_options_exit_with_2(command, capsys, options, message):
    assert command(*options) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.slow
@pytest.mark.parametrize("name", ["P sheet", "gyroid network"])
def test_a_lattice_and_its_files(command, name):
    options = [f"names={name}", "vf=0.45", "base.E=200", "base.rho=2", "base.k=3"]
    assert command(*options) == 0
    stem = name.replace(" ", "_").lower()
    values = json.loads((command.folder / "properties.json").read_text())
    assert values["lattice"]["name"] == name and values["base_E"] == 200
    assert values["volume"] == pytest.approx(0.45, abs=2e-3)
    assert values["mass_density"] == pytest.approx(0.9, abs=5e-3)
    k = np.array(values["conductivity"])
    np.testing.assert_allclose(k, k[0, 0] * np.eye(3), atol=1e-3 * k[0, 0])
    voxels = np.load(command.folder / f"{stem}.npy")
    assert voxels.shape == (32, 32, 32)
    assert voxels.mean() == pytest.approx(0.45, abs=0.02)
    # The tensor of its voxels, which are too stiff by some percent.
    tensor = 200 * np.asarray(
        mm.homogenize(voxels.astype(np.float32), symmetry="periodic")[0]
    )
    off = elasticity.voigt_to_cubic(tensor) / [values[c] for c in elasticity.NAMES] - 1
    assert (abs(off) < 0.12).all()
    doubt = [values["uncertainty"][c] / values[c] for c in elasticity.NAMES]
    assert 0 < min(doubt) and max(doubt) < 0.1
    for kind in ("stl", "3mf", "glb", "vti", "png"):
        assert (command.folder / f"{stem}.{kind}").is_file()
    assert (command.folder / "material.inp").is_file()
    assert "psi" in np.load(command.folder / "surface.npz") or "box" in np.load(
        command.folder / "surface.npz"
    )


@pytest.mark.slow
def test_lattices_side_by_side(command, capsys):
    options = ["names=sc struts,sc plates", "vf=0.415"]
    assert command(*options) == 0
    with open(command.folder / "lattices.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["sc struts", "sc plates"]
    assert 0.9 < float(rows[1]["K/K_HS"]) < 1.01 and float(rows[1]["trapped %"]) == 100
    assert (command.folder / "sc_plates" / "index.html").is_file()
    page = (command.folder / "index.html").read_text()
    assert "sc_struts/index.html" in page
    assert "sc plates" in capsys.readouterr().out


@pytest.mark.slow
def test_a_graded_block(command):
    options = ["names=gyroid sheet", "grade=0.5,0.7", "repeat=2,1,1", "axis=x"]
    assert command(*options) == 0
    voxels = np.load(command.folder / "gyroid_sheet_graded.npy")
    assert voxels.shape == (32, 16, 16)
    share = voxels.mean((1, 2))
    assert share[:4].mean() < 0.55 and share[-4:].mean() > 0.65
    with open(command.folder / "layers.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    volumes = [float(row["V"]) for row in rows]
    np.testing.assert_allclose(volumes, [0.55, 0.65], atol=5e-3)
    assert float(rows[0]["C11"]) < float(rows[1]["C11"])
    trimesh = pytest.importorskip("trimesh")
    solid = trimesh.load(command.folder / "gyroid_sheet_graded.stl")
    forward, backward = edge_uses(solid.faces)
    assert (forward == 1).all() and (backward == 1).all()
    np.testing.assert_allclose(solid.bounds, [[0, 0, 0], [20, 10, 10]])
    volume = mesh.mesh_volume(np.asarray(solid.vertices), np.asarray(solid.faces))
    assert volume / 2000 == pytest.approx(0.6, abs=0.02)
