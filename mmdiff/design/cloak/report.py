"""Write cloaks: displacements, which cell stands where, pictures, tables and a page."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff.cells import mesh
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.cloak import figures, resolved
from mmdiff.design.cloak.model import Body, Test
from mmdiff.design.cloak.pool import BODY, SOLID, Pool, joined
from mmdiff.io import page, plots, render
from mmdiff.io import write as writers
from mmdiff.io.json import write_csv, write_json
from mmdiff.run import console, saved

SHOWN = 12  # cells drawn of the first case, the most frequent ones
COLUMNS = ("column", "reference", "test", "before %", "designed %", "cells %")
CONVENTIONS = (
    "distortion: |u - u0| / |u0|, 2-norms over the nodes at or beyond the radius of "
    "the cloak; u0 is the displacement of the body without hole and cloak under the "
    "same loads. Of several loads the worst counts.",
    "before: the cells of the body around the hole. designed: constants that need not "
    "be those of any cell. cells: constants of real cells by finite elements, each "
    "cell a trilinear element. Constants in units of the base material's Young's "
    "modulus (nu 0.3), displacements in edges of a cell.",
    "All cells have the outermost layer of voxels of the body's cell: faces that touch "
    "are equal.",
    "cells_index.npz: index_CASE, for every element the row of its cell in "
    "octants_REFERENCE and constants_REFERENCE, -1 the hole; the last row is the "
    "body's. number_REFERENCE: the cell of the dataset that a cell was before it got "
    "the faces of the body, -2 for solid, -1 for the body's.",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A cloak to be found, or found.

    Attributes:
      column: "cylinder" or "square".
      kind: name of the reference.
      test: the loads.
      where: the body.
      pool: cells to choose from, the reference last.
      result: arrays by name: distortions before, designed, nearest and cells (l,),
        pick (k,), displacements u_* (3, X, Y, Z) and their load.
    """

    column: str
    kind: str
    test: Test
    where: Body
    pool: Pool
    result: Mapping[str, np.ndarray] | None = None

    @property
    def name(self) -> str:
        """Name for files."""
        return f"{self.column}_{self.kind}_{self.test.name}"

    def with_result(self, result: Mapping[str, np.ndarray]) -> "Case":
        """Return the case with what was found."""
        return dataclasses.replace(self, result=result)

    @property
    def index(self) -> np.ndarray:
        """Row of the pool in every element, -1 for the hole."""
        return filled(self.where, self.result["pick"], len(self.pool.number) - 1)


def filled(where: Body, pick: np.ndarray, body: int) -> np.ndarray:
    """Return the row of the cell in every element, -1 for the hole.

    Args:
      where: the body.
      pick: (k,) rows of the classes of the cloak.
      body: row of the body's own cell.
    """
    index = np.where(where.hole, -1, body)
    index[where.cloak] = pick[where.index]
    return index


def line(case: Case) -> dict:
    """Return what is told of a case."""
    result = case.result

    def percent(name):
        return 100 * float(result[name].max())

    return {
        "column": case.column,
        "reference": case.kind,
        "test": case.test.name,
        "before %": percent("before"),
        "designed %": percent("designed"),
        "nearest cells %": percent("nearest"),
        "cells %": percent("cells"),
        "different cells": len(np.unique(result["pick"])),
        "places": case.where.num_classes,
        "elements of the cloak": int(case.where.cloak.sum()),
        "seconds": float(result["seconds"]),
    }


def write(
    folder: pathlib.Path,
    cases: Sequence[Case],
    checks: Sequence[Mapping],
    settings: Mapping,
) -> list[dict]:
    """Write all files of a run and return a line for each case.

    Args:
      folder: existing directory.
      cases: with their results.
      checks: what slabs resolved by voxels showed, with the name of the "reference".
      settings: "cell_size_mm" and "stl_voxels" count.
    """
    lines = [line(case) for case in cases]
    details = [
        facts
        | {
            name: case.result[name].tolist()
            for name in ("before", "designed", "nearest", "cells")
        }
        | {"C11, C12, C44 of the body": case.pool.constants[-1].tolist()}
        for facts, case in zip(lines, cases, strict=True)
    ]
    write_json(
        folder / "distortion.json",
        {"conventions": CONVENTIONS, "cases": details, "checks": checks},
    )
    write_csv(folder / "distortion.csv", lines)
    for case in cases:
        _write_fields(folder / f"displacement_{case.name}.vti", case)
    _write_index(folder / "cells_index.npz", cases)
    _write_cells(folder / "cells.png", cases[0])
    drawn = figures.sections(folder / "cloak.png", [_section(c) for c in cases])
    if not drawn:
        console.note("plots need matplotlib: pip install 'mmdiff[viz]'.")
    _write_part(folder / "midsection.stl", cases[0], settings)
    shown = {f"{c['column']}, {c['reference']}, {c['test']}": _brief(c) for c in lines}
    for check in checks:
        if "resolved" in check:
            shown[f"slab resolved by voxels, {check['reference']}"] = (
                f"{100 * check['resolved'][0]:.2f} % before, "
                f"{100 * check['resolved'][1]:.2f} % with cells; by their tensors "
                f"{100 * check['promised'][1]:.2f} %"
            )
    text = page.simple_page(
        "A cloak of cells", page.list_files(folder), summary=shown, notes=CONVENTIONS
    )
    writers.write_bytes(folder / "index.html", text.encode())
    return lines


def _brief(facts):
    return (
        f"{facts['before %']:.2f} % before, {facts['cells %']:.2f} % with "
        f"{facts['different cells']} different cells"
    )


def _constants(case: Case) -> np.ndarray:
    """Return the constants (x, y, z, 3) of every element, with the cells chosen."""
    table = np.concatenate([case.pool.constants, np.zeros((1, 3))])
    return table[case.index]


def _write_fields(path, case) -> None:
    def nodes(name):
        return np.moveaxis(case.result[name], 0, -1)

    writers.write_vti(
        path,
        {"cell": case.index.astype(np.float32), "constants": _constants(case)},
        points={
            "displacement without hole": nodes("u_wanted"),
            "displacement without cloak": nodes("u_before"),
            "displacement with cloak": nodes("u_cells"),
        },
        components={"constants": ("C11", "C12", "C44")},
        conventions=f"load {int(case.result['load'])} of {case.test.name}; "
        + " ".join(CONVENTIONS),
    )


def _write_index(path, cases) -> None:
    arrays = {}
    for kind, pool in {case.kind: case.pool for case in cases}.items():
        own = {case.name: case.index for case in cases if case.kind == kind}
        body = len(pool.number) - 1
        used = np.unique(np.concatenate([i.ravel() for i in own.values()] + [[body]]))
        used = used[used >= 0]
        for name, index in own.items():
            rows = np.searchsorted(used, index)
            arrays[f"index_{name}"] = np.where(index < 0, -1, rows).astype(np.int32)
        for name, values in pool._asdict().items():
            arrays[f"{name}_{kind}"] = values[used]
    saved.save(path, arrays)


def _write_cells(path, case) -> None:
    index, pool = case.index[case.where.cloak], case.pool
    rows, count = np.unique(index, return_counts=True)
    order = np.argsort(-count, kind="stable")[:SHOWN]
    shown = [(pool.octants[-1], f"body, {case.kind}")]
    for i in order:
        number = pool.number[rows[i]]
        name = {SOLID: "solid", BODY: "body"}.get(number, number)
        shown.append((pool.octants[rows[i]], f"{name}: {count[i]} times"))
    images = []
    for octant, _ in shown:
        voxels = octant_to_cell(octant)
        images.append(render.render(voxels, size=224, cutaway=render.cutaway(voxels)))
    plots.contact_sheet(path, images, [text for _, text in shown], columns=5)


def _section(case: Case) -> figures.Section:
    """Return what is drawn of the middle of a case."""
    middle = case.where.hole.shape[2] // 2
    wanted = case.result["u_wanted"][..., middle]
    size = np.linalg.norm(wanted, axis=0).max()

    def off(name):
        difference = case.result[name][..., middle] - wanted
        percent = 100 * np.linalg.norm(difference, axis=0) / size
        # The void moves as it likes.
        return np.where(_in_void(case.where.hole[:, :, middle]), np.nan, percent)

    facts = line(case)
    return figures.Section(
        f"{case.column}, {case.kind}, {case.test.name}",
        off("u_before"),
        off("u_cells"),
        _constants(case)[:, :, middle, 0],
        facts["before %"],
        facts["cells %"],
    )


def _in_void(hole: np.ndarray) -> np.ndarray:
    """Return the nodes (x + 1, y + 1) all of whose elements (x, y) are void."""
    around = np.pad(hole, 1)
    return around[1:, 1:] & around[:-1, 1:] & around[1:, :-1] & around[:-1, :-1]


def _write_part(path, case, settings) -> None:
    """Write a quarter of the middle layer of a cloak, voxels and all, for print."""
    m = settings["stl_voxels"] // 2
    n = case.where.hole.shape[0]
    wide = int(np.flatnonzero(case.where.cloak.any((1, 2)))[-1]) + 1
    part = case.index[n // 2 : wide, n // 2 : wide, case.where.hole.shape[2] // 2]
    rows = np.unique(part[part >= 0])
    label = np.where(part < 0, -1, np.searchsorted(rows, part))[..., None]
    body, *cells = (resolved.shrunk(case.pool.octants[row], m) for row in (-1, *rows))
    fitted = [joined(cell, body) for cell in cells]
    octants = [c if f is None else f for c, f in zip(cells, fitted, strict=True)]
    solid = resolved.voxels(np.stack(octants), label)
    size = settings["cell_size_mm"] * len(part)
    vertices, faces = mesh.voxel_surface(solid, size)
    writers.write_stl(path, vertices, faces, comment="mmdiff cloak, unit: mm")
