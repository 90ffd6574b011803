"""How neighbours in a family fit: touching faces, stiffness of the stacked pair."""

import itertools
import pathlib
from collections.abc import Sequence

import numpy as np

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.interpolate.family import Member
from mmdiff.fem import homogenize
from mmdiff.run import console, workdir
from mmdiff.typing import Shaped


def face_agreement(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return how two octants' outer faces across x fit when the cells are stacked.

    The share of equal voxels, and the share of the solid that meets solid: the voxels
    solid on both faces over those solid on either, NaN where both are void.
    """
    one, other = np.asarray(first)[0] > 0.5, np.asarray(second)[0] > 0.5
    either = (one | other).sum()
    contact = (one & other).sum() / either if either else np.nan
    return float((one == other).mean()), float(contact)


def stack(
    first: Shaped[np.ndarray, "n n n"], second: Shaped[np.ndarray, "n n n"]
) -> Shaped[np.ndarray, "N N N"]:
    """Return two cells stacked along x, as an orthotropic octant (2n, 2n, 2n).

    Periodic stacks have mirror planes in the middle of both cells: the domain runs from
    the middle of the first along x to that of the second, and spans a whole cell along
    y and z, so that it is a cube as the solver needs.
    """
    n = first.shape[0]
    return np.concatenate([octant_to_cell(first)[n:], octant_to_cell(second)[:n]])


def pair_stiffness(first: Member, second: Member, *, tol: float = 1e-3) -> float:
    """Return C11 of two stacked cells over that in series; NaN if not converged.

    In series, in perfect contact, C11 is the harmonic mean of both: exact for
    homogeneous layers of equal thickness held alike in their plane. The error of C11 is
    of the square of the tolerance.
    """
    density = stack(first.octant, second.octant).astype(np.float32)
    tensor, info = homogenize.homogenize(density, symmetry="orthotropic", tol=tol)
    expected = 2 / (1 / first.constants[0] + 1 / second.constants[0])
    # The load along x stands first.
    ratio = float(tensor[0, 0]) / float(expected)
    return ratio if info.converged[0] else float("nan")


def worst_ratios(
    members: Sequence[Member], count: int, folder: pathlib.Path
) -> dict[int, float]:
    """Return `pair_stiffness` by number of the first, of pairs whose faces fit worst.

    Pairs that are computed are kept in the metrics of the run in this folder.
    """
    known = {line["pair"]: line["ratio"] for line in workdir.read_metrics(folder)}
    pairs = itertools.pairwise(member.octant for member in members)
    fits = [face_agreement(*pair)[0] for pair in pairs]
    chosen = np.argsort(fits, kind="stable")[:count].tolist()
    for i in chosen:
        if i not in known:
            known[i] = pair_stiffness(members[i], members[i + 1])
            workdir.append_metrics(folder, {"pair": i, "ratio": known[i]})
            console.say(f"pair {i}, {i + 1}: C11 {known[i]:.3f} of that in series")
    return {i: known[i] for i in chosen}
