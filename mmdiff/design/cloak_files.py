"""Write cloaks: displacements, which cell stands where, pictures, tables and a page."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff.design import resolved
from mmdiff.design.cloak import Body, Test
from mmdiff.design.cloak_cells import Palette
from mmdiff.design.deliver import cutaway
from mmdiff.io import (
    cloak_plots,
    console,
    page,
    plots,
    render,
    stored,
    surface,
    writers,
)
from mmdiff.symmetry import octant_to_cell

SHOWN = 12  # cells drawn of the first case, the most frequent ones
COLUMNS = (
    "column",
    "reference",
    "test",
    "before %",
    "designed %",
    "cells %",
    "faces %",
)
CONVENTIONS = (
    "distortion: |u - u0| / |u0|, 2-norms over the nodes at or beyond the radius of "
    "the cloak; u0 is the displacement of the body without hole and cloak under the "
    "same loads. Of several loads the worst counts.",
    "before: the cells of the body around the hole. designed: constants that need not "
    "be those of any cell. cells: constants of real cells by finite elements, each "
    "cell a trilinear element. Constants in units of the base material's Young's "
    "modulus (nu 0.3), displacements in edges of a cell.",
    "faces: mean share of equal voxels of faces that touch within the cloak and at its "
    "outer boundary.",
    "cells_index.npz: numbers of the cells in the dataset by case, one more than the "
    "last for solid, -1 the hole, -2 the cell of the body; octants and constants of "
    "those used by number.",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A cloak to be found, or found.

    Attributes:
      column: "cylinder" or "square".
      kind: name of the reference.
      test: the loads.
      where: the body.
      reference: octant and constants of its cells.
      cells: to choose from, the reference last.
      result: arrays by name: distortions before, designed, nearest and cells (l,), the
        agreement of faces, pick (k,), displacements u_* (3, X, Y, Z) and their load.
    """

    column: str
    kind: str
    test: Test
    where: Body
    reference: tuple[np.ndarray, np.ndarray]
    cells: Palette
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
        """Number of the cell in every element, -1 for the hole, -2 for the body's."""
        pick = self.result["pick"]
        pick = np.where(pick == len(self.cells.constants) - 1, -2, pick)
        index = np.full(self.where.hole.shape, -2, np.int32)
        index[self.where.hole] = -1
        index[self.where.cloak] = pick[self.where.index]
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
        "faces %": percent("agreement"),
        "faces of nearest cells %": percent("agreement_nearest"),
        "different cells": len(np.unique(result["pick"])),
        "places": case.where.num_classes,
        "elements of the cloak": int(case.where.cloak.sum()),
        "seconds": float(result["seconds"]),
    }


def write(
    folder: pathlib.Path,
    cases: Sequence[Case],
    pool: tuple[np.ndarray, np.ndarray, np.ndarray],
    checks: Sequence[Mapping],
    settings: Mapping,
) -> list[dict]:
    """Write all files of a run and return a line for each case.

    Args:
      folder: existing directory.
      cases: with their results.
      pool: octants, constants and volume of the cells to choose from.
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
        | {"C11, C12, C44 of the body": np.asarray(case.reference[1]).tolist()}
        for facts, case in zip(lines, cases, strict=True)
    ]
    writers.write_json(
        folder / "distortion.json",
        {"conventions": CONVENTIONS, "cases": details, "checks": checks},
    )
    writers.write_csv(folder / "distortion.csv", lines)
    for case in cases:
        _write_fields(folder / f"displacement_{case.name}.vti", case, pool[1])
    _write_index(folder / "cells_index.npz", cases, pool)
    _write_cells(folder / "cells.png", cases[0], pool)
    drawn = cloak_plots.sections(folder / "cloak.png", [_section(c) for c in cases])
    if not drawn:
        console.note("plots need matplotlib: pip install 'mmdiff[viz]'.")
    _write_part(folder / "midsection.stl", cases[0], pool, settings)
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
    index = case.index
    table = np.concatenate([case.cells.constants, np.zeros((1, 3))])  # -2, -1
    return table[index]


def _write_fields(path, case, constants) -> None:
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


def _write_index(path, cases, pool) -> None:
    octants, constants, volume = pool
    index = {case.name: case.index for case in cases}
    used = np.unique(np.concatenate([i.ravel() for i in index.values()]))
    used = used[used >= 0]
    of_bodies = {
        f"body_{case.kind}": case.reference[0].astype(np.uint8) for case in cases
    }
    stored.save(
        path,
        {f"index_{name}": i for name, i in index.items()}
        | of_bodies
        | {
            "number": used,
            "octants": octants[used],
            "constants": constants[used],
            "volume": volume[used],
        },
    )


def _write_cells(path, case, pool) -> None:
    index = case.index
    number, count = np.unique(index[index >= 0], return_counts=True)
    order = np.argsort(-count, kind="stable")[:SHOWN]
    shown = [(case.reference[0], f"body, {case.kind}")]
    shown += [(pool[0][number[i]], f"{number[i]}: {count[i]} times") for i in order]
    images = []
    for octant, _ in shown:
        voxels = octant_to_cell(octant)
        images.append(render.render(voxels, size=224, cutaway=cutaway(voxels)))
    plots.contact_sheet(path, images, [text for _, text in shown], columns=5)


def _section(case: Case) -> cloak_plots.Section:
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
    return cloak_plots.Section(
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


def _write_part(path, case, pool, settings) -> None:
    """Write a quarter of the middle layer of a cloak, voxels and all, for print."""
    m = settings["stl_voxels"] // 2
    n = case.where.hole.shape[0]
    wide = int(np.flatnonzero(case.where.cloak.any((1, 2)))[-1]) + 1
    part = case.index[n // 2 : wide, n // 2 : wide, case.where.hole.shape[2] // 2][
        ..., None
    ]
    rows = [row for row in np.unique(part) if row != -1]
    label = np.full(part.shape, -1)
    for i, row in enumerate(rows):
        label[part == row] = i
    octants = np.stack(
        [
            resolved.shrunk(case.reference[0] if row == -2 else pool[0][row], m)
            for row in rows
        ]
    )
    solid = resolved.voxels(octants, label)
    size = settings["cell_size_mm"] * len(part)
    vertices, faces = surface.voxel_surface(solid, size)
    writers.write_stl(path, vertices, faces, comment="mmdiff cloak, unit: mm")
