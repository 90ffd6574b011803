"""Voxel files through the command line: tensor, files, notes, refusals."""

import csv
import json

import numpy as np
import pytest

from mmdiff import elasticity, main
from mmdiff.io import writers
from mmdiff.io.read_vti import read_vti
from mmdiff.symmetry import cell_to_octant, octant_to_cell


@pytest.fixture(scope="module")
def schwarz():
    """Sheet around the Schwarz P surface, uint8 (16, 16, 16)."""
    x = (np.indices((16, 16, 16)) + 0.5) / 16 * 2 * np.pi
    return (abs(np.cos(x).sum(0)) < 0.8).astype(np.uint8)


def _run(tmp_path, source, *options):
    path = tmp_path / "cell.npy"
    if isinstance(source, np.ndarray):
        np.save(path, source)
    else:
        path = source
    return main.main(
        [
            "mmdiff",
            "--config=configs/homogenize.py",
            f"--workdir={tmp_path / 'out'}",
            f"--config.input={path}",
            *options,
        ]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config.scale=0"], "scale=0 is not positive"),
        (["--config.key=rho", "--config.resize=9"], "resize=9: the edge must be"),
        (["--config.base.nu=0.5"], "base.nu=0.5: E must be positive and nu between"),
        (["--config.solver.void=0"], "void=0, penal=3: void must lie between 0 and 1"),
        (["--config.solver.tol=0"], "solver.tol=0, solver.maxiter=500"),
        (["--config.solver.dtype=half"], "solver.dtype=half is unknown"),
        (["--config.input="], "no input is given"),
        (["--config.input=none.npy"], "no input file none.npy"),
        (["--config.symmetry=full"], "symmetry=full is unknown"),
    ],
)
def test_bad_options_exit_with_2(tmp_path, capsys, schwarz, options, message):
    assert _run(tmp_path, schwarz, *options) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[:, :, :8], "cell.npy has shape (16, 16, 8); a cubic cell needs"),
        (lambda c: 255 * c, "For a 0/255 mask pass --config.scale=255."),
        (lambda c: np.where(c, np.nan, 0), "values that are NaN or infinite"),
        (lambda c: 0.31 * c, "has no solid voxel above 0.5 (max 0.31)"),
        (lambda c: c[:10, :10, :10], "Pass --config.resize=12"),
    ],
)
def test_bad_voxels_exit_with_2(tmp_path, capsys, schwarz, change, message):
    assert _run(tmp_path, change(schwarz)) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_one_file(tmp_path, capsys, schwarz):
    options = ["--config.base.E=2000", "--config.scale=255"]
    assert _run(tmp_path, 255 * schwarz, *options) == 0
    said = capsys.readouterr().out
    out = tmp_path / "out"
    facts = json.loads((out / "properties.json").read_text())
    tensor = np.array(facts["C"])
    assert facts["symmetry"] == "cubic" and facts["converged"]
    assert facts["resolution"] == 16 and facts["pieces"] == 1 and facts["load_bearing"]
    assert facts["volume"] == pytest.approx(schwarz.mean())
    # The parts of the report agree with each other.
    np.testing.assert_allclose(np.loadtxt(out / "tensor.txt"), tensor, rtol=1e-6)
    constants = np.array([facts[name] for name in elasticity.NAMES])
    np.testing.assert_allclose(tensor, elasticity.cubic_to_voigt(constants), rtol=1e-12)
    assert facts["E_along"]["[100]"] == pytest.approx(facts["E"])
    extremes = sorted([facts["E_along"]["[100]"], facts["E_along"]["[111]"]])
    assert [facts["E_min"]["value"], facts["E_max"]["value"]] == pytest.approx(extremes)
    # A shell lattice stays below the bound, and not by much.
    assert 0.7 < facts["HS"]["K/K_HS"] < 1
    # Energy in the file is energy of the tensor: half the diagonal entry on average.
    for name, entry in (("energy_11", tensor[0, 0]), ("energy_23", tensor[3, 3])):
        energy, _ = read_vti(out / "fields.vti", key=name)
        assert energy.shape == (16, 16, 16)
        assert 2 * energy.mean() == pytest.approx(entry, rel=1e-4)
    density, _ = read_vti(out / "fields.vti")
    np.testing.assert_array_equal(density, schwarz)
    html = (out / "report.html").read_text()
    assert "Elastic tensor (Voigt)" in html and "engineering shear" in html
    assert f"{facts['C11']:.4g}" in said and "note:" not in said


@pytest.mark.slow
def test_loose_soft_and_unsolved_cells_are_noted(tmp_path, capsys):
    octant = np.zeros((8, 8, 8))
    octant[:, :, 2:4] = 1  # two slabs per cell, nothing across
    octant[7, 7, 7] = 1  # eight such voxels are one island in the middle
    options = ["--config.input_is=octant", "--config.solver.maxiter=2"]
    assert _run(tmp_path, octant, *options, "--config.solver.tol=1e-7") == 0
    said = capsys.readouterr().out
    assert "cell.npy has 3 separate solid pieces across periodic boundaries" in said
    assert "the solid does not span the cell along z: stiffness is near zero" in said
    assert "after 2 steps (wanted 1e-07) for load" in said and "of 6; results" in said
    facts = json.loads((tmp_path / "out/properties.json").read_text())
    assert not facts["load_bearing"] and not facts["converged"]
    assert facts["spans"] == {"x": True, "y": True, "z": False}
    assert len(facts["notes"]) >= 3
    assert "not load bearing, unconverged" in said


def test_folders_without_voxel_files_are_refused(tmp_path, capsys):
    (tmp_path / "cells").mkdir()
    assert _run(tmp_path, tmp_path / "cells") == 2
    assert "holds no voxel file" in capsys.readouterr().err
    np.save(tmp_path / "cells/a.npy", np.ones((16, 16, 16)))
    assert _run(tmp_path, tmp_path / "cells") == 2
    assert "none of 1 files could be homogenized" in capsys.readouterr().err


@pytest.mark.slow
def test_a_folder_and_all_symmetries(tmp_path, capsys, schwarz):
    cells = tmp_path / "cells"
    cells.mkdir()
    octant = cell_to_octant(schwarz).copy()
    octant[:, 0, 0] = 1
    ortho = octant_to_cell(octant)
    np.save(cells / "cubic.npy", schwarz)
    writers.write_vti(cells / "ortho.vti", {"density": ortho})
    shifted = np.roll(ortho, 3, axis=(0, 1, 2))  # no mirror in the middle any more
    np.savez_compressed(cells / "ortho.npz", cell=shifted)
    np.save(cells / "bad.npy", schwarz[:8])
    assert _run(tmp_path, cells, "--config.solver.tol=1e-6") == 0
    out = tmp_path / "out"
    # Two files of one stem keep their suffixes.
    names = {path.name for path in out.iterdir() if path.is_dir()}
    assert names == {"cubic", "ortho.vti", "ortho.npz"}
    index = (out / "index.html").read_text()
    assert all(f"{name}/report.html" in index for name in names)
    with (out / "properties.csv").open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert {name: row["symmetry"] for name, row in rows.items()} == {
        "cubic.npy": "cubic",
        "ortho.npz": "periodic",
        "ortho.vti": "orthotropic",
        "bad.npy": "",
    }
    assert "three equal edges" in rows["bad.npy"]["error"]
    octant, whole = (
        np.array(json.loads((out / name / "properties.json").read_text())["C"])
        for name in ("ortho.vti", "ortho.npz")
    )
    # The same cell, shifted: solved on the octant and whole, both to 1e-6.
    np.testing.assert_allclose(whole, octant, atol=2e-6)
    assert abs(octant[0, 0] - octant[1, 1]) > 1e-3
    said = capsys.readouterr().out
    assert "left out 1 of 4 files" in said
    assert _run(tmp_path, cells, "--config.solver.tol=1e-6") == 0
    assert "already done" in capsys.readouterr().out


@pytest.mark.slow
def test_double_precision(tmp_path, schwarz):
    assert _run(tmp_path, schwarz, "--config.solver.tol=1e-10",
                "--config.solver.dtype=float64") == 0  # fmt: skip
    facts = json.loads((tmp_path / "out/properties.json").read_text())
    assert facts["converged"] and max(facts["residual"]) < 1e-10
