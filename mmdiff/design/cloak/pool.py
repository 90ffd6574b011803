"""Cells that fit a body: surfaces of a dataset with the faces of another cell.

Homogenized constants are those of a cell among its like. Where the faces of neighbours
do not fit, the walls of one end in the void of the other and a structure is far softer
than its tensors promise. So the field of every cell of the pool passes into that of the
body's cell towards the faces, and its constants are computed anew: all faces that touch
are equal then. Closed faces leave nothing soft; so those of plates may have a round
window, and lie on closed ones all around it. Cells that this leaves in pieces are not
taken.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mmdiff import elasticity
from mmdiff.cells import distance, lattices
from mmdiff.cells.grey import connected
from mmdiff.cells.symmetry import gather_independent, side, spread
from mmdiff.data import select, space
from mmdiff.data.dataset import Dataset
from mmdiff.errors import InputError
from mmdiff.fem import accuracy
from mmdiff.run import console, saved, workers
from mmdiff.typing import AnyArray, Bool, Float, Int

REFERENCES = ("plates", "isotropic")  # bodies by name; others are cells by number
BODY, SOLID, WINDOW = -1, -2, -3  # numbers of the cells that are none of the dataset
ISOTROPY = 0.01  # of Zener's ratio
SAMPLE = 20  # cells by which bodies are judged
WALL = 1 / 8  # of the plates, two of which meet, by the edge of the cell
WINDOWS = 0.3, 0.42  # radii of holes in the faces of plates, by the edge of the cell
BAND = 0.02  # of the volume of the isotropic reference
TRIED = 12  # cells that are looked at for it
RIM = 1.0  # spacings at the faces where a field is the body's,
BLEND = 3.0  # and those after it in which it becomes the cell's own
CHUNK = 32  # cells of a unit of work


class Pool(NamedTuple):
    """Cells to choose from, of constants with base E = 1; the last one is the body's.

    Attributes:
      samples: independent samples of the fields (`mmdiff.cells.surface`), float32.
      constants: C11, C12, C44 of their surfaces.
      grids: the same on grids of n and 2n elements along the edge of a cell, n the
        samples along its octant.
      number: that of the cell of the dataset that each was, `SOLID` for one that is
        solid but for its faces, `WINDOW` for the body's with windows, `BODY` for it.
      moved: whether its surface was moved for its place.
    """

    samples: Float[np.ndarray, "N m"]
    constants: Float[np.ndarray, "N 3"]
    grids: Float[np.ndarray, "N 2 3"]
    number: Int[np.ndarray, "N"]
    moved: Bool[np.ndarray, "N"]

    def field(self, row: int | np.integer) -> Float[np.ndarray, "n n n"]:
        """Return the field of one cell, exactly cubic."""
        values = self.samples[row].astype(np.float64)
        return spread(values, side(values.size))

    def on_grid(self, edge: int) -> "Pool":
        """Return the pool with the constants on the grid of so many elements."""
        n = side(self.samples.shape[1])
        return self._replace(constants=self.grids[:, {n: 0, 2 * n: 1}[edge]])

    def with_cells(self, more: "Pool") -> "Pool":
        """Return the pool with others before the body's cell."""
        parts = (self[i] for i in range(len(self)))
        return Pool(
            *(np.concatenate([own[:-1], other, own[-1:]])
              for own, other in zip(parts, more, strict=True))
        )  # fmt: skip


def cells(found: Sequence[tuple]) -> Pool:
    """Return a pool of (field, estimate, number, moved), which may be none."""
    if not found:
        none = np.zeros(0, int)
        return Pool(
            *(np.zeros((0, *size)) for size in ((0,), (3,), (2, 3))), none, none > 0
        )
    psi, results, number, moved = zip(*found, strict=True)
    return Pool(
        gather_independent(np.stack(psi)).astype(np.float32),
        np.stack([result.constants for result in results]),
        np.stack([(result.coarse, result.fine) for result in results]),
        np.array(number, int),
        np.array(moved, bool),
    )


def evaluate(psi: Float[np.ndarray, "n n n"]) -> accuracy.Estimate:
    """Return the constants of a surface from grids of half and all of its samples."""
    return accuracy.estimate(
        psi, elements=psi.shape[-1] // 2, rule=accuracy.COARSE_RULE
    )


def joined(
    psi: Float[AnyArray, "n n n"], body: Float[AnyArray, "n n n"]
) -> Float[np.ndarray, "n n n"] | None:
    """Return a field with the faces of another; None if that falls apart.

    Loose pieces inside are left out.
    """
    depth = np.indices(psi.shape).min(0) + 0.5  # the low faces are those of the cell
    share = np.clip((depth - RIM) / BLEND, 0, 1)
    found, flaw = connected(body + share**2 * (3 - 2 * share) * (psi - body))
    whole = np.array_equal(found[0], body[0])
    return found if whole and not flaw else None


def check_references(data: Dataset, references: Sequence[str], volume: float) -> None:
    """Refuse references that the dataset has no cell for, before any pool is made."""
    for reference in references:
        if reference == "isotropic":
            _near(data, volume)
        elif reference not in REFERENCES and int(reference) >= len(data.volume):
            raise InputError(
                f"references={reference} is no cell of the dataset, which holds "
                f"{len(data.volume)}. Pass 0 to {len(data.volume) - 1}."
            )


def _near(data, volume) -> Int[np.ndarray, "k"]:
    """Return the cells of about a volume."""
    near = np.flatnonzero(abs(data.volume - volume) <= BAND)
    if not near.size:
        raise InputError(
            f"no cell of the dataset has a volume within {BAND:g} of "
            f"reference_volume={volume:g}. Pass one of {data.volume.min():.2f} to "
            f"{data.volume.max():.2f}."
        )
    return near


def isotropic_body(data: Dataset, volume: float) -> Float[np.ndarray, "n n n"]:
    """Return the field of the best isotropic cell for a body, of about a volume.

    Of those within `ISOTROPY` of Zener's ratio 1, or the most isotropic if none is, and
    of those again that nearly as many cells fit as any, the softest: what hides a hole
    is stiffer than the body, which leaves more room around a soft one.
    """
    near = _near(data, volume)
    off = abs(np.log(elasticity.moduli(data.constants[near])["zener"]))
    near = near[off <= max(np.log1p(ISOTROPY), off.min())]
    near = near[np.argsort(data.constants[near, 0])][:TRIED]
    some = data.fields(_order(data)[:SAMPLE])
    fit = [sum(joined(psi, body) is not None for psi in some)
           for body in data.fields(near)]  # fmt: skip
    return data.fields(near[np.flatnonzero(np.array(fit) >= 0.9 * max(fit))[0]])


def make_unit() -> Callable[..., Pool]:
    """Return `unit(file, packed, numbers, body) -> Pool`: those of some cells that fit.

    What is found is kept in the file.
    """

    def unit(file, packed, numbers, body):
        def new():
            found = []
            for psi, number in zip(packed, numbers, strict=True):
                psi = joined(distance.unpack(psi, len(body)), body)
                result = None if psi is None else evaluate(psi)
                if result is not None and result.converged:
                    found.append((psi, result, number, False))
            return cells(found)._asdict()

        found = Pool(**saved.once(file, new))
        workers.advance(len(numbers))
        return found

    return unit


def reference_pool(
    data: Dataset,
    reference: str,
    *,
    most: int,
    volume: float,
    folder: pathlib.Path,
    processes: int = 0,
) -> Pool:
    """Return the cells to choose from in the body of a reference.

    That is one of `REFERENCES`, isotropic cells of the given volume, or the number of a
    cell of the dataset. Cells are spread over property space; those of the first `most`
    that stay whole are taken. What is finished is kept in the folder.
    """

    def new():
        body = _body(data, reference, volume)
        faces = [body]
        if reference == "plates":
            faces += [windowed(body, radius) for radius in WINDOWS]
        # The order does not depend on how many are taken.
        rows = _order(data)[:most]
        parts = [
            (face, rows[kind :: len(faces)][i : i + CHUNK])
            for i in range(0, len(rows), CHUNK)
            for kind, face in enumerate(faces)
        ]
        parts = [(face, part) for face, part in parts if len(part)]
        units = [
            (folder / f"pool_{reference}_{i:03d}.npz", data.packed[part], part, face)
            for i, (face, part) in enumerate(parts)
        ]
        found = [_of_faces(faces)]
        with console.progress(f"{reference}, cells that fit", len(rows)) as advance:
            options = {"workers": processes, "on_advance": advance}
            done = dict(workers.run_units(make_unit, units, **options))
        for place in range(len(units)):
            if len(done[place].number):
                found.append(found.pop().with_cells(done[place]))
        (pool,) = found
        console.say(f"{reference}: {len(pool.number)} of {most} cells fit the body")
        return pool._asdict()

    return Pool(**saved.once(folder / f"pool_{reference}.npz", new))


def windowed(
    body: Float[AnyArray, "n n n"], radius: float
) -> Float[np.ndarray, "n n n"]:
    """Return the field of a cell with round holes through the middles of its faces."""
    n = len(body)
    from_axis = (
        n - 0.5 - np.arange(n)
    )  # in spacings; the axes meet in the cell's middle
    hole = np.hypot(from_axis[:, None], from_axis) - 2 * n * radius
    holes = np.minimum(np.minimum(hole[:, :, None], hole[:, None]), hole[None])
    return np.minimum(body, distance.level_off(holes))


def _of_faces(faces) -> Pool:
    """Return cells solid but for their faces, and the bodies; the first comes last."""
    rows = []
    for place in reversed(range(len(faces))):
        own = gather_independent(faces[place]).astype(np.float32)  # as they are kept
        body = spread(own.astype(np.float64), len(faces[place]))
        solid = joined(np.full_like(body, distance.CLIP), body)
        rows += [] if solid is None else [(solid, SOLID)]
        rows.append((body, WINDOW if place else BODY))
    return cells([(p, evaluate(p), n, False) for p, n in rows])


def _body(data, reference, volume) -> Float[np.ndarray, "n n n"]:
    """Return the field of the cell of the body."""
    check_references(data, [reference], volume)
    if reference == "plates":
        thick = lattices.parameter_of_thickness("sc plates", WALL, data.n)
        return lattices.octant("sc plates", thick, data.n)
    if reference == "isotropic":
        return isotropic_body(data, volume)
    psi, flaw = connected(data.fields(int(reference)))
    if flaw:
        raise InputError(f"references={reference} is {flaw}. Pass another cell.")
    return psi


def _order(data) -> Int[np.ndarray, "N"]:
    """Return the rows of all cells, the bins of property space in turn."""
    index = space.bin_index(data.constants, data.volume)
    return select.uniform_order(np.random.default_rng(0), index)
