"""What ships of a training: the weights under their own name, card and picture."""

import argparse
import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from model_helpers import FIELDS, fresh_params

from mmdiff.errors import DataError, InputError
from mmdiff.models import regressor
from mmdiff.models.weights import save_weights

PATH = Path(__file__).resolve().parents[2] / "docs/ship_model.py"
CARD = "# Model card\n\n## Training\n\n- 7 steps\n\n## Rebuild\n\n`{}.sha256`\n"


@pytest.fixture(scope="module")
def ship():
    spec = importlib.util.spec_from_file_location("ship_model", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _options(tmp_path, name):
    """A finished run of 7 steps, and where it goes."""
    run, folder = tmp_path / "run", tmp_path / "assets"
    folder.mkdir()
    params, fields = fresh_params(), FIELDS
    if name == "regressor.npz":
        fields = {"patch": 2, "width": 4, "multipliers": (1, 2), "blocks": (0, 1)}
        fields |= {"groups": 2, "embedding": 4}
        network = regressor.Regressor(**fields)
        params = regressor.init_regressor(network, jax.random.key(0), 8)
    save_weights(run / name, params, {"model": fields, "octant": 8})
    picture = {"ema.npz": "loss.png", "regressor.npz": "r2.png"}[name]
    (run / picture).write_bytes(b"a picture")
    (run / "MODEL_CARD.md").write_text(CARD.format(name))
    command = ["main.py", "--config=configs/train.py:cpu", "--config.data=/my/data"]
    command += ["--config.steps=7", "--workdir=/my/run"]
    versions = {"jax": "0.10.1", "flax": "0.12.0", "numpy": "2.0"}
    (run / "run.json").write_text(
        json.dumps({"command": command, "versions": versions})
    )
    return argparse.Namespace(
        run=run, folder=folder, picture=tmp_path / "shown.png", machine="one core"
    )


@pytest.mark.parametrize(
    ("name", "weights", "card"),
    [
        ("ema.npz", "denoiser64.npz", "MODEL_CARD.md"),
        ("regressor.npz", "regressor64.npz", "REGRESSOR_CARD.md"),
    ],
)
def test_weights_card_and_picture_are_copied(ship, tmp_path, name, weights, card):
    options = _options(tmp_path, name)
    ship.main(options)
    found = [
        ship.SHIPPED[name][0](path)
        for path in (options.run / name, options.folder / weights)
    ]
    jax.tree.map(np.testing.assert_array_equal, *(params for params, _ in found))
    text = (options.folder / card).read_text()
    assert f"`{weights}.sha256`" in text and "/my/" not in text
    training = text.split("## Training")[1].split("## Rebuild")[0]
    assert (
        "- 7 steps" in training and "jax 0.10.1, flax 0.12.0, on one core." in training
    )
    assert "`--config=configs/train.py:cpu --config.steps=7`" in training
    assert options.picture.read_bytes() == b"a picture"


def test_a_folder_without_weights_and_damaged_ones_are_refused(ship, tmp_path):
    options = _options(tmp_path, "ema.npz")
    path = options.run / "ema.npz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="checksum"):
        ship.main(options)
    path.unlink()
    with pytest.raises(InputError, match="Give the workdir of a finished training"):
        ship.main(options)
    assert not list(options.folder.iterdir())
