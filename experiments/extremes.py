"""Extreme cells: generated, random and plate-like starts, optimized and compared."""

import pathlib

import jax
from ml_collections import ConfigDict

from mmdiff.cells.mend import Printing
from mmdiff.data import dataset
from mmdiff.design.extremes import edges, quest, report, runs
from mmdiff.design.extremes.network import Network
from mmdiff.design.extremes.quest import Quest
from mmdiff.design.extremes.starts import Setup
from mmdiff.design.extremes.variants import VariantPlan
from mmdiff.design.optimize.method import Method
from mmdiff.errors import InputError
from mmdiff.io.report import write
from mmdiff.models import weights
from mmdiff.run import console


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Search for the extreme cells of the config and write them to `folder`."""
    quests, method = _check(config)
    setup = _setup(config, method, folder)
    count, sizes = config.num_variants, config.perturbations
    plan = VariantPlan(
        sizes=[sizes[i % len(sizes)] for i in range(count)],
        steps=config.variant_steps,
        keep=config.num_kept,
        alike=config.alike,
        loss=config.loss,
    )
    # All of them first: nothing is computed for a quest that has no edge cell.
    near = {key: config[f"edge_{key}"] for key in ("band", "isotropy", "alike")}
    near["count"] = min(config.num_edges, config.num_starts)
    rows = [edges.edge_rows(one, setup.data, **near) for one in quests]
    setup.state.mkdir(exist_ok=True)
    plan = plan if count else None
    tasks = runs.make_tasks(quests, rows, jax.random.key(config.seed), plan)
    records, returned = runs.search(tasks, setup)
    found = report.report(quests, records, returned, setup.data, config.to_dict())
    console.notes(write(folder, found))
    console.table(report.table(quests, records), report.HEADER)
    for one in quests:
        console.say(report.verdict(one, records))


def _check(config) -> tuple[list[Quest], Method]:
    """Return the quests and how they are done; refuse what cannot work."""
    if not config.perturbations:
        raise InputError(
            "perturbations=() holds no share of new noise. Set some, such as "
            "`perturbations='(0.1, 0.2)'`."
        )
    same = ("design_resolution", "radius", "steps", "refine_steps")
    method = Method(**{name: config[name] for name in same})
    method.settings()
    limits = {"isotropy": config.isotropy, "floor": config.min_E}
    names = quest.parse(config.quests, quest.WEIGHTS, "quests")
    voids = quest.parse(config.voids, quest.VOIDS, "voids")
    asked = [Printing(w, w, void == "open") for void in voids for w in config.walls]
    if not asked:
        raise InputError("walls=() is empty. Set some, such as `walls='(0.03,)'`.")
    return [
        quest.make_quest(name, config.vf[name], **limits, printing=printing)
        for name in names
        for printing in dict.fromkeys(asked)
    ], method


def _setup(config, method, folder) -> Setup:
    """Return what all quests share; refuse sizes that do not go together."""
    # Starts of one edge cell.
    most = -(-config.num_starts // min(config.num_edges, config.num_starts))
    network = Network(
        weights.load_model(config.checkpoint),
        num_samples=config.per_start * most,
        steps=config.sampling_steps,
        newton=config.newton,
        inversion_steps=config.inversion_steps,
        iterations=config.iterations,
    )
    data = dataset.load_dataset(config.data)
    edge = 2 * network.n
    if data.n != network.n:
        raise InputError(
            f"the cells of the dataset have {2 * data.n} samples an edge and those of "
            f"the network {edge}. Pass the `data` it was trained on."
        )
    if method.design_resolution not in (edge, 2 * edge):
        raise InputError(
            f"design_resolution={method.design_resolution}, and the model draws cells "
            f"of {edge} samples an edge. Pass `design_resolution={edge}` or "
            f"`design_resolution={2 * edge}`."
        )
    return Setup(
        data=data,
        network=network,
        method=method,
        folder=folder,
        num_starts=config.num_starts,
        num_edges=config.num_edge_starts,
        num_plates=config.num_plates,
        waves=config.waves,
        seed=config.seed,
        workers=config.workers,
        recheck=config.recheck,
    )
