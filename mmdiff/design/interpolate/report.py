"""Write a path and a family of cells: arrays, tables, pictures and a page."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff import elasticity
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.interpolate import family, figures
from mmdiff.design.interpolate.family import Member
from mmdiff.io import page, plots, render
from mmdiff.io import write as writers
from mmdiff.io.json import write_csv, write_json
from mmdiff.run import console, saved

SHOWN = 24  # cells drawn at most, spread over all
SPHERES = 5
CONVENTIONS = (
    "C11, C12, C44 in units of the base material's Young's modulus (nu 0.3), by finite "
    "elements on the binary cells; family.npz holds the octant [0, 1/2]^3 of each.",
    "face agreement: equal voxels of the faces across x that touch the next cell's; "
    "contact: solid that meets solid. C11 pair / series: of both cells stacked along "
    "x, over the harmonic mean of their C11, which perfect contact would give.",
)


def rows(
    members: Sequence[Member], group: str, pairs: Mapping[int, float]
) -> list[dict]:
    """Return the line of every member in the order given, with its fit to the next.

    Args:
      members: of a path or a family.
      group: "path" or "family".
      pairs: C11 over that in series of the pairs computed, by number of the first.
    """
    lines = []
    for i, member in enumerate(members):
        line = {
            "cell": f"{group} {i}",
            "kind": member.kind,
            "theta": member.theta,
            "V": member.volume,
            **dict(zip(elasticity.NAMES, map(float, member.constants), strict=True)),
            **{k: float(v) for k, v in elasticity.moduli(member.constants).items()},
            "K/K_HS": member.share,
        }
        if i + 1 < len(members):
            fit = family.face_agreement(member.octant, members[i + 1].octant)
            line["face agreement"], line["contact"] = fit
            line["C11 pair / series"] = pairs.get(i)
        lines.append(line)
    return lines


def summary(
    path: Sequence[Member],
    members: Sequence[Member],
    lines: Sequence[Mapping],
    facts: Mapping,
) -> dict:
    """Return the numbers that stand for the whole: fit, gaps, stiffness of pairs.

    Args:
      path: cells of the path with its ends.
      members: the family.
      lines: see `rows`, of both.
      facts: what else the run found, taken over.
    """

    def least(name):
        found = [line[name] for line in lines if line.get(name) is not None]
        found = [value for value in found if np.isfinite(value)]
        return min(found) if found else None

    return {
        "path": len(path),
        "family": len(members),
        **facts,
        "widest_gap": family.widest(members) if members else None,
        "least_K/K_HS": min((m.share for m in members), default=None),
        "least_face_agreement": least("face agreement"),
        "least_pair_stiffness": least("C11 pair / series"),
    }


def write(
    folder: pathlib.Path,
    path: Sequence[Member],
    members: Sequence[Member],
    lines: Sequence[Mapping],
    facts: Mapping,
) -> None:
    """Write family.{npz,csv,json}, strip.png, path.png, spheres.png and index.html.

    Args:
      folder: existing directory.
      path: cells of the path, its ends first and last; may be empty.
      members: the family by volume; may be empty.
      lines: see `rows`, the path before the family.
      facts: see `summary`.
    """
    every = [*path, *members]
    saved.save(folder / "family.npz", arrays(every))
    write_csv(folder / "family.csv", lines)
    write_json(
        folder / "family.json",
        {"summary": facts, "conventions": CONVENTIONS, "cells": lines},
    )
    chosen = _spread(len(every), SHOWN)
    images = []
    for i in chosen:
        voxels = octant_to_cell(every[i].octant)
        images.append(render.render(voxels, size=288, cutaway=render.cutaway(voxels)))
    captions = [
        f"{lines[i]['cell']}: V {every[i].volume:.3f}, K/K_HS {every[i].share:.2f}"
        for i in chosen
    ]
    plots.contact_sheet(
        folder / "strip.png", images, captions, columns=min(len(chosen), 6)
    )
    kinds = [*["path"] * len(path), *(member.kind for member in members)]
    constants = np.stack([member.constants for member in every])
    volume = np.array([member.volume for member in every])
    drawn = figures.properties(folder / "path.png", constants, volume, kinds)
    some = [_spread(len(every), SPHERES), _spread(len(path), SPHERES)][bool(path)]
    titles = [f"{lines[i]['cell']}, V {every[i].volume:.2f}" for i in some]
    plots.modulus_spheres(folder / "spheres.png", constants[some], titles)
    if not drawn:
        console.note("plots need matplotlib: pip install 'mmdiff[viz]'.")
    text = page.simple_page(
        "A family of cells",
        page.list_files(folder),
        summary=facts,
        notes=CONVENTIONS,
    )
    writers.write_bytes(folder / "index.html", text.encode())


def arrays(members: Sequence[Member]) -> dict[str, np.ndarray]:
    """Return members as arrays by name; `members_of` is the inverse."""
    return {
        "octants": np.stack([member.octant for member in members]),
        "constants": np.stack([member.constants for member in members]),
        "volume": np.array([member.volume for member in members]),
        "K_over_HS": np.array([member.share for member in members]),
        "theta": np.array([member.theta for member in members]),
        "kind": np.array([member.kind for member in members]),
    }


def members_of(found: Mapping[str, np.ndarray]) -> list[Member]:
    """Return the members that `arrays` made arrays of."""
    columns = (found[name] for name in ("octants", "constants", "kind", "theta"))
    return [Member(o, c, str(k), float(t)) for o, c, k, t in zip(*columns, strict=True)]


def _spread(count: int, most: int) -> list[int]:
    """Return at most so many numbers below a count, the first and the last of them."""
    return sorted({round(x) for x in np.linspace(0, count - 1, min(count, most))})
