"""Report of an exported body: files, what a printer asks of it, mesh and mass."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff.cells.printable import printability
from mmdiff.design.export.block import Block
from mmdiff.design.export.check import MeshCheck
from mmdiff.design.export.graded import Layer
from mmdiff.design.export.source import Source
from mmdiff.design.homogenize import printable_voxels
from mmdiff.errors import InputError
from mmdiff.io import material_cards, page, render, write
from mmdiff.io.report import CONVENTIONS as SHARED
from mmdiff.io.report import Report
from mmdiff.typing import Float

MESHES = {"stl": write.write_stl, "3mf": write.write_3mf, "glb": write.write_glb}
CARDS = {"inp": material_cards.abaqus, "mac": material_cards.ansys}
FORMATS = (*MESHES, "vti", "npy", *CARDS)
VIEW = 128  # voxels along an edge of the 3D view and the picture, at most
TONNES = 1e-9  # per mm^3, of a density in g/cm^3
CONVENTIONS = {
    "units": "lengths in mm, volumes in mm^3, masses in g, densities in g/cm^3",
    "volume": "mesh_mm3 is what the triangles enclose, voxels_mm3 that of the solid "
    "voxels; the mass is that of the mesh",
    "walls": "wall_mm and gap_mm: least thickness of solid and void in the cell, or in "
    "the cells of a family that the block goes through; trapped: share of the void of "
    "the repeated cell in closed pores",
    "block": "pieces, loose and trapped of the body as it is written, which does not "
    "repeat: solid apart from the largest piece falls off, and void that reaches no "
    "face of the block keeps powder or resin",
    "mesh": "open edges have one triangle, crowded ones more, flipped ones two "
    "that run through it in one direction; self_intersections: pairs of triangles "
    "that pass through each other, those that touch not counted; of the mesh written",
    "deviation": "largest distance of points all over either mesh, spacing_mm apart at "
    "most on a triangle, from the other: the mesh as written and the one before its "
    "triangles were reduced",
    "materials": "material.inp (Abaqus, CalculiX) and material.mac (Ansys): effective "
    "tensors in the unit of base.E, one for each layer of a graded block, linear in "
    "volume between members; densities in tonnes per mm^3, for MPa, N and mm",
    "voigt_order": SHARED["voigt_order"],
    "shear": SHARED["shear"],
}


def parse_formats(text: str) -> tuple[str, ...]:
    """Return the formats of a list with commas; InputError for unknown ones.

    Example:
      >>> parse_formats("stl, vti")
      ('stl', 'vti')
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        raise InputError(
            f"formats={text}: {unknown[0]!r} is unknown. Use some of "
            f"{', '.join(FORMATS)}, separated by commas."
        )
    return names


def of_cell(source: Source, size_mm: float) -> dict[str, float]:
    """Return walls, gaps and trapped void of a repeated cell, lengths in mm."""
    found = (
        printable_voxels.printability_of_voxels(source.voxels)
        if source.psi is None
        else printability(source.psi)
    ).in_mm(size_mm)
    return {"wall_mm": found.wall, "gap_mm": found.gap, "trapped": found.trapped}


def of_block(block: Block) -> dict[str, Any]:
    """Return pieces of solid and closed pores of a body that does not repeat."""
    pieces = printable_voxels.window_pieces(block.voxels > 0)
    void = printable_voxels.window_pieces(block.voxels == 0)
    closed = ~void.winds.any(1)
    return {
        "pieces": len(pieces.sizes),
        "loose": 1 - float(pieces.sizes.max() / pieces.sizes.sum()),
        "closed_pores": int(closed.sum()),
        "trapped": float(void.sizes[closed].sum() / max(void.sizes.sum(), 1)),
    }


def make_values(
    block: Block,
    check: MeshCheck,
    printed: Mapping[str, float],
    *,
    density: float,
    reduced: Mapping[str, Any] | None,
    layers: Sequence[Layer] = (),
) -> dict[str, Any]:
    """Return the content of mesh_report.json.

    Args:
      block: the body as written.
      check: of its mesh.
      printed: walls and gaps of its cells.
      density: of the solid in g/cm^3; 0 for none.
      reduced: what was done to meet a number of triangles, or None.
      layers: of a graded block.
    """
    solid = float(block.voxels.sum(dtype=np.int64)) * block.spacing**3
    return {
        "source": block.name,
        "size_mm": list(block.size),
        "voxels": list(block.voxels.shape),
        "voxel_mm": block.spacing,
        "solid_share": float(block.voxels.mean(dtype=np.float64)),
        "mesh_mm3": check.volume_mm3,
        "voxels_mm3": solid,
        "density_g_cm3": density or None,
        "mass_g": 1e-3 * density * check.volume_mm3 if density else None,
        "cell": dict(printed),
        "block": of_block(block),
        "mesh": dataclasses.asdict(check) | {"sound": check.is_sound},
        "reduced": None if reduced is None else dict(reduced),
        "layers": [
            {"volume": one.volume, "constants": one.constants.tolist()}
            for one in layers
        ],
    }


def remarks(values: Mapping[str, Any], min_wall_mm: float) -> list[str]:
    """Return sentences about what a printer or slicer will stumble over."""
    found, block, mesh = [], values["block"], values["mesh"]
    if values["cell"]["wall_mm"] < min_wall_mm:
        found.append(
            f"the thinnest wall is {values['cell']['wall_mm']:.3g} mm, below "
            f"{min_wall_mm:g} mm, `min_wall_mm`. Enlarge `cell_size_mm`, or take "
            "another cell."
        )
    if block["pieces"] > 1:
        found.append(
            f"the body has {block['pieces']} separate pieces, and the largest holds "
            f"{100 * (1 - block['loose']):.4g} % of the solid: the rest falls off. "
            "Cells that hang together when repeated may not at the faces of a block."
        )
    if block["trapped"] > 0:
        found.append(
            f"{100 * block['trapped']:.3g} % of the void is in {block['closed_pores']} "
            "closed pores, which keep powder or resin."
        )
    if not mesh["closed"] or not mesh["oriented"]:
        found.append(
            f"the mesh is not closed: {mesh['open_edges']} open, "
            f"{mesh['crowded_edges']} crowded, {mesh['flipped_edges']} flipped edges."
        )
    if mesh["self_intersections"]:
        found.append(
            f"the mesh passes through itself at {mesh['self_intersections']} pairs of "
            "triangles. Slicers mostly take that; more triangles avoid it."
        )
    return found


def make_report(
    block: Block,
    values: Mapping[str, Any],
    formats: Sequence[str],
    *,
    cards: Sequence[tuple[str, Float[np.ndarray, "6 6"], float]] = (),
    psi: Float[np.ndarray, "n n n"] | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """Return the report of a body.

    Args:
      block: the body.
      values: see `make_values`.
      formats: some of `FORMATS`.
      cards: name, effective tensor and solid share of each material.
      psi: field of a single cell, which the picture and the 3D view show.
      notes: what the user should know.
    """
    files = _files(block, formats, values["density_g_cm3"] or 0.0, cards)
    step = -(-max(block.voxels.shape) // VIEW)
    shown = block.voxels[::step, ::step, ::step]
    half = slice(shown.shape[2] // 2 if psi is None and render.cutaway(shown) else None)

    def picture(path):
        left_out = render.cutaway(shown) if psi is not None else 0.0
        image = render.render(shown[:, :, half], psi=psi, cutaway=left_out)
        return write.write_png(path, image)

    caption = f"{values['mesh']['triangles']} triangles, {values['mesh_mm3']:.4g} mm^3"
    names = [*files]
    return Report(
        title=f"mmdiff: {block.name} exported",
        values=values,
        conventions=CONVENTIONS,
        tables=tables(values),
        views=[page.CellView("body", shown, "body.png", names, caption, psi=psi)],
        files={**files, "body.png": picture},
        notes=notes,
        json="mesh_report.json",
    )


def _files(block, formats, density, cards) -> dict[str, Callable]:
    """Return what writes each file of a body by name."""
    found: dict[str, Callable] = {}
    for kind in formats:
        if kind in MESHES:
            found[f"body.{kind}"] = functools.partial(
                MESHES[kind], vertices=block.vertices, faces=block.faces
            )
        elif kind == "npy":
            found["body.npy"] = functools.partial(write.write_npy, cell=block.voxels)
        elif kind == "vti":
            found["body.vti"] = functools.partial(
                write.write_vti,
                fields={"density": block.voxels},
                spacing=3 * (block.spacing,),
                conventions=CONVENTIONS["units"],
            )
        else:
            text = _card_text(kind, density, cards)
            found[f"material.{kind}"] = functools.partial(
                write.write_bytes, data=text.encode()
            )
    return found


def _card_text(kind, density, cards) -> str:
    texts = []
    for i, (name, tensor, volume) in enumerate(cards):
        number = {"number": i + 1} if kind == "mac" else {}
        texts.append(CARDS[kind](name, tensor, TONNES * density * volume, **number))
    return "".join(texts)


def tables(values: Mapping[str, Any]) -> dict[str, list[dict]]:
    """Return the tables of the page, the first of them for the terminal."""
    mesh, block, cell = values["mesh"], values["block"], values["cell"]
    size = " x ".join(f"{edge:.4g}" for edge in values["size_mm"])
    rows: list[tuple[str, Any]] = [
        ("size mm", size),
        ("voxels", " x ".join(map(str, values["voxels"]))),
        ("solid share", values["solid_share"]),
        ("volume of the mesh mm^3", values["mesh_mm3"]),
        ("volume of the voxels mm^3", values["voxels_mm3"]),
    ]
    if values["mass_g"] is not None:
        rows.append(("mass g", values["mass_g"]))
    rows += [
        ("thinnest wall mm", cell["wall_mm"]),
        ("narrowest gap mm", cell["gap_mm"]),
        ("pieces", block["pieces"]),
        ("trapped void %", 100 * block["trapped"]),
        ("triangles", mesh["triangles"]),
        ("closed", "yes" if mesh["closed"] else "no"),
        ("oriented", "yes" if mesh["oriented"] else "no"),
        ("self-intersections", mesh["self_intersections"]),
    ]
    if (reduced := values["reduced"]) is not None:
        rows.append(("triangles before", reduced["triangles_before"]))
        rows.append(("deviation mm", reduced["deviation_mm"]))
    found = {"Body": [{"": key, "value": value} for key, value in rows]}
    if values["layers"]:
        found["Layers"] = [
            {"": f"layer {i}", "V": one["volume"]}
            | dict(zip(("C11", "C12", "C44"), one["constants"], strict=True))
            for i, one in enumerate(values["layers"])
        ]
    return found
