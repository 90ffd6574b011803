"""Write what is known about one homogenized cell: JSON, text, picture, fields, page.

The tensor goes to `tensor.txt` as six rows of six plain numbers, which ELATE
(https://progs.coudert.name/elate) takes as they are.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff.anisotropy import VOIGT
from mmdiff.design.homogenize import properties, remarks
from mmdiff.io import page, plots
from mmdiff.io import write as writers
from mmdiff.io.json import write_json
from mmdiff.run import console

# Stand in every file that holds numbers of the cell.
_SETTINGS = ("base_E", "base_nu", "void", "penal", "resolution", "symmetry")


def write(
    folder: pathlib.Path,
    name: str,
    cell: np.ndarray,
    solution: properties.Solution,
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
    settings = {key: facts[key] for key in _SETTINGS}
    worst = {"largest residual": max(facts["residual"])}
    stated = {**facts["conventions"], **settings, **worst}
    conventions = "; ".join(f"{key}: {value}" for key, value in stated.items())
    writers.write_bytes(folder / "tensor.txt", tensor_text(solution.tensor).encode())
    _write_fields(folder / "fields.vti", cell, solution, conventions)
    drawn = plots.modulus_spheres(
        folder / "sphere.png", solution.tensor[None] / facts["base_E"], [name]
    )
    if not drawn:
        console.note("plots need matplotlib: pip install 'mmdiff[viz]'.")
    _write_page(folder, name, cell, solution.tensor, facts, notes, drawn)
    write_json(folder / "properties.json", facts)


def _write_fields(path, cell, solution, conventions) -> None:
    """Write density and fields: of voxels as cell data, displacements at the nodes."""
    voxels, nodes, components = {"density": cell}, {}, {}
    for name, values in solution.fields.items():
        for load, field in zip(solution.loads, values, strict=True):
            label = f"{name}_{VOIGT[load]}"
            if name == "displacement":
                nodes[label] = np.moveaxis(field, 0, -1)
                components[label] = tuple("xyz")
            elif name == "strain":
                voxels[label] = np.moveaxis(field, 0, -1)
                components[label] = VOIGT
            else:
                voxels[label] = field
    writers.write_vti(
        path,
        voxels,
        points=nodes,
        components=components,
        spacing=1 / cell.shape[0],
        conventions=conventions,
    )


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
    line |= facts["HS"] | facts["engineering"]
    line |= {
        f"{name}_{average}": value
        for average, values in facts["averages"].items()
        for name, value in values.items()
    }
    line |= {f"spans_{axis}": spans for axis, spans in facts["spans"].items()}
    return line | {
        "iterations": max(facts["iterations"]),
        "residual": max(facts["residual"]),
        "shear": facts["conventions"]["shear"],
    }


def _write_page(folder, name, cell, tensor, facts, notes, drawn) -> None:
    base = facts["base_E"]
    solid = (cell > facts["threshold"]).astype(np.uint8)
    keys = ("C11", "C12", "C44", "cubic_distance", "K", "G", "E", "nu", "Zener")
    later = ("volume", "pieces", "load_bearing", "resolution", "symmetry", "converged")
    state = ", ".join(remarks.short(facts))
    extremes = [
        (f"{label} E, along {_text(facts[key])}", facts[key]["value"])
        for label, key in (("lowest", "E_min"), ("highest", "E_max"))
    ]
    entries = [
        *([("remark", state)] if state else []),
        *((key, facts[key]) for key in keys),
        *extremes,
        ("universal anisotropy", facts["universal_anisotropy"]),
        *facts["HS"].items(),
        *((key, facts[key]) for key in later),
        ("residual", max(facts["residual"])),
    ]
    rows = [{"": key, "value": value} for key, value in entries]
    matrix = [dict(zip(("", *VOIGT), r, strict=True)) for r in tensor_rows(tensor)]
    along = [{"direction": d, "E": value} for d, value in facts["E_along"].items()]

    def constants(kinds):
        return {
            key: value
            for key, value in facts["engineering"].items()
            if key.startswith(kinds)
        }

    averages = [{"": key, **values} for key, values in facts["averages"].items()]
    loads = [
        {
            "load": load,
            "iterations": facts["iterations"][i],
            "residual": facts["residual"][i],
            "converged": facts["converged_loads"][i],
            "path in the solid": load not in facts["singular_loads"],
        }
        for i, load in enumerate(facts["loads"])
    ]
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
            "Averages over all orientations": averages,
            "Young's and shear moduli along x y z": [constants(("E", "G"))],
            "Poisson's ratios along x y z": [constants(("nu",))],
            "Solution": loads,
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
    """Return a direction as [110] where it is one of those, else as three cosines."""
    direction = np.array(extreme["direction"])
    scaled = direction / abs(direction).max()
    if abs(scaled - np.round(scaled)).max() < 1e-4:  # the cosines have six digits
        return properties.brackets(np.round(scaled))
    return " ".join(f"{x:.4g}" for x in direction)
