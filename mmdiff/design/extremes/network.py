"""The diffusion model that draws starts and variants, compiled where it is used."""

import dataclasses
import functools
from collections.abc import Callable

from mmdiff.design.generate import fem_guidance, pipeline, sampler
from mmdiff.design.generate.cell import Cell
from mmdiff.diffusion import samplers
from mmdiff.diffusion.conditions import Conditions
from mmdiff.models import noise_codec
from mmdiff.models.noise_codec import NoiseCodec
from mmdiff.models.weights import Model
from mmdiff.topopt import move
from mmdiff.topopt.move import Evaluation
from mmdiff.typing import Array, Float


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A diffusion model and how it is sampled, in batches."""

    model: Model
    num_samples: int  # of a batch
    steps: int = 16  # evaluations of the network per sample
    newton: int = 0  # steps of the guidance by finite elements on each sampling step
    inversion_steps: int = 16  # between a cell and its noise, each way
    iterations: int = 3  # evaluations of the network per step of the inversion

    @property
    def n(self) -> int:
        """Samples per side of its octants."""
        return int(self.model.meta["octant"])

    @property
    def evaluate(self) -> Callable[..., Evaluation]:
        """Finite elements on fields of its size."""
        return move.make_evaluate(self.n)

    @property
    def check(self) -> Callable[..., Cell | None]:
        """Verified cells of fields, `check(psi, target)`, from two grids."""
        return pipeline.make_check(self.n, pipeline.Settings(polish_steps=0))

    @functools.cache  # noqa: B019  (one network lives as long as the run)
    def make_draw(self, *, drainable: bool) -> Callable[..., Float[Array, "b n n n"]]:
        """Return the sampler of a batch, `draw(key, target)`."""
        settings = {"num_samples": self.num_samples, "steps": self.steps}
        settings |= {"newton": self.newton, "drainable": drainable}
        return sampler.make_sampler(*self.model, **settings)

    @functools.cached_property
    def codec(self) -> tuple[NoiseCodec, Conditions]:
        """Both ways between octants and noise, and the conditions of the model."""
        guide = sampler.choose_guidance("homogenizer", self.n, self.newton)
        settings = {"steps": self.inversion_steps, "iterations": self.iterations}
        return noise_codec.load_noise_codec(*self.model, guide=guide, **settings)

    def solutions(self, steps: int) -> int:
        """Return the finite-element solutions of the guidance over so many steps."""
        times = samplers.time_grid(steps).tolist()
        return fem_guidance.solutions(times, self.newton)
