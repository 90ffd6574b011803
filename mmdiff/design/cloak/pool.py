"""Cells that fit a body: voxels of a dataset with the outermost layer of another.

Homogenized constants are those of a cell among its like. Where the faces of neighbours
do not fit, the walls of one end in the void of the other and a structure is far softer
than its tensors promise. So every cell of the pool gets the outermost layer of voxels
of the body's cell, on all faces, and its constants are computed anew: all faces that
touch are equal then. Cells that this leaves in pieces are not taken.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mmdiff import elasticity
from mmdiff.cells import plates
from mmdiff.cells.connectivity import clean_octant, is_load_bearing, spanning_axes
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.cells.voxels import pack, threshold_to_volume
from mmdiff.data import select, space
from mmdiff.data.dataset import Dataset
from mmdiff.errors import InputError
from mmdiff.fem.homogenize import homogenize
from mmdiff.run import console, saved
from mmdiff.typing import Float, Int, UInt8

REFERENCES = ("plates", "isotropic")  # bodies by name; others are cells by number
BODY, SOLID = -1, -2  # numbers of the cells that are none of the dataset
ISOTROPY = 0.01  # of Zener's ratio
SAMPLE = 100  # cells by which bodies are judged
WALL = 1 / 8  # of the plates, two of which meet, by the edge of the cell
BAND = 0.02  # of the volume of the isotropic reference
TRIED = 30  # cells that are looked at for it


class Pool(NamedTuple):
    """Cells to choose from, of constants with base E = 1; the last one is the body's.

    The number is that of the cell of the dataset that each was, `SOLID` for the one
    that is solid but for its faces, `BODY` for the body's.
    """

    octants: UInt8[np.ndarray, "N n n n"]
    constants: Float[np.ndarray, "N 3"]
    number: Int[np.ndarray, "N"]


def make_evaluate(void: float) -> Callable[[np.ndarray], tuple[np.ndarray, bool]]:
    """Return `octant -> (constants, converged)` for a modulus of void."""

    def evaluate(octant):
        tensor, info = homogenize(octant, void=void)
        constants = np.asarray(elasticity.voigt_to_cubic(tensor), np.float64)
        return constants, bool(info.converged.all())

    return evaluate


def shrunk(octant: np.ndarray, m: int) -> UInt8[np.ndarray, "m m m"]:
    """Return an octant of m voxels a side and nearly the same volume."""
    k = octant.shape[0] // m
    mean = octant.reshape(m, k, m, k, m, k).mean((1, 3, 5))
    return threshold_to_volume(mean, octant.mean())


def joined(octant: np.ndarray, body: np.ndarray) -> np.ndarray | None:
    """Return an octant with the outermost layer of another; None if it falls apart.

    Loose pieces inside are left out.
    """
    outermost = np.indices(octant.shape).min(0) == 0
    kept, _, _ = clean_octant(np.where(outermost, body, octant).astype(np.uint8))
    whole = np.array_equal(kept[0], body[0])
    return kept if whole and all(spanning_axes(octant_to_cell(kept))) else None


def isotropic_body(
    data: Dataset,
    candidates: Sequence[np.ndarray],
    evaluate: Callable[[np.ndarray], tuple[np.ndarray, bool]],
) -> np.ndarray:
    """Return the octant of the best isotropic cell for a body.

    Of those within `ISOTROPY` of Zener's ratio 1, or the most isotropic if none is, and
    of those again that nearly as many cells fit as any, the softest: what hides a hole
    is stiffer than the body, which leaves more room around a soft one.
    """
    known = np.stack([evaluate(octant)[0] for octant in candidates])
    off = abs(np.log(elasticity.moduli(known)["zener"]))
    rows = np.flatnonzero(off <= max(np.log1p(ISOTROPY), off.min()))
    n = len(candidates[0])
    some = [shrunk(octant, n) for octant in data.octants(_order(data)[:SAMPLE])]
    fit = [[joined(cell, candidates[row]) is not None for cell in some] for row in rows]
    fit = np.sum(fit, 1)
    rows = rows[fit >= 0.9 * fit.max()]
    return candidates[rows[np.argmin(known[rows, 0])]]


def make_pool(
    data: Dataset,
    body: np.ndarray,
    evaluate: Callable[[np.ndarray], tuple[np.ndarray, bool]],
    *,
    most: int,
    advance: Callable[[], object] = lambda: None,
) -> Pool:
    """Return cells spread over property space, with the faces of the body's octant.

    Cells of the dataset are made as small first; `most` of them are taken, if so many
    stay whole, and `advance` is called after every one.
    """
    found, solid = {}, np.ones_like(data.octants(0))
    # The order does not depend on how many are taken.
    for number in (SOLID, *_order(data).tolist()):
        inside = solid if number == SOLID else data.octants(number)
        octant = joined(shrunk(inside, len(body)), body)
        if octant is None or (key := pack(octant[None]).tobytes()) in found:
            continue
        constants, converged = evaluate(octant)
        if converged:
            found[key] = (octant, constants, number)
            advance()
        if len(found) == most + 1:  # and the solid
            break
    rows = [*found.values(), (body, evaluate(body)[0], BODY)]
    octants, constants, numbers = map(np.array, zip(*rows, strict=True))
    return Pool(octants.astype(np.uint8), constants, numbers)


def reference_pool(
    data: Dataset,
    reference: str,
    *,
    edge: int,
    void: float,
    most: int,
    volume: float,
    folder: pathlib.Path,
) -> Pool:
    """Return the cells to choose from in the body of a reference.

    That is one of `REFERENCES`, isotropic cells of the given volume, or the number of a
    cell of the dataset. Cells have `edge` voxels a side, and a finished pool a file in
    the folder; see `make_pool`.
    """

    def new():
        evaluate = make_evaluate(void)
        body = _body(data, reference, edge // 2, evaluate, volume)
        with console.progress(f"{reference}, cells that fit", most + 1) as advance:
            pool = make_pool(data, body, evaluate, most=most, advance=advance)
        console.say(
            f"{reference}: {len(pool.number)} cells of {edge}^3 voxels fit the body"
        )
        return pool._asdict()

    return Pool(**saved.once(folder / f"pool_{reference}_{edge}_{void:g}.npz", new))


def _body(data, reference, m, evaluate, volume) -> UInt8[np.ndarray, "m m m"]:
    """Return the octant of the cell of the body, m voxels a side."""
    if reference == "plates":
        return plates.plate_lattice(m, {"sc": WALL})
    if reference == "isotropic":
        near = np.flatnonzero(abs(data.volume - volume) <= BAND)
        if not near.size:
            raise InputError(
                f"no cell of the dataset has a volume within {BAND:g} of "
                f"reference_volume={volume:g}. Pass one of {data.volume.min():.2f} to "
                f"{data.volume.max():.2f}."
            )
        zener = elasticity.moduli(data.constants[near])["zener"]
        rows = near[np.argsort(abs(np.log(zener)))][:TRIED]
    else:
        rows = [int(reference)]
        if rows[0] >= len(data.volume):
            raise InputError(
                f"references={reference} is no cell of the dataset, which holds "
                f"{len(data.volume)}. Pass 0 to {len(data.volume) - 1}."
            )
    found = [clean_octant(shrunk(octant, m))[0] for octant in data.octants(rows)]
    found = [octant for octant in found if is_load_bearing(octant)]
    if not found:
        raise InputError(
            f"references={reference} falls apart at {2 * m}^3 voxels. Set "
            "`cell_voxels` and `check_voxels` to more."
        )
    # What is isotropic at the dataset's resolution need not be at a lower one.
    return isotropic_body(data, found, evaluate)


def _order(data) -> Int[np.ndarray, "N"]:
    """Return the rows of all cells, the bins of property space in turn."""
    index = space.bin_index(data.constants, data.volume)
    return select.uniform_order(np.random.default_rng(0), index)
