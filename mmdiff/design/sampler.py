"""A trained network as a function from a target to sampled fields.

The network is told the constants that follow from the target, and the volume; it leaves
the others free. What else is asked (E alone, say) is up to the steering.
"""

import numpy as np

from mmdiff import elasticity
from mmdiff.design.steer import make_steer, wanted_of
from mmdiff.design.target import Target
from mmdiff.models.sampling import make_draw


def make_sampler(params, meta: dict, *, newton: int = 0, **settings):
    """Return `draw(key, target) -> (num_samples, n, n, n)` fields in [-1, 1].

    Args:
      params: parameters of the network.
      meta: header of the weights file, see `mmdiff.models.weights`.
      newton: Newton steps by finite elements on the estimate of each sampling step, see
        `mmdiff.design.steer`; 0 samples without them.
      **settings: as for `mmdiff.models.sampling.make_draw`.
    """
    steer = make_steer(int(meta["octant"]), newton=newton) if newton else None
    draw = make_draw(params, meta, steer=steer, **settings)

    def draw_for(key, target: Target):
        pairs = zip(elasticity.NAMES, target.constants, strict=True)
        values = {name: value for name, value in pairs if not np.isnan(value)}
        if target.volume is not None:
            values["V"] = target.volume
        return draw(key, values, wanted_of(target))

    return draw_for
