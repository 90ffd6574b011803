"""Extreme cells: generated, random and plate-like starts, optimized and compared."""

import dataclasses
import functools
import math
import pathlib

import jax
from ml_collections import ConfigDict

from mmdiff import assets
from mmdiff.data import dataset
from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes import report, runs, starts, summary
from mmdiff.design.extremes.quest import PROBLEM, Extreme, Quest
from mmdiff.design.generate import fem_guidance, sampler
from mmdiff.design.optimize import problem, resumable
from mmdiff.diffusion import samplers
from mmdiff.errors import InputError, check_least
from mmdiff.models import noise_codec, weights
from mmdiff.run import console
from mmdiff.topopt import binary, interface, optimize

LEAST = {
    **{"seed": 0, "num_edges": 1, "num_edge_starts": 0, "num_starts": 1},
    **{"per_start": 1, "sampling_steps": 1, "newton": 0, "num_plates": 0},
    **{"refine_steps": 0, "waves": 1, "store_every": 1, "num_variants": 0},
    **{"variant_steps": 0, "num_kept": 0, "inversion_steps": 1, "iterations": 1},
}
POSITIVE = {"edge_band": 0.05, "edge_isotropy": 0.1, "cell_size_mm": 10.0}


@dataclasses.dataclass(frozen=True)
class Tools:
    """What all quests share; what must be compiled is made where it is first used.

    Attributes:
      config: of the run.
      folder: of the run.
      data: octants, constants and volumes of the dataset.
      params: of the diffusion model.
      meta: header of its weights.
    """

    config: ConfigDict
    folder: pathlib.Path
    data: tuple
    params: object
    meta: dict

    @property
    def n(self) -> int:
        """Voxels per side of the designed octants."""
        return self.config.resolution // 2

    @property
    def sampled(self) -> int:
        """Voxels per side of the model's octants."""
        return int(self.meta["octant"])

    @functools.cached_property
    def draw(self):
        """Sampler of a batch: the starts of one edge cell."""
        config = self.config
        most = -(-config.num_starts // min(config.num_edges, config.num_starts))
        return sampler.make_sampler(
            self.params,
            self.meta,
            num_samples=config.per_start * most,
            steps=config.sampling_steps,
            newton=config.newton,
        )

    @functools.cached_property
    def bridge(self):
        """Both ways between octants and noise, and the model's conditions."""
        newton = self.config.newton
        return noise_codec.load_noise_codec(
            self.params,
            self.meta,
            steps=self.config.inversion_steps,
            iterations=self.config.iterations,
            guide=fem_guidance.make_fem_guidance(self.sampled, newton=newton)
            if newton
            else None,
        )

    @functools.cached_property
    def loop(self):
        """Design loop, its settings, and finite elements of the designed octants."""
        return self._loop(self.config.resolution, self.config.steps)

    @functools.cached_property
    def fine_loop(self):
        """The same at twice the resolution, for cells that have their topology."""
        return self._loop(2 * self.config.resolution, 0)

    def _loop(self, resolution, steps):
        n = resolution // 2
        settings = _settings(self.config, resolution=resolution, steps=steps)
        loop = resumable.jitted(optimize.make_optimize(n, PROBLEM, settings))
        return loop, settings, interface.make_evaluate(n)


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Search for the extreme cells of the config and write them to `folder`."""
    quests = _check(config)
    params, meta = weights.load_weights(config.checkpoint or assets.weights_path())
    data = dataset.load_dataset(config.data or assets.dataset_path())[:3]
    tools = Tools(config, folder, data, params, meta)
    _check_sizes(tools)
    # All of them first: nothing is computed for a quest that has no edge cell.
    rows = [
        starts.edge_rows(
            quest, *data, count=min(config.num_edges, config.num_starts),
            band=config.edge_band, isotropy=config.edge_isotropy,
            alike=config.edge_alike,
        )
        for quest in quests
    ]  # fmt: skip
    (folder / "state").mkdir(exist_ok=True)
    records, returned = [], {}
    for i, quest in enumerate(quests):
        key = jax.random.fold_in(jax.random.key(config.seed), i)
        found = _optimized(quest, _starts(quest, rows[i], key, tools), tools)
        best = extreme.best(quest, found)
        if best is None:
            console.note(
                f"{quest.name}: none of {len(found)} starts gave the cell that was "
                "asked for. Try more --config.steps or --config.num_starts."
            )
        else:
            if config.num_variants:
                more, returned[quest.name] = _variants(quest, best, key, tools)
                found += more
            if config.double:
                # Variants have the model's resolution, which may be half of it.
                full = [r for r in found if r.after and len(r.after.octant) == tools.n]
                found.append(_doubled(quest, extreme.best(quest, full), tools))
        records += found
    report.write(folder, quests, records, returned, data, config.to_dict())
    console.table(summary.table(quests, records), summary.HEADER)
    for quest in quests:
        console.say(summary.verdict(quest, records))


def _check(config) -> list[Quest]:
    """Return the quests; refuse settings that cannot work."""
    check_least(config, LEAST)
    for key, usual in POSITIVE.items():
        if not config[key] > 0:
            raise InputError(
                f"{key}={config[key]:g} is not a positive number. Set it as in "
                f"--config.{key}={usual}."
            )
    for key in ("edge_alike", "alike"):
        if not 0 < config[key] <= 1:
            raise InputError(
                f"{key}={config[key]:g} is no share of equal voxels. Set it above 0 "
                f"and at most at 1, such as --config.{key}=0.95."
            )
    if not 0 <= config.loss < 1:
        raise InputError(
            f"loss={config.loss:g} is no share of the best value. Set what kept "
            "variants may lack of it, such as --config.loss=0.05."
        )
    sizes = config.perturbations
    if not sizes or not all(0 < size <= 1 for size in sizes):
        raise InputError(
            f"perturbations={tuple(sizes)} must be shares of new noise, above 0 and at "
            "most 1, such as --config.perturbations='(0.1, 0.2)'."
        )
    _settings(config, resolution=config.resolution, steps=config.steps)
    return [
        extreme.make_quest(
            name, config.vf[name], isotropy=config.isotropy, floor=config.min_E
        )
        for name in extreme.parse(config.quests)
    ]


def _settings(config, *, resolution: int, steps: int) -> optimize.Settings:
    return problem.settings(
        resolution=resolution,
        radius=config.radius,
        steps=steps,
        # Only doubled cells, whose topology is settled, run without a number of steps.
        stages=optimize.STAGES if steps else optimize.FINE_STAGES,
    )


def _check_sizes(tools) -> None:
    """Refuse a dataset or a resolution that does not go with the model."""
    edge, resolution = 2 * tools.sampled, tools.config.resolution
    of_data = 2 * tools.data[0].shape[-1]
    if of_data != edge:
        raise InputError(
            f"the cells of the dataset have {of_data} voxels an edge and those of the "
            f"network {edge}. Pass the --config.data it was trained on."
        )
    if resolution not in (edge, 2 * edge):
        raise InputError(
            f"resolution={resolution}, and the model draws cells of {edge} voxels an "
            f"edge. Pass --config.resolution={edge} or {2 * edge}."
        )


def _starts(quest, rows, key, tools) -> list:
    """Return all starts of a quest; None for a density that is not to be optimized."""
    config, n, state = tools.config, tools.n, tools.folder / "state"
    evaluate = interface.make_evaluate(n)
    edges = starts.edge_starts(quest, rows, *tools.data[:2], n)
    times = samplers.time_grid(None, config.sampling_steps)
    generated = starts.generated_starts(
        state / f"generated_{quest.name}.npz",
        quest,
        edges,
        jax.random.fold_in(key, 0),
        lambda: tools.draw,
        interface.make_evaluate(tools.sampled),
        count=config.num_starts,
        spent=fem_guidance.solutions(times, config.newton),
        n=n,
    )
    if len(generated) < config.num_starts:
        console.note(
            f"{quest.name}: {len(generated)} of {config.num_starts} generated starts "
            "are connected cells."
        )
    random = starts.random_starts(
        state / f"random_{quest.name}.npz",
        quest,
        n,
        evaluate,
        count=config.num_starts,
        waves=config.waves,
        seed=config.seed,
    )
    plates = starts.plate_starts(
        state / f"plates_{quest.volume:g}.npz", quest, n, evaluate
    )
    return [
        *_some(edges, config.num_edge_starts),
        *generated,
        *random,
        *_some(plates, config.num_plates),
    ]


def _some(found, count: int) -> list:
    """Return starts of which only so many are to be optimized."""
    return [
        (start, grid if i < count else None) for i, (start, grid) in enumerate(found)
    ]


def _optimized(quest, begun, tools) -> list[Extreme]:
    """Return the starts with what became of those that have a density."""
    config = tools.config
    count = sum(grid is not None for _, grid in begun)
    options = {"refine_steps": config.refine_steps, "chunk": config.store_every}
    title = f"{quest.name}, design steps"
    found = []
    with console.progress(title, count * config.steps) as advance:
        for record, grid in begun:
            if grid is not None:
                record = runs.optimized(
                    quest, record, grid, tools.folder, tools.loop, advance=advance,
                    **options,
                )  # fmt: skip
            found.append(record)
    return found


def _variants(quest, best: Extreme, key, tools) -> tuple[list[Extreme], float]:
    """Return variants of the best cell, and the share of it that comes back."""
    config, sizes = tools.config, tools.config.perturbations
    times = samplers.time_grid(None, config.inversion_steps)
    found, returned = runs.varied(
        quest,
        best,
        jax.random.fold_in(key, 1),
        tools.folder / "state",
        lambda: tools.bridge,
        interface.make_evaluate(tools.sampled),
        n=tools.sampled,
        sizes=[sizes[i % len(sizes)] for i in range(config.num_variants)],
        spent=fem_guidance.solutions(times, config.newton),
        steps=config.variant_steps,
        keep=config.num_kept,
        alike=config.alike,
        loss=config.loss,
    )
    if not found and math.isnan(returned):
        console.note(f"{best.name} falls apart at {2 * tools.sampled}^3: no variants.")
        return found, returned
    good, kept = sum(r.is_good for r in found), sum(r.kept for r in found)
    console.say(
        f"{quest.name}: {100 * returned:.2f} % of {best.name} come back from its "
        f"noise; of {config.num_variants} variants {good} have what was asked; as good "
        f"and different enough to keep: {kept}"
    )
    return found, returned


def _doubled(quest, best: Extreme, tools) -> Extreme:
    """Return the best cell, re-optimized at twice its resolution."""
    begun = Extreme(quest.name, "doubled", 0, best.name, best.after)
    grid = binary.doubled(best.after.octant)
    settings = tools.fine_loop[1]
    title = f"{quest.name}, design steps at {2 * grid.shape[0]}^3"
    with console.progress(title, settings.steps) as advance:
        return runs.optimized(
            quest, begun, grid, tools.folder, tools.fine_loop,
            refine_steps=tools.config.refine_steps, chunk=tools.config.store_every,
            advance=advance,
        )  # fmt: skip
