"""From one cell to another through the noise they come from (arXiv 2401.13570, Fig. 5).

Both cells are encoded as the noise that DDIM makes them of, the noises are joined by
cos(theta) x1 + sin(theta) x2, which keeps the variance, and each point is decoded.
"""

import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells import grey
from mmdiff.design.interpolate.family import Member, arrays, member_of, members_of
from mmdiff.diffusion.conditions import Conditions
from mmdiff.elasticity import NAMES, range_error
from mmdiff.models import noise_codec
from mmdiff.models.noise_codec import NoiseCodec
from mmdiff.run import console, saved
from mmdiff.targets.target import Target, of_constants
from mmdiff.typing import Float


def between(first, second, theta: float | np.floating) -> Float[np.ndarray, "..."]:
    """Return properties on the straight line, in proportion to the angle."""
    share = 2 * theta / np.pi
    return (1 - share) * np.asarray(first) + share * np.asarray(second)


def off_line(
    constants: Float[np.ndarray, "m 3"], theta: Float[np.ndarray, "m"]
) -> Float[np.ndarray, "m"]:
    """Return range errors of cells beside the straight line between first and last."""
    line = np.stack([between(constants[0], constants[-1], angle) for angle in theta])
    return range_error(constants, line)


def make_finish(
    check: Callable,
    improve: Callable | None = None,
    flaw: Callable = lambda cell: "",
    *,
    any_volume: bool = False,
) -> Callable[[Float[np.ndarray, "n n n"], Target], tuple]:
    """Return `finish(sample, target) -> cell, reason`, see `make_path`.

    Args:
      check: `check(psi, target)` gives the cell of a field, None without convergence.
      improve: `improve(cell, target)` makes it meet the target; None to leave it.
      flaw: says what keeps a cell that was improved from being printed.
      any_volume: whether the volume of the sample is kept, not that of the target.
    """

    def finish(sample, target):
        psi, reason = grey.to_field(sample, None if any_volume else target.volume)
        cell = None if reason else check(psi, target)
        if cell is None:
            return None, reason or "unconverged"
        if improve is None:
            return cell, ""
        cell = improve(cell, target)
        return cell, flaw(cell)

    return finish


def make_path(
    ends: tuple[Member, Member],
    network: tuple[NoiseCodec, Conditions],
    finish: Callable[[Float[np.ndarray, "n n n"], Target], tuple],
    *,
    key,
    count: int,
    conditioned: bool,
    target_values: Callable[[Target], Float[np.ndarray, "q"]] | None = None,
    file: pathlib.Path,
) -> tuple[list[Member], dict]:
    """Return the cells of a path, its ends first and last.

    Args:
      ends: the two cells.
      network: codec and conditions, see `noise_codec.load_noise_codec`.
      finish: `finish(field, target)` returns the cell that a decoded array becomes,
        see `family.member_of`, and the reason where it is refused.
      key: typed random key.
      count: cells between the ends.
      conditioned: whether constants and volume of a cell, or those between the ends,
        are conditions of the network; else all are free.
      target_values: what the guidance of the codec aims at for a target; None: none.
      file: where a finished path is stored.

    Returns:
      the cells, and "returned", the share of each end's samples whose sign comes back
      from its noise, and "refused", the number of points without a cell.
    """
    codec, scaling = network
    raw = [np.append(end.constants, end.volume) for end in ends]

    def condition(values):
        names = (*NAMES, "V") if conditioned else ()
        return scaling.from_values(**dict(zip(names, map(float, values), strict=False)))

    def new():
        noises, returned = [], []
        for i, (end, values) in enumerate(zip(ends, raw, strict=True)):
            x0, cond = grey.to_sample(end.psi).astype(np.float32), condition(values)
            noises.append(codec.encode(jax.random.fold_in(key, i), jnp.array(x0), cond))
            back = codec.decode(noises[i], cond)
            returned.append(noise_codec.returned(back, x0))
            share = f"{100 * returned[i]:.2f} %"
            console.say(f"end {i + 1}: {share} of voxels come back from the noise")
        cells, refused = [ends[0]], 0
        for theta in np.linspace(0, np.pi / 2, count + 2)[1:-1]:
            values = between(*raw, theta)
            target = of_constants(values[:3], float(values[3]))
            aim = jnp.asarray(target_values(target)) if target_values else None
            noise = noise_codec.spherical(*noises, theta)
            field = codec.decode(noise, condition(values), aim)
            cell, reason = finish(np.asarray(field), target)
            if reason:
                refused += 1
                console.note(f"theta {theta:.3f}: {reason}, left out.")
            else:
                cells.append(member_of(cell, "path", float(theta)))
        return arrays([*cells, ends[1]]) | {"returned": returned, "refused": refused}

    found = saved.once(file, new)
    info = {"returned": found["returned"].tolist(), "refused": int(found["refused"])}
    return members_of(found), info
