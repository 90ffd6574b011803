"""Densities an optimization begins with: random, plates, generated cells, a file.

Every maker returns a list of octants in [0, 1], with one label each, at the edge asked
for; what a user's file lacks is said before anything is computed.
"""

import pathlib
import types
from collections.abc import Callable

import jax
import numpy as np

from mmdiff import assets
from mmdiff.cells import plates, prepare
from mmdiff.data import dataset
from mmdiff.design.generate import pipeline, sampler
from mmdiff.errors import InputError
from mmdiff.io import read
from mmdiff.models import weights
from mmdiff.run import saved
from mmdiff.targets.target import Target
from mmdiff.topopt import interface, starts
from mmdiff.typing import Float

KINDS = ("random", "plates", "generated")

Starts = list[tuple[str, Float[np.ndarray, "n n n"]]]


def kinds(text: str) -> tuple[str, ...]:
    """Return the kinds of starts of a list such as "random, plates", each once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def check(
    kind: str, *, resolution: int, symmetry: str = "cubic", target: Target | None = None
) -> None:
    """Raise InputError for a start that cannot be made; see `KINDS` or give a file."""
    if kind == "generated":
        edge = model_edge()
        if symmetry != "cubic":
            raise InputError(
                f"start=generated gives cubic cells, and symmetry={symmetry}. Pass "
                "--config.symmetry=cubic."
            )
        if target is None:
            raise InputError(
                "start=generated needs a target for the model. Give one such as "
                "--config.target=0.110,0.045,0.040."
            )
        if resolution != edge:
            raise InputError(
                f"start=generated gives cells of {edge}^3 voxels, and resolution="
                f"{resolution}. Pass --config.resolution={edge}; --config.double=true "
                "goes on at twice that."
            )
    elif kind not in KINDS:
        path = pathlib.Path(kind)
        if not path.is_file() and not dataset.is_dataset(path):
            raise InputError(
                f"start={kind} is neither {', '.join(KINDS)} nor a file that exists. "
                "Correct --config.start."
            )
        if path.suffix.lower() == ".raw":
            raise InputError(
                f"start={kind}: a raw file carries no shape. Save it as .npy."
            )


def random_starts(
    count: int,
    n: int,
    volume: float,
    *,
    symmetry: str = "cubic",
    waves: int = 4,
    seed: int = 0,
) -> Starts:
    """Return smooth random densities; see `initial.random_start`."""
    key = jax.random.key(seed)
    return [
        (
            "random",
            np.asarray(
                starts.random_start(
                    jax.random.fold_in(key, i),
                    n,
                    volume,
                    symmetry=symmetry,
                    waves=waves,
                )
            ),
        )
        for i in range(count)
    ]


def plate_lattices(
    n: int, volume: float, evaluate: Callable[..., interface.Evaluation]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return octant and constants of plate lattices, isotropic mixtures first.

    Args:
      n: voxels per side of the octant.
      volume: solid fraction.
      evaluate: finite elements on an octant.
    """

    def homogenizer(octant):  # the program that is compiled anyway
        found = evaluate(octant)
        info = types.SimpleNamespace(converged=np.array([found.converged]))
        return interface.to_tensor(found.constants), info

    octants = plates.baselines(n, volume, homogenizer=homogenizer)
    # Mixtures have the longer names.
    names = sorted(octants, key=lambda name: -len(name))
    return {name: (octants[name], evaluate(octants[name]).constants) for name in names}


def stored_plates(
    file: pathlib.Path, n: int, volume: float, evaluate
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return `plate_lattices`, from a file if they were made before."""
    held = saved.load_if_good(file)
    if held is None:
        made = plate_lattices(n, volume, evaluate)
        held = {
            "name": np.array(list(made)),
            "octant": np.stack([octant for octant, _ in made.values()]),
            "constants": np.stack([constants for _, constants in made.values()]),
        }
        saved.save(file, held)
    pairs = zip(held["octant"], held["constants"], strict=True)
    return dict(zip(held["name"].tolist(), pairs, strict=True))


def generated_starts(
    target: Target, evaluate, *, count: int, seed: int = 0, checkpoint: str = ""
) -> Starts:
    """Return connected cells that the diffusion model draws for a target, best first.

    Args:
      target: what the model is asked for.
      evaluate: finite elements on an octant of the model's size.
      count: cells wanted.
      seed: of the samples.
      checkpoint: weights file; empty for the shipped model.

    Raises:
      InputError: no sample was a connected cell.
    """
    params, meta = weights.load_weights(checkpoint or assets.weights_path())
    cells, counts = pipeline.generate(
        jax.random.key(seed),
        target,
        draw=sampler.make_sampler(params, meta, num_samples=max(count, 4)),
        evaluate=evaluate,
        num_best=count,
    )
    if not cells:
        raise InputError(
            f"none of {counts['sampled']} generated cells was connected and load "
            "bearing. Ask for a target nearer to the trained region, or pass "
            "--config.start=random."
        )
    return [("generated", soften(cell.octant)) for cell in cells]


def model_edge(checkpoint: str = "") -> int:
    """Return the edge of the cells that a diffusion model draws."""
    _, meta = weights.load_weights(checkpoint or assets.weights_path())
    return 2 * int(meta["octant"])


def file_starts(
    path: pathlib.Path,
    n: int,
    *,
    symmetry: str = "cubic",
    input_is: str = "cell",
    key: str = "",
    index: str = "",
    scale: float = 1.0,
) -> Starts:
    """Return the cells of a voxel file as starts, resampled where the edge differs.

    Args:
      path: a file that `readers.read` knows, one cell or several.
      n: voxels per side of the octant.
      symmetry: "cubic" or "orthotropic", of the optimization.
      input_is: "cell" or "octant".
      key: name of the array in a file that holds several.
      index: number of one cell of several, or "all".
      scale: value of solid in the file.

    Raises:
      InputError: what cannot be read, or lacks the symmetry.
    """
    array, _ = dataset.read_voxels(path, key=key)
    found = []
    for number, voxels in read.select(array, path.name, index):
        label = path.name if number is None else f"{path.name}[{number}]"
        found.append((label, _start(voxels, label, n, symmetry, input_is, scale)))
    return found


def soften(octant: Float[np.ndarray, "n n n"]) -> np.ndarray:
    """Return a density within [0.05, 0.95]: variables at their bounds hardly move."""
    return (0.05 + 0.9 * np.asarray(octant)).astype(np.float32)


def _start(voxels, label, n, symmetry, input_is, scale):
    if len(set(voxels.shape)) > 1:
        raise InputError(
            f"start {label} has shape {voxels.shape}; a start needs three equal edges. "
            "Cut it, or fill it up with void to a cube."
        )
    edge = n if input_is == "octant" else 2 * n
    grid = prepare.prepare(
        voxels,
        label,
        input_is=input_is,
        scale=scale,
        threshold=0.0,  # any density may be a start
        resize=0 if voxels.shape[0] == edge else edge,
        method="linear",
    )
    if grid.symmetry == "periodic":
        raise InputError(
            f"start {label} has no mirror planes in the middle of its edges, which "
            "every design here has. Pass a mirror-symmetric cell, or its octant with "
            "--config.input_is=octant."
        )
    if grid.symmetry == "orthotropic" and symmetry == "cubic":
        raise InputError(
            f"start {label} differs along its axes, and symmetry=cubic keeps them "
            "equal. Pass --config.symmetry=orthotropic."
        )
    return soften(grid.density)
