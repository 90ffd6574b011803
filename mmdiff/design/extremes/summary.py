"""What is said of a search for extreme cells: its lines, its summary, its verdict."""

from collections.abc import Sequence

import numpy as np

from mmdiff.cells.connectivity import is_load_bearing
from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes.quest import Extreme, Quest
from mmdiff.design.optimize import properties

HEADER = (
    *("", "V", "value", "dataset", "generated", "random", "plates", "as they are"),
    *("variants", "doubled", "median gen.", "median rand."),
)
CONVENTIONS = {
    **{
        key: properties.CONVENTIONS[key]
        for key in ("voigt_order", "shear", "moduli", "finite_elements", "bounds")
    },
    "value": "what a quest is about: nu of poisson, K/K_HS of bulk, G/G_HS of shear, "
    "E/E_HS of young",
    "before": "the start as a binary cell: of random starts their density, thresholded "
    "to the volume; of variants as decoded; of doubled cells at half the resolution",
    "after": "binary cell after design loop and binary refinement, of variants after "
    "the refinement alone; empty where a cell was not optimized",
    "kinds": "edge: of the dataset; generated: by the diffusion model for their "
    "properties; random: smooth random densities; plates: plate lattices; variant: "
    "from noise near that of the best cell; doubled: the best at twice the edge",
    "solutions": "finite-element solutions of two loads each: one per design step and "
    "one per look of the binary refinement; solutions_of_start: those of the sampler's "
    "Newton steps and of the homogenization of samples, shared by the starts",
    "similarity": "share of voxels equal to the cell a variant was made of; a shift by "
    "half a period counts as the same",
    "kept": "variants with what was asked, nearly the value of the cell they were made "
    "of, and less alike than settings.alike to it and to each other",
    "median": "of the values after optimization; a start without the cell asked for "
    "counts as the worst",
    "arrays": "extremes.npz: octant [0, 1/2]^3 of each, named quest_kind_number, and "
    "its start with _before",
}


def row(quest: Quest, record: Extreme) -> dict:
    """Return the line of extremes.csv of one start."""
    line = {
        "name": record.name,
        "quest": record.quest,
        "kind": record.kind,
        "number": record.number,
        "source": record.source,
    }
    for when, shape in (("before", record.before), ("after", record.after)):
        known = {} if shape is None else extreme.numbers(shape)
        label = quest.goal.label
        line[f"{when} value"] = known.get(label)
        for name in ("V", "K/K_HS", "G/G_HS", "E/E_HS", "nu", "Zener", "E/E_solid"):
            line[f"{when} {name}"] = known.get(name)
    octant = record.after.octant if record.after else record.before.octant
    return line | {
        "resolution": 2 * octant.shape[0],
        "design_steps": record.steps,
        "solutions": record.solutions,
        "solutions_of_start": record.spent,
        "connected": is_load_bearing(octant),
        "similarity": record.similarity,
        "kept": record.kept if record.kind == "variant" else None,
        "flaws": "; ".join(record.flaws),
    }


def summary(
    quest: Quest, records: Sequence[Extreme], returned: float | None = None
) -> dict:
    """Return a quest's part of extremes.json.

    Args:
      quest: what was asked.
      records: of all quests.
      returned: share of the best cell's voxels that come back from its noise.
    """
    own = [record for record in records if record.quest == quest.name]
    kinds = {
        kind: [record for record in own if record.kind == kind]
        for kind in extreme.KINDS
    }
    done = {kind: [r for r in found if r.after] for kind, found in kinds.items()}
    done = {kind: found for kind, found in done.items() if found}
    best = {kind: extreme.best(quest, own, kind) for kind in extreme.KINDS}
    plain = extreme.textbook(quest, own)
    variants = [record for record in kinds["variant"] if record.is_good]
    return {
        "value": quest.goal.label,
        "volume": quest.volume,
        "isotropy": quest.limits.band if quest.is_isotropic else None,
        "min_E": None if quest.is_isotropic else quest.limits.young,
        "best": {
            kind: _told(quest, record.name, record.after)
            for kind, record in best.items()
            if record
        },
        "dataset": _told(quest, kinds["edge"][0].source, kinds["edge"][0].before),
        "plates_as_they_are": plain and _told(quest, plain.source, plain.before),
        "median": {
            kind: extreme.median(quest, own, kind)
            for kind in ("edge", "generated", "random")
            if kind in done
        },
        "with_what_was_asked": {
            kind: f"{sum(r.is_good for r in found)} of {len(found)}"
            for kind, found in done.items()
        },
        "solutions_per_start": {
            kind: {
                "design_steps": float(np.mean([r.steps for r in found])),
                "design_and_refinement": float(np.mean([r.solutions for r in found])),
                "of_start": float(np.mean([r.spent for r in found])),
            }
            for kind, found in done.items()
        },
        "voxels_that_come_back": returned,
        "variants": {
            "kept": [record.name for record in variants if record.kept],
            "similarity": [record.similarity for record in variants],
        },
        "generated_beat_random": extreme.generated_win(quest, own),
        "verdict": verdict(quest, own),
    }


def _told(quest, name, shape) -> dict:
    return {"name": name, "value": extreme.score(quest, shape), "V": shape.volume}


def verdict(quest: Quest, records: Sequence[Extreme]) -> str:
    """Return in a sentence whether generated starts beat random ones."""
    one, other = (
        "no cell" if found is None else f"{found:.3f}"
        for found in (
            extreme.median(quest, records, kind) for kind in ("generated", "random")
        )
    )
    win = extreme.generated_win(quest, records)
    if win is None:
        return f"{quest.name}: most starts failed, generated and random ones alike."
    return (
        f"{quest.name}: generated starts are {'better' if win else 'no better'} than "
        f"random ones (median {quest.goal.label} {one} against {other})."
    )


def table(quests: Sequence[Quest], records: Sequence[Extreme]) -> list[list]:
    """Return the rows of the table on the terminal, columns as in `HEADER`."""
    rows = []
    for quest in quests:
        facts = summary(quest, records)
        best = {kind: told["value"] for kind, told in facts["best"].items()}
        plain = facts["plates_as_they_are"]
        found = [
            facts["dataset"]["value"],
            *(best.get(kind) for kind in ("generated", "random", "plates")),
            plain["value"] if plain else None,
            best.get("variant"),
            best.get("doubled"),
            facts["median"].get("generated"),
            facts["median"].get("random"),
        ]
        shown = [None if number is None else f"{number:.4f}" for number in found]
        rows.append([quest.name, f"{quest.volume:g}", quest.goal.label, *shown])
    return rows
