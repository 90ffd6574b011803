"""A trained network as a function from a target to sampled fields.

Where constants stay free (of E alone, say, all three), each sample has a tensor of its
own that meets the target, see `mmdiff.targets.completion`; a volume that is free stays
so for the guidance. The network knows cells of one base material: it is asked for what
about the same cell would have with that one.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mmdiff import assets, bounds, elasticity
from mmdiff.design.generate.fem_guidance import FemGuidance, target_values
from mmdiff.design.generate.regressor_guidance import make_regressor_guidance
from mmdiff.errors import InputError
from mmdiff.models.regressor import load_regressor
from mmdiff.models.sampling import make_draw
from mmdiff.targets import feasibility
from mmdiff.targets.completion import complete
from mmdiff.targets.target import Target, of_constants
from mmdiff.typing import Array, Float

GUIDES = ("homogenizer", "fine", "regressor")


def check_guide(guide: str) -> None:
    """Refuse a name of a guidance that is not in `GUIDES`."""
    if guide not in GUIDES:
        raise InputError(f"guide={guide!r} is unknown. Use {', '.join(GUIDES)}.")


def choose_guidance(
    guide: str, n: int, newton: int, nu: float = elasticity.NU
) -> Callable | None:
    """Return the guidance of a name in `GUIDES`, None for no Newton steps.

    It asks finite elements (`mmdiff.design.generate.fem_guidance`) for the constants of
    estimates, on the grid of the samples ("fine") or one half as fine, or the shipped
    regressor (`mmdiff.design.generate.regressor_guidance`) if that is of octants of
    side n; `nu` is that of the base material.
    """
    check_guide(guide)
    if not newton:
        return None
    if guide != "regressor":
        # Grids of half as many elements take a third of the time, and the rest of the
        # way is that of the surface.
        halved = guide == "homogenizer" and n % 8 == 0 and n >= 16
        return FemGuidance(n, newton=newton, elements=n // 2 if halved else n, nu=nu)
    params, meta = load_regressor(assets.regressor_path())
    if int(meta["octant"]) != n:
        raise InputError(
            f"the shipped regressor knows cells of {2 * int(meta['octant'])}^3 voxels "
            f"and the network makes {2 * n}^3. Use `guide=homogenizer`."
        )
    if nu != elasticity.NU:
        raise InputError(
            f"the shipped regressor knows a base material of nu={elasticity.NU:g}, not "
            f"{nu:g}. Use `guide=homogenizer`."
        )
    return make_regressor_guidance(params, meta, count=newton)


def make_sampler(
    params: Any,
    meta: Mapping[str, Any],
    *,
    num_samples: int,
    newton: int = 0,
    guide: str = GUIDES[0],
    drainable: bool = False,
    nu: float = elasticity.NU,
    **settings,
) -> Callable[..., Float[Array, "b n n n"]]:
    """Return `draw(key, target, first=0, total=0) -> (num_samples, n, n, n)`.

    These are fields in [-1, 1]: a whole batch, or from number `first` on a share of one
    of `total` samples. Guidance see `choose_guidance`, the other settings and the
    network `mmdiff.models.sampling.make_draw`. With `drainable` cells are asked whose
    void is one open piece, else any. Targets are of a base material of Poisson's
    ratio `nu`.
    """
    guide = choose_guidance(guide, int(meta["octant"]), newton, nu)
    draw = make_draw(params, meta, num_samples=num_samples, guide=guide, **settings)
    known, own = known_cells(meta, nu), float(meta["base"]["nu"])
    further = {"drainable": 1.0} if drainable else {}

    def draw_for(key, target: Target, first: int = 0, total: int = 0):
        if target.is_determined:
            volume = target.volume
            if nearest := volume is None:  # the map needs one
                distances = feasibility.training_distances(target, known)
                volume = known[distances.argmin(), 3]
            constants = _rebased(np.array(target.constants), volume, nu, own)
            values = dict(zip(elasticity.NAMES, constants, strict=True))
            if not nearest:
                values["V"] = volume
            return draw(key, values | further, target_values(target), first)
        seed = np.asarray(jax.random.key_data(key))
        rows = complete(target, known, total or num_samples, seed)
        # As many in the last share, too: another number is another program.
        rows = rows.take(first + np.arange(num_samples), axis=0, mode="clip")
        goals = [target_values(of_constants(row[:3], target.volume)) for row in rows]
        constants = _rebased(rows[:, :3], rows[:, 3], nu, own)
        every = [*constants.T, rows[:, 3]]
        values = dict(zip((*elasticity.NAMES, "V"), every, strict=True))
        return draw(key, values | further, np.stack(goals), first)

    return draw_for


def known_cells(
    meta: Mapping[str, Any], nu: float = elasticity.NU
) -> Float[np.ndarray, "N 4"]:
    """Return C11, C12, C44, V of training cells, made of a base of Poisson's ratio nu.

    For another one than they were labelled with, these are estimates.
    """
    known, own = np.array(meta["training"]["labels"]), float(meta["base"]["nu"])
    known[:, :3] = _rebased(known[:, :3], known[:, 3], own, nu)
    return known


def _rebased(constants, volume, old, new):
    """Return `bounds.rebase`, and the same to the last bit where nothing changes."""
    return constants if old == new else bounds.rebase(constants, volume, old, new)
