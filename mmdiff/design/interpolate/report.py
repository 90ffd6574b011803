"""Report of a path and a family of cells: rows, summary, arrays, pictures, files."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff import elasticity
from mmdiff.cells import surface
from mmdiff.cells.printable import printability
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.interpolate import family, figures, pairs, path
from mmdiff.design.interpolate.family import Member
from mmdiff.io import cell_files, plots, render, write
from mmdiff.io.page import CellView
from mmdiff.io.report import CONVENTIONS as SHARED
from mmdiff.io.report import Report

DRAWN = 24  # cells drawn at most, spread over all
SPHERES = 5
HEADER = (
    *("", "kind", "V", "C11", "K/K_HS", "wall mm", "gap mm", "trapped %"),
    *("face %", "contact %", "pair/series"),
)
CONVENTIONS = {
    "constants": "C11, C12, C44 in units of the base material's Young's modulus (nu "
    "0.3), of the surface; uncertainty is the half width of the interval that holds "
    "each of them",
    "moduli": SHARED["moduli"],
    "finite_elements": "trilinear hexahedra of modulus void + f (1 - void), f the "
    "solid share of the element; two grids, extrapolated",
    "psi": "level-set field of the octant [0, 1/2]^3 of each cell in family.npz: solid "
    "where its half-sample-even cosine interpolation is positive",
    "cells": "NAME.npy and NAME.stl of each cell in the folder cells",
    "graded": "of a chain, unless strip_cells is 0: graded.stl, .3mf, .glb (mm) and "
    ".npy (voxels, 1 solid) are one strip of cells along x, the lightest member at the "
    "low end and the heaviest at the other; between them the volume meant is linear in "
    "x, and the field is that between the two nearest members; pores of a few points "
    "are filled and loose solid is left out",
    "wall, gap, trapped": "least thickness of solid and void; share of the void in "
    "closed pores",
    "face agreement": "share of the faces across x, between two cells, where both are "
    "solid or both void",
    "contact": "solid that meets solid on these faces",
    "C11 pair / series": "of both cells stacked along x, over the harmonic mean of "
    "their C11, which perfect contact would give; one element per sample",
}


def rows(
    members: Sequence[Member],
    group: str,
    ratios: Mapping[int, float],
    cell_size_mm: float = 10.0,
) -> list[dict]:
    """Return the row of every member in the order given, with its fit to the next."""
    found = []
    for i, member in enumerate(members):
        printed = printability(member.psi).in_mm(cell_size_mm)
        doubts = zip(elasticity.NAMES, map(float, member.uncertainty), strict=True)
        row = {
            "cell": f"{group} {i}",
            "kind": member.kind,
            "theta": member.theta,
            "V": member.volume,
            **dict(zip(elasticity.NAMES, map(float, member.constants), strict=True)),
            **{k: float(v) for k, v in elasticity.moduli(member.constants).items()},
            "K/K_HS": member.share,
            **{f"uncertainty {name}": doubt for name, doubt in doubts},
            "wall": printed.wall,
            "gap": printed.gap,
            "trapped": printed.trapped,
        }
        if i + 1 < len(members):
            fit = pairs.face_agreement(member.psi, members[i + 1].psi)
            row["face agreement"], row["contact"] = fit
            row["C11 pair / series"] = ratios.get(i)
        found.append(row)
    return found


def summary(
    cells: Sequence[Member],
    members: Sequence[Member],
    lines: Sequence[Mapping],
    info: Mapping,
) -> dict:
    """Return the numbers that stand for the whole: fit, gaps, stiffness of pairs.

    How neighbours fit is that of the family, where there is one.
    """
    fitting = lines[len(cells) :] if members else lines

    def least(name):
        found = (line.get(name) for line in fitting)
        return min((x for x in found if x is not None and np.isfinite(x)), default=None)

    found = {"path": len(cells), "family": len(members), **info}
    if len(cells) > 2:
        constants = np.stack([cell.constants for cell in cells])
        off = path.off_line(constants, np.array([cell.theta for cell in cells]))[1:-1]
        found |= {"off_line_mean": float(off.mean()), "off_line_most": float(off.max())}
    return found | {
        "widest_gap": family.widest(members) if members else None,
        "least_K/K_HS": min((m.share for m in members), default=None),
        "least_face_agreement": least("face agreement"),
        "least_pair_stiffness": least("C11 pair / series"),
    }


def report(
    cells: Sequence[Member],
    members: Sequence[Member],
    ratios: Mapping[int, float],
    info: Mapping,
    cell_size_mm: float = 10.0,
    block: np.ndarray | None = None,
) -> Report:
    """Return the report of a path, its ends first and last, and a family by volume.

    Either may be empty; `block` is the field of a strip that is graded through the
    family, see `strip.graded`. The ratios are C11 over that in series of the pairs
    computed, by number of the first, in the family or, where there is none, on the
    path; `info` holds numbers of the run for the summary.
    """
    lines = rows(cells, "path", {} if members else ratios, cell_size_mm)
    lines += rows(members, "family", ratios, cell_size_mm)
    numbers = summary(cells, members, lines, info)
    every = [*cells, *members]
    arrays = family.arrays(every)
    constants, volume = arrays["constants"], arrays["volume"]
    kinds = [*["path"] * len(cells), *(member.kind for member in members)]
    drawn = _spread(len(every), DRAWN)
    captions = [
        f"{lines[i]['cell']}: V {volume[i]:.3f}, K/K_HS {every[i].share:.2f}"
        for i in drawn
    ]
    graded, views = {}, []
    if block is not None:
        graded, voxels = cell_files.block_files(
            "graded", block, cell_size_mm / (block.shape[1] - 1)
        )
        caption = f"V {volume[len(cells)]:.3f} to {volume[-1]:.3f}"
        views = [CellView("graded", voxels, "graded.png", [*graded], caption)]
    some = _spread(len(cells) or len(every), SPHERES)
    titles = [f"{lines[i]['cell']}, V {volume[i]:.2f}" for i in some]
    return Report(
        title="A family of cells",
        values={"summary": numbers, "cells": lines},
        conventions=CONVENTIONS,
        tables={"Summary": [{"": k, "value": v} for k, v in numbers.items()]},
        views=views,
        arrays={"family.npz": arrays},
        rows={"family.csv": lines},
        files={
            "strip.png": lambda file: plots.contact_sheet(
                file, [_picture(every[i].psi) for i in drawn], captions, columns=6
            ),
            "path.png": lambda file: figures.properties(file, constants, volume, kinds),
            "spheres.png": lambda file: plots.modulus_spheres(
                file, constants[some], titles
            ),
            **graded,
        },
        json="family.json",
    )


def _picture(psi):
    cell = _voxels(psi, 2 * psi.shape[-1])
    return render.render(cell, size=288, cutaway=render.cutaway(cell), psi=psi)


def _voxels(psi, resolution):
    return octant_to_cell(surface.voxels(psi, resolution // 2))


def write_cells(
    folder: pathlib.Path,
    groups: Mapping[str, Sequence[Member]],
    cell_size_mm: float = 10.0,
    resolution: int = 128,
) -> list[str]:
    """Write `GROUP_XX.npy` and `.stl` of each cell; return what was left out, and why.

    Args:
      folder: of the files, made where it is missing.
      groups: cells by the name of their group, "path" or "family".
      cell_size_mm: edge of the printed cells.
      resolution: voxels along the edge of a cell in the .npy files.
    """
    folder.mkdir(exist_ok=True)
    missing = []
    for group, members in groups.items():
        for i, member in enumerate(members):
            name = f"{group}_{i:02d}"
            voxels = _voxels(member.psi, resolution)
            # A quarter of the triangles of a single cell: there may be a hundred.
            n = member.psi.shape[-1]
            *mesh, left_out = cell_files.surface_of(voxels, member.psi, cell_size_mm, n)
            write.write_npy(folder / f"{name}.npy", voxels)
            write.write_stl(folder / f"{name}.stl", *mesh)
            missing += left_out
    return list(dict.fromkeys(missing))


def table(lines: Sequence[Mapping]) -> list[list]:
    """Return what is shown of each row of a report, in the order of `HEADER`."""
    shown = []
    for line in lines:
        known = [line[name] for name in ("cell", "kind", "V", "C11", "K/K_HS")]
        printed = [line["wall"], line["gap"], 100 * line["trapped"]]
        fit = [100 * line[k] for k in ("face agreement", "contact") if k in line]
        fit = [*(fit or [None] * 2), line.get("C11 pair / series")]
        shown.append([*known, *printed, *fit])
    return shown


def sentences(numbers: Mapping) -> list[str]:
    """Return what is said of a path and a family, from their summary."""
    found = []
    if numbers["path"]:
        found.append(
            f"path: {numbers['path']} cells with its ends, {numbers['refused']} "
            f"refused, {100 * min(numbers['returned']):.2f} % of an end's voxels come "
            "back."
        )
    if "off_line_mean" in numbers:
        found.append(
            f"constants of the path are {100 * numbers['off_line_mean']:.2f} % of "
            "range off the straight line between the ends in the mean."
        )
    if numbers["family"]:
        begun = numbers.get("widest_gap_begun")
        narrowed = "" if begun is None else f" (at first {begun:.4f})"
        least = numbers["least_face_agreement"]  # of one member there is none
        fit = (
            ""
            if least is None
            else (f", faces of neighbours agree in {100 * least:.2f} % or more")
        )
        found.append(
            f"family: {numbers['family']} cells, widest gap in V "
            f"{numbers['widest_gap']:.4f}{narrowed}, K/K_HS "
            f"{numbers['least_K/K_HS']:.3f} or more{fit}."
        )
    return found


def _spread(count: int, most: int) -> list[int]:
    """Return at most so many numbers below a count, the first and the last of them."""
    return sorted({round(x) for x in np.linspace(0, count - 1, min(count, most))})
