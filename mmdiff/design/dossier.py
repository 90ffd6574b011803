"""Write what is known about one homogenized cell: JSON, text, picture, fields, page.

The tensor goes to `tensor.txt` as six rows of six plain numbers, which ELATE
(https://progs.coudert.name/elate) takes as they are.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff.design import characterize
from mmdiff.io import console, page, plots, writers

VOIGT = ("11", "22", "33", "23", "13", "12")


def write(
    folder: pathlib.Path,
    name: str,
    cell: np.ndarray,
    solution: characterize.Solution,
    facts: Mapping,
    *,
    notes: Sequence[str] = (),
) -> None:
    """Write all files of one cell; properties.json comes last and marks the end.

    Args:
      folder: existing directory.
      name: of the input file.
      cell: (N, N, N) densities of the whole cell.
      solution: tensor and fields.
      facts: content of properties.json, see `characterize.report`; needs "conventions".
      notes: what was said about the cell.
    """
    conventions = "; ".join(f"{k}: {v}" for k, v in facts["conventions"].items())
    writers.write_bytes(folder / "tensor.txt", tensor_text(solution.tensor).encode())
    energy = {
        f"energy_{VOIGT[load]}": field
        for load, field in zip(solution.loads, solution.energy, strict=True)
    }
    writers.write_vti(
        folder / "fields.vti",
        {"density": cell, **energy},
        spacing=1 / cell.shape[0],
        conventions=conventions,
    )
    drawn = plots.modulus_spheres(
        folder / "sphere.png", solution.tensor[None] / facts["base_E"], [name]
    )
    if not drawn:
        console.note("plots need matplotlib: pip install 'mmdiff[viz]'.")
    _write_page(folder, name, cell, solution.tensor, facts, notes, drawn)
    writers.write_json(folder / "properties.json", facts)


def tensor_text(tensor: np.ndarray) -> str:
    """Return a 6x6 tensor as six lines of six numbers."""
    return "\n".join(" ".join(f"{v:14.7g}" for v in r) for r in _clean(tensor)) + "\n"


def tensor_rows(tensor: np.ndarray) -> list[list]:
    """Return the rows of the 6x6 tensor with the Voigt pair in front."""
    rows = _clean(tensor).tolist()
    return [[pair, *line] for pair, line in zip(VOIGT, rows, strict=True)]


def _clean(tensor):
    """Replace rounding noise at the places of zeros by zeros."""
    scale = np.sqrt(abs(np.diag(tensor)))
    # Compared with its own two diagonal entries, so that soft directions keep theirs.
    return np.where(abs(tensor) < 1e-6 * scale[:, None] * scale, 0.0, tensor)


def flat(facts: Mapping) -> dict:
    """Return the single numbers of properties.json as one row of a spreadsheet."""
    line = {"file": facts["file"], "symmetry": facts["symmetry"]}
    for i in range(6):
        for j in range(i, 6):
            # C11, C12 and C44 are those of the closest cubic tensor.
            line[f"C_{VOIGT[i]}_{VOIGT[j]}"] = facts["C"][i][j]
    for key, value in facts.items():
        if isinstance(value, bool | int | float | str):
            line[key] = value
    line |= {f"E{name}": value for name, value in facts["E_along"].items()}
    line |= {name: facts[name]["value"] for name in ("E_min", "E_max")}
    line |= facts["HS"]
    line |= {f"spans_{axis}": spans for axis, spans in facts["spans"].items()}
    return line | {
        "iterations": max(facts["iterations"]),
        "residual": max(facts["residual"]),
    }


def _write_page(folder, name, cell, tensor, facts, notes, drawn) -> None:
    base = facts["base_E"]
    solid = (cell > facts["threshold"]).astype(np.uint8)
    keys = ("C11", "C12", "C44", "cubic_distance", "K", "G", "E", "nu", "Zener")
    later = ("volume", "pieces", "load_bearing", "resolution", "symmetry", "converged")
    rows = [
        *({"": key, "value": facts[key]} for key in keys),
        *(
            {"": f"{label} E", "value": facts[key]["value"], "along": _text(facts[key])}
            for label, key in (("lowest", "E_min"), ("highest", "E_max"))
        ),
        *({"": key, "value": value} for key, value in facts["HS"].items()),
        *({"": key, "value": facts[key]} for key in later),
        {"": "residual", "value": max(facts["residual"])},
    ]
    matrix = [dict(zip(("", *VOIGT), r, strict=True)) for r in tensor_rows(tensor)]
    along = [{"direction": d, "E": value} for d, value in facts["E_along"].items()]
    view = page.CellView(
        name,
        solid,
        picture="sphere.png" if drawn else None,
        files=("properties.json", "tensor.txt", "fields.vti"),
        caption="Young's modulus over all directions" if drawn else "",
    )
    text = page.page(
        [view],
        title=f"mmdiff: {name} homogenized",
        rows=rows,
        heading="Effective properties",
        tables={
            "Elastic tensor (Voigt)": matrix,
            "Young's modulus along the axes": along,
        },
        files=[*page.list_files(folder), "properties.json"],
        notes=[
            *notes,
            f"Base material E = {base:g}, nu = {facts['base_nu']:g}; void stiffness "
            f"{facts['void']:g} of the solid; {facts['resolution']}^3 voxels.",
            *(f"{key}: {value}." for key, value in facts["conventions"].items()),
        ],
    )
    writers.write_bytes(folder / "report.html", text.encode())


def _text(extreme: Mapping) -> str:
    return " ".join(f"{x:.4g}" for x in extreme["direction"])
