"""configs/export.py through the command line: files that open, and refusals."""

import json

import numpy as np
import pytest
import trimesh
from design_helpers import wave

from mmdiff import main
from mmdiff.cells import surface
from mmdiff.design.export import material
from mmdiff.design.interpolate import family
from mmdiff.design.interpolate.family import Member

N = 8


def _psi(volume):
    return surface.to_volume(wave(N) / 3, volume)


@pytest.fixture
def command(tmp_path):
    np.savez(tmp_path / "cells.npz", psi=np.stack([_psi(0.3), _psi(0.4)]))
    members = [
        Member(_psi(v), np.array([1, 0.4, 0.3]) * v, np.ones(3), v, "chain")
        for v in (0.3, 0.4)
    ]
    np.savez(tmp_path / "family.npz", **family.arrays(members))

    def run(*options):
        flags = [
            f"--config.{option.replace('HERE', str(tmp_path))}" for option in options
        ]
        return main.main(
            [
                *("mmdiff", "--config=configs/export.py", "--config.resolution=32"),
                f"--workdir={tmp_path / 'out'}",
                *flags,
            ]
        )

    run.folder = tmp_path / "out"
    return run


def test_copies_are_written_in_every_format(command, capsys):
    options = ("path=HERE/cells.npz", "index=1", "tiles=2,1,1", "cell_size_mm=5")
    formats = "formats=stl,glb,3mf,vti,npy"
    assert command(*options, formats, "density=4.43") == 0
    found = json.loads((command.folder / "mesh_report.json").read_text())
    solid = trimesh.load(command.folder / "body.stl")
    assert solid.is_watertight and solid.is_winding_consistent
    assert solid.volume == pytest.approx(found["mesh_mm3"], rel=1e-4)
    assert found["mesh_mm3"] == pytest.approx(100, rel=0.02)
    assert found["mass_g"] == pytest.approx(4.43e-3 * found["mesh_mm3"])
    assert found["mesh"]["sound"] and found["size_mm"] == [10, 5, 5]
    turned = trimesh.load(command.folder / "body.glb", force="mesh")  # metres
    assert turned.volume * 1e9 == pytest.approx(solid.volume, rel=1e-3)
    assert np.load(command.folder / "body.npy").shape == (64, 32, 32)
    names = {path.name for path in command.folder.iterdir()}
    assert {"body.3mf", "body.vti", "body.png", "index.html"} <= names
    assert "volume of the mesh mm^3" in capsys.readouterr().out
    assert command(*options, formats, "density=4.43") == 0  # done


def test_a_graded_block_has_a_material_for_each_layer(command):
    formats = ("formats=inp,mac,stl", "density=2", "base.E=1000")
    assert command("family=HERE/family.npz", "tiles=3,1,1", *formats) == 0
    text = (command.folder / "material.inp").read_text()
    assert text.count("*MATERIAL, NAME=LAYER_") == 3
    # C11 = V E there, and the density that of the cell in tonnes per mm^3.
    assert "316.6667" in text and "6.333333e-10" in text
    assert (command.folder / "material.mac").read_text().count("TB,ANEL,3,") == 1


@pytest.mark.slow
def test_the_material_of_a_cell_is_homogenized(command):
    assert command("path=HERE/cells.npz", "index=1", "formats=inp") == 0
    text = (command.folder / "material.inp").read_text()
    first = float(text.splitlines()[2].split(",")[0])
    assert 0.01 < first < 0.4  # below the Voigt bound


def test_a_budget_of_triangles_is_kept_and_stated(command):
    pytest.importorskip("fast_simplification")
    options = ("max_triangles=3000", "max_deviation_mm=0.5", "formats=stl")
    assert command("path=HERE/cells.npz", "index=0", *options) == 0
    found = json.loads((command.folder / "mesh_report.json").read_text())
    assert len(trimesh.load(command.folder / "body.stl").faces) <= 3000
    reduced = found["reduced"]
    assert 0 < reduced["deviation_mm"] <= 0.5
    assert reduced["triangles_before"] > 3000
    assert found["mesh"]["closed"] and found["mesh"]["triangles"] <= 3000


def test_a_budget_is_refused_before_any_tensor(command, capsys, monkeypatch):
    pytest.importorskip("fast_simplification")
    monkeypatch.setattr(material, "of_cell", lambda *_: pytest.fail("homogenized"))
    options = ("max_triangles=3000", "max_deviation_mm=1e-5", "formats=inp")
    assert command("path=HERE/cells.npz", "index=0", *options) == 2
    assert "above max_deviation_mm=1e-05" in capsys.readouterr().err


def test_the_same_command_with_another_file_is_refused(command, capsys):
    options = ("path=HERE/cells.npz", "index=0", "formats=stl")
    assert command(*options) == 0
    np.savez(command.folder.parent / "cells.npz", psi=_psi(0.4)[None])
    assert command(*options) == 2
    capsys.readouterr()


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "one of them is exported"),
        (["path=a.npy", "family=b"], "one of them is exported"),
        (["path=HERE/none.npy"], "no input file"),
        (["path=HERE/cells.npz"], "holds 2 cells"),
        (["path=HERE/cells.npz", "index=0", "grade=0.1,0.4"], "cells of several vol"),
        (["path=HERE/cells.npz", "index=0", "formats=step"], "'step' is unknown"),
        (["path=HERE/cells.npz", "index=0", "surface=flat"], "surface=flat is unknown"),
        (["family=HERE/family.npz", "axis=w"], "axis=w is unknown"),
        (["family=HERE/family.npz", "grade=0.1,0.4"], "leaves the volumes"),
        (
            ["family=HERE/family.npz", "tiles=2,1,1", "formats=inp", "base.nu=0.35"],
            "Set --config.base.nu=0.3,",
        ),
    ],
)
def test_what_cannot_be_exported_is_refused(command, capsys, options, message):
    assert command(*options) == 2
    assert message in capsys.readouterr().err
