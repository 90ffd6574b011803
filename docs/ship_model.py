"""Copy trained weights into the package, with card, checksum and picture.

    python docs/ship_model.py out/train mmdiff/assets docs/loss.png "one core of ..."
    python docs/ship_model.py out/regressor mmdiff/assets docs/regressor.png "..."

The card is that of the run; how it was started, versions and machine are added.
"""

import argparse
import json
import pathlib
import shutil

from mmdiff.errors import InputError
from mmdiff.io.write import write_bytes
from mmdiff.models.regressor import load_regressor
from mmdiff.models.weights import load_weights, sha256, sidecar
from mmdiff.run import console

# File of a run -> what reads it, and the names of weights, card and the run's picture.
SHIPPED = {
    "ema.npz": (load_weights, "denoiser64.npz", "MODEL_CARD.md", "loss.png"),
    "regressor.npz": (load_regressor, "regressor64.npz", "REGRESSOR_CARD.md", "r2.png"),
}
PATHS = ("--config.data=", "--config.init=", "--workdir=")  # of no use to others


def main(options: argparse.Namespace) -> None:
    """Write weights, checksum and card to the folder, and the picture."""
    found = [name for name in SHIPPED if (options.run / name).exists()]
    if not found:
        raise InputError(
            f"{options.run} holds none of {', '.join(SHIPPED)}. Give the workdir of a "
            "finished training."
        )
    load, weights, card, picture = SHIPPED[found[0]]
    load(options.run / found[0])  # refuses what is damaged
    path = options.folder / weights
    shutil.copyfile(options.run / found[0], path)
    write_bytes(sidecar(path), f"{sha256(path)}  {path.name}\n".encode())
    text = (options.run / "MODEL_CARD.md").read_text().replace(found[0], weights)
    head, title, rest = text.partition("## Training\n")
    (options.folder / card).write_text(
        head + title + rest.replace("\n## ", f"\n{made(options)}\n\n## ", 1)
    )
    shutil.copyfile(options.run / picture, options.picture)
    console.say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def made(options: argparse.Namespace) -> str:
    """Return how a run was started, with what, and where."""
    run = json.loads((options.run / "run.json").read_text("utf-8"))
    words = [w for w in run["command"][1:] if not w.startswith(PATHS)]
    versions = ", ".join(f"{name} {run['versions'][name]}" for name in ("jax", "flax"))
    return f"`{' '.join(words)}`, with {versions}, on {options.machine}."


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path, help="workdir of the training")
    parser.add_argument("folder", type=pathlib.Path, help="for weights and card")
    parser.add_argument("picture", type=pathlib.Path, help="copy of the run's")
    parser.add_argument("machine", help="on which it was trained, for the card")
    return parser.parse_args()


if __name__ == "__main__":
    main(_options())
