"""How neighbours in a family fit: touching faces, stiffness of the stacked pair."""

import itertools
import pathlib
from collections.abc import Sequence

import numpy as np

from mmdiff.cells import surface
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.interpolate.family import Member
from mmdiff.fem import accuracy, homogenize
from mmdiff.run import console, workdir
from mmdiff.typing import Float, Shaped


def face_agreement(
    first: Float[np.ndarray, "n n n"], second: Float[np.ndarray, "n n n"]
) -> tuple[float, float]:
    """Return how the outer faces across x of two fields fit when cells are stacked.

    The share of the face where both are solid or void, and the share of the solid that
    meets solid: where both are solid over where either is, NaN if both are void.
    """
    # Symmetric to the face, fields are flat across it: the first layer stands for it.
    one, other = (surface.voxels(psi, 2 * psi.shape[-1])[0] for psi in (first, second))
    either = (one | other).sum()
    contact = (one & other).sum() / either if either else np.nan
    return float((one == other).mean()), float(contact)


def stack(
    first: Shaped[np.ndarray, "n n n"], second: Shaped[np.ndarray, "n n n"]
) -> Shaped[np.ndarray, "N N N"]:
    """Return two octants' cells stacked along x, as an orthotropic octant (2n, 2n, 2n).

    Periodic stacks have mirror planes in the middle of both cells: the domain runs from
    the middle of the first along x to that of the second, and spans a whole cell along
    y and z, so that it is a cube as the solver needs.
    """
    n = first.shape[0]
    return np.concatenate([octant_to_cell(first)[n:], octant_to_cell(second)[:n]])


def pair_stiffness(first: Member, second: Member, *, tol: float = 1e-3) -> float:
    """Return C11 of two stacked cells over that in series; NaN if not converged.

    In series, in perfect contact, C11 is the harmonic mean of both: exact for
    homogeneous layers of equal thickness held alike in their plane. All three are from
    grids of one element per sample. The error of C11 is of the square of the tolerance.
    """
    n = first.psi.shape[-1]
    shares = (surface.fractions(member.psi, n) for member in (first, second))
    tensor, info = homogenize.homogenize(
        stack(*shares).astype(np.float32), symmetry="orthotropic", penal=1.0, tol=tol
    )
    alone = (accuracy.on_grid(member.psi, n)[0][0, 0] for member in (first, second))
    expected = 2 / sum(1 / c11 for c11 in alone)
    # The load along x stands first.
    ratio = float(tensor[0, 0]) / float(expected)
    return ratio if info.converged[0] else float("nan")


def worst_ratios(
    members: Sequence[Member], count: int, folder: pathlib.Path
) -> dict[int, float]:
    """Return `pair_stiffness` by number of the first, of pairs whose faces fit worst.

    Pairs that are computed are kept in the metrics of the run in this folder.
    """
    known = {line["pair"]: line["ratio"] for line in workdir.read_records(folder)}
    pairs = itertools.pairwise(member.psi for member in members)
    fits = [face_agreement(*pair)[0] for pair in pairs]
    chosen = np.argsort(fits, kind="stable")[:count].tolist()
    for i in chosen:
        if i not in known:
            known[i] = pair_stiffness(members[i], members[i + 1])
            workdir.append_record(folder, {"pair": i, "ratio": known[i]})
            console.say(f"pair {i}, {i + 1}: C11 {known[i]:.3f} of that in series")
    return {i: known[i] for i in chosen}
