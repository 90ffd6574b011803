"""Voxel files through the command line: what is said, and every refusal with code 2."""

import json

import numpy as np
import pytest
from homogenize_helpers import schwarz

from mmdiff import main
from mmdiff.io import plots


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return a function that homogenizes an array with options of the config."""
    monkeypatch.setattr(plots, "modulus_spheres", lambda *_: True)

    def run(array, *options):
        np.save(tmp_path / "cell.npy", array)
        out = f"--workdir={tmp_path / 'out'}"
        path = f"--config.input={tmp_path / 'cell.npy'}"
        return main.main(
            ["mmdiff", "--config=configs/homogenize.py", out, path, *options]
        )

    return run


@pytest.mark.parametrize(
    "option, message",
    [
        ("scale=0", "scale=0.0 is too small. Set --config.scale to more than 0."),
        ("base.nu=0.5", "base.nu=0.5 is too large. Set --config.base.nu to less"),
        ("resize=3", "resize=3 is too small. Set --config.resize to 4 or more."),
        ("solver.void=0", "void=0 is excluded: "),
        ("boundary=free", "boundary=free is unknown. Use periodic, mirrored, mixed, k"),
        ("phases=iron", "phases=iron cannot be read at 'iron'"),
        ("mesh_voxels=2", "mesh_voxels=2 is too small"),
        ("solver.void=1e-12", "for float32. Set --config.solver.void to 1e-09 or mor"),
        ("solver.dtype=half", "dtype=half is unknown"),
        ("input=", "no input is given. Pass a voxel file or a folder of them: --conf"),
        ("input=none.npy", "no input file none.npy"),
        ("symmetry=full", "symmetry=full is unknown"),
        ("fields=energy,heat", "heat is unknown. Use any of energy, st"),
        ("geometry=mesh", "geometry=mesh is unknown. Use voxels, surface."),
        ("refine=yes", "refine=yes is unknown. Use auto, always, never."),
        ("index=1", "cell.npy holds one cell (shape (16, 16, 16)), so"),
    ],
)
def test_bad_options_exit_with_2(command, capsys, option, message):
    assert command(schwarz(), f"--config.{option}") == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_no_surface_exits_with_2(command, capsys):
    array = np.roll(schwarz(), 3, 0)
    assert command(array, "--config.geometry=surface") == 2
    error = capsys.readouterr().err
    assert "cell.npy is no cube that is mirror-symmetric" in error
    assert "or --config.geometry=voxels." in error


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c[:, :, :3], "cell.npy has shape (16, 16, 3); the solver needs 4"),
        (lambda c: 255 * c, "For a 0/255 mask pass --config.scale=255."),
        (lambda c: np.stack([c, c]), "Choose one with --config.index=0 to"),
    ],
)
def test_bad_voxels_exit_with_2(command, capsys, change, message):
    assert command(change(schwarz())) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_one_file_and_another_of_its_name(command, tmp_path, capsys):
    assert command(schwarz()) == 0
    said = capsys.readouterr().out
    values = json.loads((tmp_path / "out/properties.json").read_text())
    assert f"{values['C11']:.4g}" in said and "note:" not in said
    error = 100 * values["refined"]["mesh_error"]["C11"]
    assert "voxels, mesh twice as fine" in said and f"{error:.4g}" in said
    assert "trapped %" in said and f"{values['printability']['wall']:.4g}" in said
    assert "base material E = 1, nu = 0.3; void 1e-06 of solid." in said
    assert command(schwarz()) == 0
    assert "already done" in capsys.readouterr().out
    assert command(1 - schwarz()) == 0
    assert "already done" not in capsys.readouterr().out
    again = json.loads((tmp_path / "out/properties.json").read_text())
    assert again["volume"] == pytest.approx(1 - values["volume"])


def test_cells_left_out_are_counted(command, capsys):
    assert command(np.stack([schwarz(), 0 * schwarz()]), "--config.index=all") == 0
    said = capsys.readouterr().out
    assert "left out 1 of 2 cells; see above." in said
    assert "Choose --config.threshold" not in said and "It is empty: choose" in said


def test_a_folder_that_changed_and_results_that_were_damaged(command, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    np.save(folder / "a.npy", schwarz())

    def run(*options):
        chosen = [f"--config.input={folder}", "--config.refine=never", *options]
        code = command(schwarz(), *chosen)
        return code, " ".join("".join(capsys.readouterr()).split())

    assert run()[0] == 0
    assert "already done" in run()[1]
    # A file more.
    np.save(folder / "b.npy", 1 - schwarz())
    code, said = run()
    assert code == 0 and "resuming" in said and (out / "b/properties.json").is_file()
    before = (out / "a/properties.json").stat().st_mtime_ns
    # An emptied product, and one that is gone.
    (out / "b/tensor.txt").write_text("")
    (out / "b/fields.vti").unlink()
    code, said = run()
    assert code == 0 and "b/tensor.txt is damaged" in said
    assert "b/fields.vti is missing" in said and "It is made again." in said
    assert (out / "b/tensor.txt").read_text() and (out / "b/fields.vti").is_file()
    assert (out / "a/properties.json").stat().st_mtime_ns == before
    assert "already done" in run()[1]
    (out / "config.json").write_text('{"exp')
    code, said = run("--config.threshold=0.4")
    assert code == 2 and "no config.json that can be read" in said
