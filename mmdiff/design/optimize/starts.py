"""Densities an optimization begins with: random, plates, generated cells, voxels.

Every maker returns a list of octants in [0, 1], with the kind or name of each, at the
edge asked for. What a file lacks is refused before anything is computed.
"""

import pathlib
import types
from collections.abc import Callable, Sequence

import jax
import numpy as np

from mmdiff.cells import plates, prepare
from mmdiff.data import dataset
from mmdiff.design.generate import sampler
from mmdiff.design.generate.search import search
from mmdiff.design.optimize.method import Method
from mmdiff.errors import InputError
from mmdiff.io import read
from mmdiff.models import weights
from mmdiff.run import console, saved
from mmdiff.targets.target import Target
from mmdiff.topopt import interface, starts
from mmdiff.typing import AnyArray, Float, Shaped, UInt8

KINDS = ("random", "plates", "generated")

Starts = list[tuple[str, Float[np.ndarray, "n n n"]]]
Lattices = dict[str, tuple[UInt8[np.ndarray, "n n n"], Float[np.ndarray, "k"]]]


def kinds(text: str) -> tuple[str, ...]:
    """Return the kinds of starts of a list such as "random, plates", each once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def check(kind: str, method: Method, target: Target | None = None) -> None:
    """Raise InputError for a kind of start, or a file, that cannot be made.

    The target is what the model is asked for, of generated starts.
    """
    if kind == "generated":
        if method.symmetry != "cubic":
            raise InputError(
                f"start=generated gives cubic cells, and symmetry={method.symmetry}. "
                "Pass `symmetry=cubic`."
            )
        if target is None:
            raise InputError(
                "start=generated needs a target for the model. Give one such as "
                "`target=0.110,0.045,0.040`."
            )
        edge = 2 * int(weights.load_model().meta["octant"])
        if method.resolution != edge:
            raise InputError(
                f"start=generated gives cells of {edge}^3 voxels, and resolution="
                f"{method.resolution}. Pass `resolution={edge}`; `double=True` goes on "
                "at twice that."
            )
    elif kind not in KINDS:
        path = pathlib.Path(kind)
        if not path.is_file() and not dataset.is_dataset(path):
            raise InputError(
                f"start={kind} is neither {', '.join(KINDS)} nor a file that exists. "
                "Correct `start`."
            )
        if path.suffix.lower() == ".raw":
            raise InputError(
                f"start={kind}: a raw file carries no shape. Save it as .npy."
            )


def stored(
    file: pathlib.Path, kinds: Sequence[str], make: Callable[[str], Starts], count: int
) -> Starts:
    """Return at most `count` starts of each kind, from a file if made before."""

    def made():
        found = []
        for kind in kinds:
            own = make(kind)[:count]
            if len(own) < count:
                console.note(f"start={kind} gives {len(own)} of {count} starts.")
            found += own
        labels, grids = zip(*found, strict=True)
        return {"kind": np.array(labels), "start": np.stack(grids)}

    cached = saved.once(file, made)
    return list(zip(cached["kind"].tolist(), cached["start"], strict=True))


def random_starts(
    count: int,
    n: int,
    volume: float,
    *,
    symmetry: str = "cubic",
    waves: int = 4,
    seed: int = 0,
) -> Starts:
    """Return smooth random densities; see `topopt.starts.random_start`."""
    key, options = jax.random.key(seed), {"symmetry": symmetry, "waves": waves}
    keys = [jax.random.fold_in(key, i) for i in range(count)]
    grids = [starts.random_start(key, n, volume, **options) for key in keys]
    return [("random", np.asarray(grid)) for grid in grids]


def plate_starts(lattices: Lattices) -> Starts:
    """Return plate lattices as starts."""
    return [(name, soften(octant)) for name, (octant, _) in lattices.items()]


def plate_lattices(
    file: pathlib.Path,
    n: int,
    volume: float,
    evaluate: Callable[..., interface.Evaluation],
) -> Lattices:
    """Return octant and constants of plate lattices, isotropic mixtures first.

    They are read from the file if they were made before.
    """

    def homogenizer(octant):  # the program that is compiled anyway
        found = evaluate(octant)
        info = types.SimpleNamespace(converged=np.array([found.converged]))
        return interface.to_tensor(found.constants), info

    def made():
        octants = plates.baselines(n, volume, homogenizer=homogenizer)
        # Mixtures have the longer names.
        names = sorted(octants, key=lambda name: -len(name))
        grids = [octants[name] for name in names]
        constants = [evaluate(grid).constants for grid in grids]
        return {"name": names, "octant": grids, "constants": constants}

    cached = saved.once(file, made)
    pairs = zip(cached["octant"], cached["constants"], strict=True)
    return dict(zip(cached["name"].tolist(), pairs, strict=True))


def generated_starts(
    target: Target,
    evaluate: Callable[..., interface.Evaluation],
    *,
    count: int,
    seed: int = 0,
) -> Starts:
    """Return connected cells that the model draws for a target, best first.

    At most `count`; InputError if there is none. The finite elements are of its size.
    """
    draw = sampler.make_sampler(*weights.load_model(), num_samples=max(count, 4))
    options = {"draw": draw, "evaluate": evaluate, "num_best": count}
    cells, counts = search(jax.random.key(seed), target, **options)
    if not cells:
        raise InputError(
            f"none of {counts['sampled']} generated cells was connected and load "
            "bearing. Ask for a target nearer to the trained region, or pass "
            "`start=random`."
        )
    return [("generated", soften(cell.octant)) for cell in cells]


def file_starts(
    path: pathlib.Path, n: int, *, key: str = "", index: str = "", **options
) -> Starts:
    """Return the cells of a voxel file or dataset; options as for `voxel_start`.

    The key is the name of the array in a file that holds several, the index the number
    of one cell of several, or "all".
    """
    array, _ = dataset.read_voxels(path, key=key)
    found = []
    for number, voxels in read.select(array, path.name, index):
        label = path.name if number is None else f"{path.name}[{number}]"
        found.append((label, voxel_start(voxels, label, n, **options)))
    return found


def voxel_start(
    voxels: np.ndarray,
    label: str,
    n: int,
    *,
    symmetry: str = "cubic",
    input_is: str = "cell",
    scale: float = 1.0,
) -> Float[np.ndarray, "n n n"]:
    """Return a cell as a start, resampled to octants of n where its edge differs.

    Voxels are `scale` where they are solid, and make a "cell" or an "octant".
    """
    if len(set(voxels.shape)) > 1:
        raise InputError(
            f"start {label} has shape {voxels.shape}; a start needs three equal edges. "
            "Cut it, or fill it up with void to a cube."
        )
    edge = n if input_is == "octant" else 2 * n
    options = prepare.Options(
        input_is=input_is,
        scale=scale,
        threshold=0.0,  # any density may be a start
        resize=0 if voxels.shape[0] == edge else edge,
        resize_method="linear",
    )
    grid = prepare.prepare(voxels, label, options)
    if grid.symmetry == "periodic":
        raise InputError(
            f"start {label} has no mirror planes in the middle of its edges, which "
            "every design here has. Pass a mirror-symmetric cell, or its octant with "
            "`input_is=octant`."
        )
    if grid.symmetry == "orthotropic" and symmetry == "cubic":
        raise InputError(
            f"start {label} differs along its axes, and symmetry=cubic keeps them "
            "equal. Pass `symmetry=orthotropic`."
        )
    return soften(grid.density)


def soften(octant: Shaped[AnyArray, "n n n"]) -> Float[np.ndarray, "n n n"]:
    """Return a density within [0.05, 0.95]: variables at their bounds hardly move."""
    return (0.05 + 0.9 * np.asarray(octant)).astype(np.float32)
