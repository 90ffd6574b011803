"""The main job through the command line: bad input fast, good input to files."""

import json
import re

import numpy as np
import pytest
from voxelize import stl_fractions

from mmdiff import assets, main
from mmdiff.cells.connectivity import periodic_pieces, spanning_axes
from mmdiff.cells.symmetry import cell_to_octant, symmetrize
from mmdiff.elasticity import (
    NAMES,
    ORTHOTROPIC,
    cubic_to_voigt,
    orthotropic_to_voigt,
    voigt_to_cubic,
)
from mmdiff.fem import accuracy
from mmdiff.fem.homogenize import homogenize
from mmdiff.models.weights import sidecar


def _run(tmp_path, *options):
    return main.main(["mmdiff", f"--workdir={tmp_path / 'out'}", *options])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config.target=0.04,0.06,0.02"], "is not a stable material: C11 - C12 ="),
        (
            ["--config.target=0.25,0.19,0.03", "--config.vf=0.3"],
            "exceeds the Hashin-Shtrikman limit 0.117",
        ),
        (["--config.target=2100,900,800"], "Pass --config.base.E=210000"),
        (["--config.target=soft"], "holds something not a number"),
        (["--config.vf=1.2"], "1.2 is not between 0 and 1. Give a fraction of solid"),
        (["--config.vf=-1"], "such as --config.vf=0.3, or --config.vf=0 to leave"),
        (["--config.num_samples=0"], "num_samples=0 is too small"),
        (["--config.cell_size_mm=-1"], "Set --config.cell_size_mm to more than 0 mm"),
        (["--config.guidance=nan"], "guidance=nan is not a finite number"),
        (["--config.target="], "asks for nothing of the tensor"),
        (["--config.target=E=0.29"], "target E = 0.29 at volume 0.30 exceeds 0.26"),
        (["--config.target=E=0.29"], "anyway: --config.allow_infeasible=True"),
        (["--config.target=C44=0.1,G=0.1"], "which are the same here (G = C44)"),
        (["--config.targets=none.csv"], "no list of targets at none.csv"),
    ],
)
def test_bad_targets_exit_with_2(tmp_path, capsys, options, message):
    assert _run(tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_a_tensor_that_is_not_cubic_exits_with_2(tmp_path, capsys):
    path = tmp_path / "tensor.txt"
    tensor = cubic_to_voigt(np.array([0.11, 0.045, 0.04]))
    tensor[1, 1], tensor[0, 5] = 0.13, 0.01
    np.savetxt(path, tensor)
    assert _run(tmp_path, f"--config.target={path}") == 2
    error = capsys.readouterr().err
    assert "(C11 0.11, C22 0.13)" in error
    assert "pass --config.project_cubic=True to accept." in error


def test_missing_checkpoint_exits_with_3(tmp_path, capsys):
    path = tmp_path / "none.npz"
    assert _run(tmp_path, f"--config.checkpoint={path}") == 3
    error = capsys.readouterr().err
    assert re.search(r"no checkpoint at .*none\.npz\..* configs/train\.py", error)
    assert "leave --config.checkpoint empty to use the shipped model." in error


def test_damaged_checkpoint_exits_with_3(tmp_path, capsys):
    path = tmp_path / "bad.npz"
    content = bytearray(assets.weights_path().read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    sidecar(path).write_text(sidecar(assets.weights_path()).read_text())
    assert _run(tmp_path, f"--config.checkpoint={path}") == 3
    assert "fails its SHA-256 checksum" in capsys.readouterr().err


def test_unwritable_workdir_exits_with_2(tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert _run(tmp_path) == 2
    assert str(tmp_path / "out") in capsys.readouterr().err


LIST = """name,C11,C12,C44,E,V
whole,0.2,0.08,0.06,,
part,,,,0.15,
none,,,0.09,,
"""


def _run_list(tmp_path, text, *options):
    path = tmp_path / "list.csv"
    path.write_text(text)
    options = ["--config.polish_steps=0", "--config.num_samples=2", *options]
    options += ["--config.resolution=64"]
    return _run(tmp_path, f"--config.targets={path}", "--config.num_best=2", *options)


def test_a_list_gives_a_folder_for_each_target(quick, tmp_path, capsys):
    assert _run_list(tmp_path, LIST) == 0
    out = tmp_path / "out"
    summary = json.loads((out / "summary.json").read_text())
    assert [row["name"] for row in summary["targets"]] == ["whole", "part", "none"]
    assert summary["summary"]["answered"] == 2
    for name in ("whole", "part"):
        report = json.loads((out / name / "properties.json").read_text())
        assert report["cells"][0]["error"] == pytest.approx(
            next(r["error"] for r in summary["targets"] if r["name"] == name)
        )
        for file in ("cell_01.stl", "cells.npz", "index.html", "parity.png"):
            assert (out / name / file).is_file()
    assert json.loads((out / "none/properties.json").read_text())["cells"] == []
    said = capsys.readouterr().out
    assert "s): none of 8 samples gave a connected" in said
    assert "2 of 3 targets have a cell" in said
    assert 'href="part/index.html"' in (out / "index.html").read_text()
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["target"] for line in lines] == ["whole", "part", "none"]


def test_a_list_that_has_grown_goes_on(quick, no_plots, tmp_path, capsys):
    assert _run_list(tmp_path, LIST) == 0
    count = len(quick)
    before = (tmp_path / "out/whole/properties.json").stat().st_mtime_ns
    capsys.readouterr()
    assert _run_list(tmp_path, LIST) == 0
    assert "already done" in capsys.readouterr().out and len(quick) == count
    assert _run_list(tmp_path, LIST + "more,,,,0.2,\n") == 0
    assert [dict(target.asked) for target in quick[count:]] == [{"E": 0.2}]
    assert (tmp_path / "out/whole/properties.json").stat().st_mtime_ns == before
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert [row["name"] for row in summary["targets"]][-1] == "more"


BAD = LIST + "stiff,5,0.2,0.15,,0.5\nbad,soft,,,,\n"


def test_bad_lines_are_refused_before_anything_is_computed(quick, tmp_path, capsys):
    assert _run_list(tmp_path, BAD) == 2
    error = capsys.readouterr().err
    assert "line 5 of" in error and "target C11=5: this checkpoint expects" in error
    assert "leave such lines out with --config.skip_bad=True." in error
    assert not quick


def test_bad_lines_can_be_left_out(quick, no_plots, tmp_path):
    assert _run_list(tmp_path, BAD, "--config.skip_bad=true") == 0
    summary = json.loads((tmp_path / "out/summary.json").read_text())["summary"]
    assert [item["line"] for item in summary["skipped"]] == [5, 6]
    assert summary["targets"] == 3


def test_a_part_of_a_tensor(quick, tmp_path, capsys):
    options = ["--config.target=E=30,nu=0.2", "--config.base.E=100", "--config.vf=0"]
    options += ["--config.num_samples=3", "--config.polish_steps=0"]
    assert _run(tmp_path, *options, "--config.time_limit_s=1e-9") == 0
    assert len(quick) == 1  # what the budget left time for
    out = tmp_path / "out"
    report = json.loads((out / "properties.json").read_text())
    assert report["target"]["asked"] == {"E": 30.0, "nu": 0.2}
    assert report["target"]["C44"] is None
    first, second = capsys.readouterr().out.split("asked")[1].splitlines()[:2]
    assert first.split() == ["33.333", "8.3333", "30", "0.200", "free"]
    assert second.startswith("cell 0")
    text = (out / "index.html").read_text()
    assert "mmdiff: cells for E 30, nu 0.2" in text
    assert (out / "parity.png").is_file()


def test_a_target_without_a_cell_exits_with_2(quick, tmp_path, capsys):
    options = ["--config.target=C44=0.09", "--config.vf=0", "--config.num_samples=2"]
    assert _run(tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert "none of 8 samples gave a connected, load-bearing cell that can" in error
    assert "Ask for more samples with --config.num_samples, allow thinner" in error


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder and report of the main job, in units of a base of 1000."""
    folder = tmp_path_factory.mktemp("main")
    options = ["--config.num_best=2", "--config.num_samples=4", "--config.seed=3"]
    options += ["--config.base.E=1000", "--config.target=110,45,40"]
    assert _run(folder, *options) == 0
    text = (folder / "out/properties.json").read_text("utf-8")
    return folder / "out", json.loads(text), options


@pytest.mark.slow
def test_the_main_job_gives_cells_that_meet_the_target_and_print(made):
    out, report, _ = made
    assert len(report["cells"]) == 2
    errors = [cell["error"] for cell in report["cells"]]
    assert errors == sorted(errors) and errors[-1] < 5e-4
    for cell in report["cells"]:
        assert abs(cell["volume"] - 0.30) < 1e-3
        printed = cell["printability"]
        assert printed["pieces"] == 1 and printed["trapped"] == 0
        # 3 % of an edge of 10 mm.
        assert printed["wall"] >= 0.3 and printed["gap"] >= 0.3
        voxels = np.load(out / cell["file"])
        assert voxels.shape == (128, 128, 128) and set(np.unique(voxels)) == {0, 1}
        assert periodic_pieces(voxels)[1] == 1 and all(spanning_axes(voxels))
        octant = cell_to_octant(voxels).astype(np.float32)
        tensor, _ = homogenize(octant, void=report["void"])
        got = [cell["C_voxels"][name] / 1000 for name in NAMES]
        np.testing.assert_allclose(voigt_to_cubic(np.asarray(tensor)), got, atol=1e-6)


@pytest.mark.slow
def test_the_printed_file_has_the_tensor_that_is_promised(made):
    out, report, _ = made
    cell = report["cells"][0]
    vertices, faces = _triangles(out / cell["file"].replace("npy", "stl"))
    found = []
    for m in (40, 80):  # elements of the octant; the fields were solved on 32 and 64
        share = stl_fractions(vertices, faces, 2 * m, k=3, edge=10.0)[:m, :m, :m]
        # Of lines along z alone: the mean over the orbits.
        share = symmetrize(share).clip(0, 1).astype(np.float32)
        tensor, info = homogenize(share, penal=1.0, void=report["void"], tol=1e-4)
        assert info.converged.all()
        found.append(voigt_to_cubic(np.asarray(tensor, np.float64)))
    limit = found[1] + (found[1] - found[0]) / 3
    promised = np.array([cell[name] for name in NAMES]) / 1000
    np.testing.assert_allclose(limit, promised, rtol=5e-3)
    doubt = np.array([cell["uncertainty"][name] for name in NAMES]) / 1000
    assert (abs(limit - promised) < doubt).all()


def _triangles(path):
    """Return vertices and faces of a binary STL file, by its definition."""
    kind = np.dtype([("normal", "<3f4"), ("corners", "<9f4"), ("more", "<u2")])
    corners = np.fromfile(path, kind, offset=84)["corners"].reshape(-1, 3)
    return corners, np.arange(len(corners)).reshape(-1, 3)


@pytest.mark.slow
def test_the_same_command_again_is_answered_from_what_is_there(made, capsys):
    out, report, options = made
    assert _run(out.parent, *options) == 0
    assert "already done" in capsys.readouterr().out


@pytest.mark.slow
def test_an_orthotropic_tensor_is_met_by_mirrors_alone(tmp_path):
    nine = [0.13, 0.11, 0.095, 0.04, 0.05, 0.045, 0.036, 0.042, 0.045]
    path = tmp_path / "tensor.txt"
    np.savetxt(path, orthotropic_to_voigt(200 * np.array(nine)))
    options = [f"--config.target={path}", "--config.base.E=200"]
    options += ["--config.num_samples=4", "--config.num_best=1"]
    assert _run(tmp_path, *options) == 0
    out = tmp_path / "out"
    (cell,) = json.loads((out / "properties.json").read_text())["cells"]
    assert cell["error"] < 1e-3 and abs(cell["volume"] - 0.3) < 5e-3
    printed = cell["printability"]
    assert printed["pieces"] == 1 and printed["trapped"] == 0 and printed["wall"] >= 0.3
    # The field by itself, once more, on grids of other elements.
    psi = np.load(out / "cells.npz")["psi"][0]
    found = accuracy.estimate(psi, elements=40, symmetry="orthotropic", tol=1e-4)
    np.testing.assert_allclose(found.constants, nine, rtol=1e-2)
    promised = np.array([cell[name] for name in ORTHOTROPIC]) / 200
    doubt = np.array([cell["uncertainty"][name] for name in ORTHOTROPIC]) / 200
    assert (abs(found.constants - promised) < doubt).all()
    voxels = np.load(out / cell["file"])
    assert not np.array_equal(voxels, voxels.swapaxes(0, 1))
    assert np.array_equal(voxels, voxels[::-1, ::-1, ::-1])


def test_an_orthotropic_tensor_needs_steps(tmp_path, capsys):
    path = tmp_path / "tensor.txt"
    nine = np.array([0.13, 0.11, 0.095, 0.04, 0.05, 0.045, 0.036, 0.042, 0.045])
    np.savetxt(path, orthotropic_to_voigt(nine))
    options = [f"--config.target={path}", "--config.polish_steps=0"]
    assert _run(tmp_path, *options) == 2
    assert (
        "Set --config.polish_steps=40, or --config.project" in capsys.readouterr().err
    )
    assert _run(tmp_path, f"--config.target={path}", "--config.vf=0.05") == 2
    assert "exceeds the Hashin-Shtrikman limit" in capsys.readouterr().err
