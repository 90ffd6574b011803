"""Voxel files through the command line: tensor, files, notes, refusals."""

import csv
import json

import numpy as np
import pytest

from mmdiff import elasticity, main
from mmdiff.cells.symmetry import cell_to_octant, octant_to_cell
from mmdiff.data import store
from mmdiff.design.homogenize import report
from mmdiff.io import write as writers
from mmdiff.io.read_vti import read_vti


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
        (["--config.solver.void=1e-12"], "void=1e-12 is too little for float32"),
        (["--config.solver.tol=0"], "solver.tol=0, solver.maxiter=500"),
        (["--config.solver.dtype=half"], "solver.dtype=half is unknown"),
        (["--config.input="], "no input is given"),
        (["--config.input=none.npy"], "no input file none.npy"),
        (["--config.symmetry=full"], "symmetry=full is unknown"),
        (["--config.fields=energy,stress"], "stress is unknown. Use any of energy, s"),
        (["--config.index=1"], "cell.npy holds one cell (shape (16, 16, 16)), so"),
        (["--config.resize_method=pad"], "resize_method=pad needs the edge to reach"),
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
        (lambda c: 0 * c, "has no solid voxel above 0.5 (max 0). It is empty"),
        (lambda c: c[:10, :10, :10], "Pass --config.resize=12 to resample"),
        (lambda c: c + 1j, "holds complex numbers"),
        (lambda c: c[:0], "holds no values (shape (0, 16, 16))"),
        (lambda c: c[0], "shape (16, 16); voxels need three axes"),
        (lambda c: c.astype(str), "type <U3, not numbers"),
        (lambda c: np.stack([c, c]), "holds 2 cells (shape (2, 16, 16, 16)). Choose"),
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


@pytest.fixture
def solved(monkeypatch):
    """Keep the solutions that are written, for a look at their fields."""
    kept = []
    real = report.write

    def write(folder, name, cell, solution, facts, **options):
        kept.append(solution)
        real(folder, name, cell, solution, facts, **options)

    monkeypatch.setattr(report, "write", write)
    return kept


def test_fields_are_those_of_the_whole_cell(tmp_path, schwarz, solved):
    assert _run(tmp_path, schwarz) == 0
    fields = solved[0].fields
    assert list(fields) == ["energy", "strain", "displacement"]
    strain, displacement = fields["strain"], fields["displacement"]
    assert strain.shape == (2, 6, 16, 16, 16)
    assert displacement.shape == (2, 3, 17, 17, 17)
    # On average the strain is the macro strain: 11 and 23. Rounding of 4096 terms.
    mean = strain.mean((2, 3, 4))
    np.testing.assert_allclose(mean, np.eye(6)[[0, 3]], atol=1e-5)
    # Opposite faces move apart by it; the unit cell has side 1.
    apart = displacement[0, 0, -1] - displacement[0, 0, 0]
    np.testing.assert_allclose(apart, 1, atol=1e-5)
    for axis, component in ((2, 1), (1, 2)):  # gamma_23 = u2,3 + u3,2
        low, high = (displacement[1, component].take(i, axis) for i in (0, -1))
        np.testing.assert_allclose(high - low, 0.5, atol=1e-5)
    text = (tmp_path / "out/fields.vti").read_bytes()
    for name in (b"strain_11", b"strain_23", b"displacement_11", b"displacement_23"):
        assert b'Name="' + name + b'"' in text
    assert b'ComponentName3="23"' in text and b'ComponentName2="z"' in text
    assert text.index(b"<PointData>") < text.index(b"displacement_11")


def test_fields_can_be_left_out(tmp_path, schwarz):
    assert _run(tmp_path, schwarz, "--config.fields=") == 0
    text = (tmp_path / "out/fields.vti").read_bytes()
    assert b"density" in text and b"energy_11" not in text
    assert b"strain_11" not in text and b"displacement_11" not in text


def test_a_solid_cell_has_the_tensor_of_the_base_material(tmp_path, capsys):
    solid = np.ones((16, 16, 16), bool)
    assert _run(tmp_path, solid) == 0
    assert "cell.npy is solid everywhere" in capsys.readouterr().out
    facts = json.loads((tmp_path / "out/properties.json").read_text())
    expected = elasticity.cubic_to_voigt(elasticity.isotropic())
    # A few roundings of float32.
    np.testing.assert_allclose(facts["C"], expected, atol=1e-6)
    assert facts["HS"]["K/K_HS"] == pytest.approx(1, abs=1e-6)
    assert facts["load_bearing"] and facts["singular_loads"] == []
    assert facts["notes"] == [
        "cell.npy is solid everywhere: the tensor is that of the base material."
    ]


def test_grey_cells_are_homogenized_as_they_are(tmp_path, capsys):
    assert _run(tmp_path, np.full((16, 16, 16), 0.6)) == 0
    assert "cell.npy has no voxel at or below 0.5" in capsys.readouterr().out
    facts = json.loads((tmp_path / "out/properties.json").read_text())
    # E = void + 0.6^3 (1 - void); a few roundings of float32.
    assert facts["E"] == pytest.approx(1e-6 + 0.216 * (1 - 1e-6), abs=1e-6)


def test_many_cells_of_one_file(tmp_path, capsys, schwarz):
    path = tmp_path / "cells.npz"
    cells = np.stack([schwarz, 0 * schwarz, 1 - schwarz])
    np.savez_compressed(path, volume=np.zeros(3), cells=cells)
    assert _run(tmp_path, path) == 2
    assert "cells.npz holds 3 cells (shape (3, 16, 16," in capsys.readouterr().err
    assert _run(tmp_path, path, "--config.index=1") == 2
    assert "cells.npz[1] has no solid voxel" in capsys.readouterr().err
    assert _run(tmp_path, path, "--config.index=2") == 0
    out = tmp_path / "out"
    one = json.loads((out / "properties.json").read_text())
    assert one["file"] == "cells.npz[2]" and one["input"]["array"] == "cells"
    assert _run(tmp_path, path, "--config.index=all", "--overwrite") == 0
    assert "left out 1 of 3 cells" in capsys.readouterr().out
    assert {p.name for p in out.iterdir() if p.is_dir()} == {"0", "2"}
    assert json.loads((out / "2/properties.json").read_text())["C"] == one["C"]
    with (out / "properties.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [
        "cells.npz[0]",
        "cells.npz[2]",
        "cells.npz[1]",
    ]
    assert "no solid voxel" in rows[2]["error"]
    assert "2/report.html" in (out / "index.html").read_text()


def test_cells_of_a_dataset(tmp_path, capsys, schwarz):
    root = tmp_path / "run/data.zarr"
    store.create(root, n=8, shards=1, shard_size=1, base={}, recipe={})
    store.write_shard(
        root,
        0,
        octants=cell_to_octant(schwarz)[None],
        constants=np.ones((1, 3)),
        records=[{"id": 0, "split": 0}],
        rejected={},
    )
    assert _run(tmp_path, root.parent) == 0
    facts = json.loads((tmp_path / "out/properties.json").read_text())
    assert facts["resolution"] == 16 and facts["input"]["is"] == "octant"
    assert facts["volume"] == pytest.approx(schwarz.mean())
    capsys.readouterr()
    store.manifest_path(root, 0).write_text("{")
    assert _run(tmp_path, root, "--overwrite") == 3
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["npy", "npz", "vti", "nrrd", "mat"])
def test_damaged_files_exit_with_2(tmp_path, capsys, kind):
    path = tmp_path / f"cell.{kind}"
    path.write_bytes(b"NRRD garbage")
    assert _run(tmp_path, path) == 2
    error = capsys.readouterr().err
    assert f"cell.{kind} is not a readable" in error and "Traceback" not in error


@pytest.mark.slow
def test_tiling_changes_nothing_of_the_tensor(tmp_path):
    # The octant of 4 voxels is too small, so the cell is solved whole and periodic;
    # repeated it is solved on an octant of 8.
    x = (np.indices((8, 8, 8)) + 0.5) / 8 * 2 * np.pi
    cell = (abs(np.cos(x).sum(0)) < 0.8).astype(np.uint8)
    found = []
    for name, options in (
        ("whole", []),
        ("tiled", ["--config.resize=16", "--config.resize_method=tile"]),
    ):
        (tmp_path / name).mkdir()
        assert _run(tmp_path / name, cell, "--config.solver.tol=1e-6", *options) == 0
        facts = json.loads((tmp_path / name / "out/properties.json").read_text())
        found.append(facts["C"])
    assert facts["symmetry"] == "cubic"
    # Both to the tolerance, whose square goes into C, and to rounding.
    np.testing.assert_allclose(*found, atol=2e-6)


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
    assert "after 2 steps (wanted 1e-7) for load" in said and "of 6; results" in said
    facts = json.loads((tmp_path / "out/properties.json").read_text())
    assert not facts["load_bearing"] and not facts["converged"]
    assert facts["spans"] == {"x": True, "y": True, "z": False}
    assert facts["singular_loads"] == ["33", "23", "13"]
    html = (tmp_path / "out/report.html").read_text()
    assert "not load bearing, unconverged" in html and "after 2 steps (wanted" in html
    assert len(facts["notes"]) >= 3
    assert "not load bearing, unconverged" in said


def test_folders_without_voxel_files_are_refused(tmp_path, capsys):
    (tmp_path / "cells").mkdir()
    assert _run(tmp_path, tmp_path / "cells") == 2
    assert "holds no voxel file" in capsys.readouterr().err
    np.save(tmp_path / "cells/a.npy", np.zeros((16, 16, 16)))
    assert _run(tmp_path, tmp_path / "cells") == 2
    assert (
        "none of 1 cells could be homogenized. a.npy has no" in capsys.readouterr().err
    )


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
    assert "left out 1 of 4 cells" in said
    assert _run(tmp_path, cells, "--config.solver.tol=1e-6") == 0
    assert "already done" in capsys.readouterr().out


@pytest.mark.slow
def test_double_precision(tmp_path, schwarz):
    assert _run(tmp_path, schwarz, "--config.solver.tol=1e-10",
                "--config.solver.dtype=float64") == 0  # fmt: skip
    facts = json.loads((tmp_path / "out/properties.json").read_text())
    assert facts["converged"] and max(facts["residual"]) < 1e-10
