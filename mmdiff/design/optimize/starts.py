"""What an optimization begins with: known, random, plates, generated cells, voxels.

Every maker returns a list of octants at the edge asked for, with the kind or name of
each: densities in [0, 1], or the level-set fields of cells, which are negative in the
void (`topopt.starts.is_field`). What a file lacks is refused before anything is
computed.
"""

import functools
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from mmdiff.cells import plates, prepare, surface
from mmdiff.data import dataset
from mmdiff.design.generate import pipeline
from mmdiff.design.generate.search import in_turn, search
from mmdiff.design.optimize import known
from mmdiff.design.optimize.method import Method
from mmdiff.design.optimize.problem import Request
from mmdiff.errors import InputError
from mmdiff.fem import accuracy, homogenize
from mmdiff.io import read
from mmdiff.models.weights import load_model
from mmdiff.run import console, saved
from mmdiff.targets.target import Target
from mmdiff.topopt import starts
from mmdiff.typing import AnyArray, Float, Shaped

KINDS = ("dataset", "random", "plates", "generated")

Starts = list[tuple[str, Float[np.ndarray, "n n n"]]]
# Fields, constants of their surfaces, the uncertainty of these, and binary octants.
Lattices = dict[str, tuple[np.ndarray, ...]]


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
    # Plates thinner than a field can hold are whole in their voxels.
    return [(name, soften(octant)) for name, (*_, octant) in lattices.items()]


def plate_lattices(
    file: pathlib.Path, n: int, volume: float, *, symmetry: str = "cubic", **solver
) -> Lattices:
    """Return plate lattices as surfaces, isotropic mixtures first.

    They are read from the file if they were made before. The options of the finite
    elements are those of `accuracy.estimate`.
    """

    def made():
        homogenizer = functools.partial(homogenize.homogenize, **solver)
        octants = plates.baselines(n, volume, homogenizer=homogenizer)
        # Mixtures have the longer names.
        names = sorted(octants, key=lambda name: -len(name))
        fields = [surface.from_voxels(octants[name]) for name in names]
        found = [accuracy.estimate(psi, symmetry=symmetry, **solver) for psi in fields]
        return {
            "name": names,
            "psi": fields,
            "constants": [result.constants for result in found],
            "uncertainty": [result.uncertainty for result in found],
            "octant": [octants[name] for name in names],
        }

    cached = saved.once(file, made)
    every = (cached[key] for key in ("psi", "constants", "uncertainty", "octant"))
    return dict(zip(cached["name"].tolist(), zip(*every, strict=True), strict=True))


def generated_starts(
    target: Target, n: int, *, count: int, seed: int = 0, **solver
) -> Starts:
    """Return connected cells that the model draws for a target, best first.

    At most `count`; InputError if there is none. The octants have n elements.
    """
    model, settings = load_model(), pipeline.Settings(**solver)
    cells, counts = search(
        jax.random.key(seed),
        target,
        draw=pipeline.make_draw(model, settings, max(count, 4)),
        check=in_turn(pipeline.make_check(int(model.meta["octant"]), settings)),
        num_best=count,
    )
    if not cells:
        raise InputError(
            f"none of {counts['sampled']} generated cells was connected and load "
            "bearing. Ask for a target nearer to the trained region, or pass "
            "`start=random`."
        )
    return [("generated", surface.resampled(cell.psi, n)) for cell in cells]


def dataset_starts(
    request: Request, n: int, *, count: int, drainable: bool, nu: float
) -> Starts:
    """Return the fields of the best shipped cells for a problem; see `known`."""
    data = dataset.load_dataset()
    rows = known.best_rows(data, request, count, drainable=drainable, nu=nu)
    return [(f"dataset {i}", surface.resampled(data.fields(i), n)) for i in rows]


def file_starts(
    path: pathlib.Path, n: int, *, key: str = "", index: str = "", **options
) -> Starts:
    """Return the cells of a voxel file or dataset; options as for `voxel_start`.

    Those of a dataset are surfaces, and need none. The key is the name of the array in
    a file that holds several, the index the number of one cell of several, or "all".
    """
    if dataset.is_dataset(path):
        data = dataset.load_dataset(path)
        shape = (len(data.volume), *(3 * (data.n,)))
        rows = read.choose(shape, path.name, index)
        fields = (surface.resampled(data.fields(i), n) for i in rows)
        return [(f"{path.name}[{i}]", psi) for i, psi in zip(rows, fields, strict=True)]
    array, _ = read.read(path, key=key)
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
