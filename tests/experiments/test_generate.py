"""The main job through the command line: bad input fast, good input to files."""

import json
import re

import numpy as np
import pytest

from mmdiff import assets, main
from mmdiff.fem.homogenize import homogenize
from mmdiff.models.weights import sidecar
from mmdiff.symmetry import cell_to_octant
from mmdiff.voxels import periodic_pieces, spanning_axes


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
        (["--config.vf=1.2"], "vf=1.2 is not between 0 and 1"),
        (["--config.num_samples=0"], "num_samples=0 is too small"),
        (["--config.steps=1"], "steps=1 is too small"),
        (["--config.cell_size_mm=-1"], "cell_size_mm=-1 is not a length"),
    ],
)
def test_bad_targets_exit_with_2(tmp_path, capsys, options, message):
    assert _run(tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_missing_checkpoint_exits_with_3(tmp_path, capsys):
    path = tmp_path / "none.npz"
    assert _run(tmp_path, f"--config.checkpoint={path}") == 3
    assert re.search(
        r"no checkpoint at .*none\.npz\. Run --config=configs/train\.py .* or leave "
        r"--config\.checkpoint empty to use the shipped model\.",
        capsys.readouterr().err,
    )


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


@pytest.mark.slow
def test_a_target_far_from_training_is_noted(tmp_path, capsys):
    # Stable and within all bounds, but softer in shear than any training cell.
    options = ["--config.target=0.5,0.02,0.01", "--config.vf=0.8"]
    _run(tmp_path, *options, "--config.num_samples=2", "--config.num_best=1")
    said = " ".join(capsys.readouterr().out.split())
    assert "outside the region this checkpoint was trained on" in said


@pytest.mark.slow
def test_the_main_job(tmp_path, capsys):
    options = ["--config.num_best=2", "--config.seed=3", "--config.base.E=1000"]
    options += ["--config.target=110,45,40"]
    assert _run(tmp_path, *options) == 0
    out = tmp_path / "out"
    report = json.loads((out / "properties.json").read_text())
    assert len(report["cells"]) == 2
    for cell in report["cells"]:
        voxels = np.load(out / cell["file"])
        assert voxels.shape == (64, 64, 64) and set(np.unique(voxels)) == {0, 1}
        assert periodic_pieces(voxels)[1] == cell["pieces"] == 1
        assert all(spanning_axes(voxels))
        octant = cell_to_octant(voxels).astype(np.float32)
        tensor, _ = homogenize(octant, void=report["void"])
        # The table's numbers are those of the written files.
        np.testing.assert_allclose(np.array(cell["C"]) / 1000, tensor, atol=1e-6)
        # The trained model is far better than a guess: 10 % of the range.
        assert cell["error"] < 0.1
        # Whole orbits are switched, loose pieces are rare: the volume is met.
        assert abs(cell["volume"] - 0.30) < 0.02
    # Best first, and the terminal shows what the file holds.
    errors = [cell["error"] for cell in report["cells"]]
    assert errors == sorted(errors)
    said = capsys.readouterr().out
    assert f"{report['cells'][0]['C11']:.5g}" in said
    # The same command again is answered from what is there.
    assert _run(tmp_path, *options) == 0
    assert "already done" in capsys.readouterr().out
