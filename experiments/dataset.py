"""Make a dataset: every shard of every round, then labels, splits, plots and a card."""

import collections
import dataclasses
import pathlib
import time

import numpy as np
from ml_collections import ConfigDict

from mmdiff import elasticity
from mmdiff.data import generate, store
from mmdiff.io import console, plots, render, workdir, writers
from mmdiff.symmetry import octant_to_cell

SHEET = 12  # cells in the contact sheet


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Make or finish the dataset in `folder`."""
    recipe = generate.Recipe(**config.to_dict())
    root = folder / "data.zarr"
    generate.create(recipe, root)
    with console.progress("shards", recipe.shards) as advance:
        for number, shards in enumerate(recipe.rounds()):
            for shard in shards:
                start = time.perf_counter()
                if generate.run_shard(recipe, shard, root):
                    manifest = store.read_manifests(root, [shard])[0]
                    workdir.append_metrics(
                        folder,
                        {
                            "shard": shard,
                            "round": number,
                            "accepted": manifest["count"],
                            "seconds": time.perf_counter() - start,
                            **manifest["rejected"],
                        },
                    )
                advance(info=f"round {number}")
    summarize(root, folder, recipe)


def summarize(root: pathlib.Path, folder: pathlib.Path, recipe: generate.Recipe):
    """Write labels, splits, plots and the card of a finished dataset."""
    octants, constants, volume, info = store.read_dataset(root)
    records = info["records"]
    moduli = elasticity.moduli(constants)
    columns = {
        **{name: constants[:, i] for i, name in enumerate(elasticity.NAMES)},
        "volume": volume,
        **moduli,
    }
    rows = [
        {
            "id": record["id"],
            "round": record["round"],
            "parent": record["parent"],
            "family": record["family"],
            "split": record["split"],
            **{name: float(value[i]) for name, value in columns.items()},
            "residual": record["residual"],
        }
        for i, record in enumerate(records)
    ]
    writers.write_csv(folder / "labels.csv", rows)
    names = ("train", "validation", "test")
    splits = {
        name: [r["id"] for r in records if r["split"] == i]
        for i, name in enumerate(names)
    }
    writers.write_json(folder / "splits.json", splits)
    plots.property_scatter(folder / "properties.png", constants, volume)
    chosen = np.linspace(0, len(octants) - 1, min(SHEET, len(octants))).astype(int)
    chosen = chosen[np.argsort(volume[chosen])]
    images = [render.render(octant_to_cell(octants[i]), size=256) for i in chosen]
    captions = [f"V {volume[i]:.2f}  C11 {constants[i, 0]:.3f}" for i in chosen]
    plots.contact_sheet(folder / "sheet.png", images, captions)
    counts = {name: len(ids) for name, ids in splits.items()}
    card = dataset_card(recipe, columns, records, info["manifests"], counts)
    (folder / "DATASET_CARD.md").write_text(card)
    console.table(
        [
            [name, float(value.min()), float(np.median(value)), float(value.max())]
            for name, value in columns.items()
        ],
        ["", "min", "median", "max"],
    )
    console.say(f"{len(records)} cells: {counts}")


def dataset_card(recipe, columns, records, manifests, counts) -> str:
    """Return the card of a dataset in Markdown, from its own numbers."""
    rejected = collections.Counter()
    for manifest in manifests:
        rejected.update(manifest["rejected"])
    optimized = sum(r["round"] == 0 for r in records)
    rounds = collections.Counter(r["round"] for r in records)
    edge = 2 * recipe.n
    lines = [
        "# Dataset card",
        "",
        f"{len(records)} binary unit cells of {edge}^3 voxels with cubic symmetry, "
        f"stored as octants of {recipe.n}^3 voxels with their homogenized elastic "
        f"constants: {optimized} from topology optimization, the rest from smooth "
        "random deformation of earlier cells, parents from sparse regions of property "
        "space first.",
        "",
        "Base material E = 1, nu = 0.3; Voigt order 11 22 33 23 13 12, engineering "
        f"shear; void stiffness {recipe.void:g}; trilinear elements, one per voxel; "
        f"relative residual {recipe.tol:g}. Every cell is one periodic piece and spans "
        "all three axes.",
        "",
        "| property | min | median | max |",
        "|---|---|---|---|",
        *(
            f"| {name} | {v.min():.4f} | {np.median(v):.4f} | {v.max():.4f} |"
            for name, v in columns.items()
        ),
        "",
        "| round | accepted |",
        "|---|---|",
        *(f"| {number} | {count} |" for number, count in sorted(rounds.items())),
        "",
        "| rejected because | candidates |",
        "|---|---|",
        *(f"| {reason} | {count} |" for reason, count in sorted(rejected.items())),
        "",
        "Split by family (a perturbed cell stays with the optimized one it comes "
        f"from): {counts['train']} train, {counts['validation']} validation, "
        f"{counts['test']} test.",
        "",
        "Recipe: `"
        + ", ".join(f"{k}={v}" for k, v in dataclasses.asdict(recipe).items())
        + "`.",
        "",
        "Read it with `mmdiff.data.store.read_dataset(path)`; the arrays `octant`, "
        "`constants` and `volume` of `data.zarr` are plain zarr v3 (rows beyond the "
        "count in a shard's manifest are unused).",
        "",
    ]
    return "\n".join(lines)
