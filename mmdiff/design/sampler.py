"""A trained network as a function from a target to sampled fields."""

from mmdiff import elasticity
from mmdiff.design.target import Target
from mmdiff.models.sampling import make_draw


def make_sampler(params, meta: dict, **settings):
    """Return `draw(key, target) -> (num_samples, n, n, n)` fields in [-1, 1].

    Args:
      params: parameters of the network.
      meta: header of the weights file, see `mmdiff.models.weights`.
      **settings: as for `mmdiff.models.sampling.make_draw`.
    """
    draw = make_draw(params, meta, **settings)

    def draw_for(key, target: Target):
        values = dict(zip(elasticity.NAMES, target.constants, strict=True))
        if target.volume is not None:
            values["V"] = target.volume
        return draw(key, values)

    return draw_for
