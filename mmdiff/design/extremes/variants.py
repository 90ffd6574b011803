"""Variants of a cell: its noise, perturbed, decoded under its own properties.

The second half of Fig. 4 of arXiv 2401.13570: an optimum is inverted to the noise that
the deterministic sampler makes it of, and noise nearby gives further cells. Their
surfaces are moved on; a diverse set of the good ones is kept.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import elasticity
from mmdiff.cells import grey, surface
from mmdiff.cells.voxels import agreement, pack
from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes.network import Network
from mmdiff.design.extremes.quest import PROBLEM, Extreme, Quest, Shape
from mmdiff.design.extremes.starts import shape_of
from mmdiff.design.generate import fem_guidance
from mmdiff.diffusion.process import symmetric_noise
from mmdiff.models import noise_codec
from mmdiff.run import saved
from mmdiff.targets.target import of_constants
from mmdiff.topopt import finish
from mmdiff.typing import Array, Float, Key, UInt8


@dataclasses.dataclass(frozen=True)
class VariantPlan:
    """How many variants are made, and which of them are kept."""

    sizes: Sequence[float]  # share of new noise of each, see `perturbed`
    steps: int  # most steps of the surface
    keep: int  # most variants in the diverse set
    alike: float  # share of equal voxels from which two count as one
    loss: float  # share of the cell's value that those in the set may lack


def varied(
    quest: Quest,
    best: Extreme,
    key: Key,
    state: pathlib.Path,
    network: Network,
    plan: VariantPlan,
) -> tuple[list[Extreme], float]:
    """Return variants of a cell through its noise, and how much of it comes back.

    A field of more samples than the network's is coarsened first. The network is
    compiled only where noise is decoded; what is made is kept in the folder `state`.

    Returns:
      the variants that bear load, and the share of the cell's voxels that come back
      from its unchanged noise; none and NaN for a cell that falls apart when coarsened.
    """
    known, psi = best.after, surface.resampled(best.after.psi, network.n)
    if psi.shape != known.psi.shape:
        known = shape_of(psi)
        if not np.isfinite(known.constants).all():
            return [], np.nan
    file = state / f"noise_{quest.name}.npz"
    decoded = saved.once(file, lambda: _decoded(known, key, network, plan.sizes))
    spent = network.solutions(network.inversion_steps)
    found = []
    for i, made in enumerate(decoded["psi"]):
        if decoded["refused"][i]:
            continue
        source = f"{best.name}, {plan.sizes[i]:g} of new noise"
        shape = Shape(made, np.full(3, np.nan))
        begun = Extreme(quest.name, "variant", i, source, shape, spent=spent)
        found.append(_refined(quest, begun, known, state, network, plan.steps))
    top = quest.merit(extreme.score(quest, known))
    least = top - plan.loss * abs(top)
    good = [
        i
        for i, record in enumerate(found)
        if record.is_good and quest.merit(extreme.score(quest, record.after)) >= least
    ]
    octants = [found[i].after.octant for i in good]
    for i in diverse(octants, known.octant, count=plan.keep, alike=plan.alike):
        found[good[i]] = dataclasses.replace(found[good[i]], kept=True)
    return found, float(decoded["returned"])


def _decoded(known: Shape, key, network, sizes) -> dict[str, np.ndarray]:
    """Return the fields of noise near that of a cell, of the same volume."""
    codec, scaling = network.codec
    names, values = (*elasticity.NAMES, "V"), [*known.constants, known.volume]
    cond = scaling.from_values(**dict(zip(names, map(float, values), strict=True)))
    x0 = jnp.asarray(grey.to_sample(known.psi), jnp.float32)
    goal = None
    if network.solutions(network.inversion_steps):
        target = of_constants(known.constants, known.volume)
        goal = jnp.asarray(fem_guidance.target_values(target))
    noise = codec.encode(jax.random.fold_in(key, 0), x0, cond)
    back = codec.decode(noise, cond)
    fields, refused = [], []
    for i, size in enumerate(sizes):
        moved = perturbed(jax.random.fold_in(key, 1 + i), noise, size)
        field = np.asarray(codec.decode(moved, cond, goal))
        psi, reason = grey.to_field(field, known.volume)
        fields.append(psi)
        refused.append(bool(reason))
    return {
        "returned": np.array(noise_codec.returned(back, x0)),
        "psi": np.stack(fields),
        "refused": np.array(refused),
    }


def _refined(quest, begun, optimum: Shape, state, network, steps) -> Extreme:
    """Return a decoded variant after its surface was moved."""
    psi = begun.before.psi

    def made():
        design = finish.improve(
            psi,
            PROBLEM,
            quest.limits,
            network.evaluate,
            steps=steps,
            printing=quest.printing,
        )
        result = design.estimate
        return {
            "before": shape_of(psi).constants,
            "psi": design.psi,
            "constants": np.where(result.converged, result.constants, np.nan),
            "solutions": design.solves,
        }

    known = saved.once(state / f"{begun.name}.npz", made)
    after = Shape(known["psi"], known["constants"])
    same = agreement(after.octant, pack(optimum.octant[None]), half_shift=True)
    return dataclasses.replace(
        begun,
        before=Shape(psi, known["before"]),
        after=after,
        flaws=extreme.flaws(quest, after),
        solutions=int(known["solutions"]),
        similarity=float(same[0]),
    )


def perturbed(
    key: Key, noise: Float[Array, "n n n"], size: float
) -> Float[Array, "n n n"]:
    """Return sqrt(1 - size^2) noise + size new: standard normal where `noise` is.

    The size, in [0, 1], is that of the new noise, as a ratio of standard deviations.
    """
    fresh = symmetric_noise(key, noise.shape[-1], noise.dtype)
    keep, size = (jnp.asarray(s, noise.dtype) for s in (np.sqrt(1 - size**2), size))
    return keep * noise + size * fresh


def diverse(
    octants: Sequence[UInt8[np.ndarray, "n n n"]],
    reference: UInt8[np.ndarray, "n n n"],
    *,
    count: int,
    alike: float,
) -> list[int]:
    """Return the numbers of a diverse set, the most different from the reference first.

    Each next one is that whose most similar neighbour among the reference and those
    chosen is least similar to it. Two count as one from a share `alike` of equal
    voxels.
    """
    if not octants:
        return []
    packed = pack(np.stack(octants))
    nearest = agreement(reference, packed, half_shift=True)
    chosen: list[int] = []
    while len(chosen) < min(count, len(octants)):
        i = int(np.argmin(nearest))
        if nearest[i] >= alike:
            break
        chosen.append(i)
        nearest = np.maximum(nearest, agreement(octants[i], packed, half_shift=True))
        nearest[i] = 1.0
    return chosen
