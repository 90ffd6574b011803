"""Report of one homogenized cell: properties, tensor, sphere of moduli, fields, page.

The tensor goes to `tensor.txt` as six rows of six plain numbers, which ELATE
(https://progs.coudert.name/elate) takes as they are, and to materials for Abaqus,
CalculiX and Ansys.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff import elasticity
from mmdiff.anisotropy import VOIGT
from mmdiff.cells.voxels import to_cubes
from mmdiff.design.homogenize import properties, remarks
from mmdiff.design.homogenize.solution import Solution
from mmdiff.io import material_cards, page, plots, write
from mmdiff.io.cell_files import CellEntry
from mmdiff.io.report import Report, joined
from mmdiff.typing import Float

PAGE = "report.html"
FILES = ("tensor.txt", "fields.vti", "material.inp", "material.mac")
_IN_MM = {"wall": "wall_mm", "gap": "gap_mm"}


def report(
    cell: Float[np.ndarray, "mx my mz"],
    solution: Solution,
    values: Mapping[str, Any],
    notes: Sequence[str] = (),
    *,
    psi: Float[np.ndarray, "n n n"] | None = None,
    meshes: bool = False,
) -> Report:
    """Return the report of one cell of densities and its remarks.

    The values are those of `characterize.analyse`, with "file", the name of the input.
    Of a surface, the zero set of the field `psi`, meshes and a picture are written too,
    and with `meshes` of voxels as well, lightly smoothed.
    """
    name = values["file"]
    keys = ("base_E", "base_nu", "void")
    settings = {} if values["phases"] else {key: values[key] for key in keys}
    settings["voxels"] = " x ".join(map(str, values["shape"]))
    solid = to_cubes(cell > values["threshold"], values["voxel_edges"])
    solid = solid.astype(np.uint8)
    text, relative = tensor_text(solution.tensor), solution.tensor / values["base_E"]
    return Report(
        title=f"mmdiff: {name} homogenized",
        values=values,
        conventions=properties.CONVENTIONS,
        settings=settings,
        tables=_tables(solution.tensor, values),
        cell_size_mm=values["cell_size_mm"],
        **_shown(name, solid, psi, values, meshes),
        files={
            "tensor.txt": lambda path: write.write_bytes(path, text.encode()),
            **_material_cards(name, values),
            "fields.vti": lambda path: _write_fields(path, cell, solution, values),
            "sphere.png": lambda path: plots.modulus_spheres(
                path, relative[None], [name]
            ),
        },
        notes=notes,
        page=PAGE,
    )


def _material_cards(name, values) -> dict[str, Any]:
    """Return what writes the tensor for programs of finite elements, by file."""
    tensor, density = _clean(np.array(values["C"])), values["mass_density"] or 0.0
    texts = {
        "material.inp": material_cards.abaqus(name, tensor, density),
        "material.mac": material_cards.ansys(name, tensor, density),
    }
    return {
        file: functools.partial(write.write_bytes, data=text.encode())
        for file, text in texts.items()
    }


def _shown(name, solid, psi, values, meshes) -> dict[str, Any]:
    """Return the cell of the page; of a surface its files and its field as well."""
    if psi is None and meshes:
        return {"cells": [CellEntry(name="solid", label=name, voxels=solid)]}
    if psi is None:
        view = page.CellView(name, solid, files=FILES)
        return {"views": [view]}
    doubt, names = values["uncertainty"], elasticity.NAMES
    arrays = {
        "psi": psi.astype(np.float32),
        "constants": np.array([values[name] for name in names]),
        "uncertainty": np.array([doubt[name] for name in names]),
    }
    return {
        "cells": [CellEntry(name="surface", label=name, voxels=solid, psi=psi)],
        "arrays": {"surface.npz": arrays},
    }


def _write_fields(path: pathlib.Path, cell, solution, values) -> None:
    """Write density and fields: of voxels as cell data, displacements at the nodes."""
    voxels, nodes, components = {"density": cell}, {}, {}
    named = {"displacement": tuple("xyz"), "strain": VOIGT}
    for name, loads in solution.fields.items():
        for load, field in zip(solution.loads, loads, strict=True):
            label = f"{name}_{VOIGT[load]}"
            if name in named:
                components[label], field = named[name], np.moveaxis(field, 0, -1)
            (nodes if name == "displacement" else voxels)[label] = field
    keys = ("base_E", "base_nu", "void", "penal", "resolution", "symmetry")
    settings = {key: values[key] for key in keys}
    worst = {"largest residual": max(values["residual"])}
    write.write_vti(
        path,
        voxels,
        points=nodes,
        components=components,
        spacing=[edge / cell.shape[0] for edge in values["voxel_edges"]],
        conventions=joined(properties.CONVENTIONS | settings | worst),
    )


def tensor_text(tensor: Float[np.ndarray, "6 6"]) -> str:
    """Return a 6x6 tensor as six lines of six numbers."""
    return "\n".join(" ".join(f"{v:14.7g}" for v in r) for r in _clean(tensor)) + "\n"


def tensor_rows(tensor: Float[np.ndarray, "6 6"]) -> list[list]:
    """Return the rows of the 6x6 tensor with the Voigt pair in front."""
    rows = _clean(tensor).tolist()
    return [[pair, *line] for pair, line in zip(VOIGT, rows, strict=True)]


def _clean(tensor):
    """Replace rounding noise at the places of zeros by zeros."""
    scale = np.sqrt(abs(np.diag(tensor)))
    # Compared with its own two diagonal entries, so that soft directions keep theirs.
    return np.where(abs(tensor) < 1e-6 * scale[:, None] * scale, 0.0, tensor)


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the single numbers of properties.json as one row of a spreadsheet."""
    line = {"file": values["file"], "symmetry": values["symmetry"]}
    # C11, C12 and C44 are those of the closest cubic tensor.
    pairs = zip(*np.triu_indices(6), strict=True)
    line |= {f"C_{VOIGT[i]}_{VOIGT[j]}": values["C"][i][j] for i, j in pairs}
    single = bool | int | float | str
    line |= {key: value for key, value in values.items() if isinstance(value, single)}
    line |= {f"E{name}": value for name, value in values["E_along"].items()}
    line |= {name: values[name]["value"] for name in ("E_min", "E_max")}
    line |= values["HS"] | values["engineering"]
    line |= {
        f"{name}_{average}": value
        for average, moduli in values["averages"].items()
        for name, value in moduli.items()
    }
    if k := values["conductivity"]:
        line |= {f"k_{'xyz'[i]}{'xyz'[j]}": k[i][j] for i in range(3) for j in range(3)}
    line |= {f"{name}_voxels": v for name, v in values["C_voxels"].items()}
    if refined := values["refined"]:
        line |= {f"{name}_refined": refined[name] for name in elasticity.NAMES}
        errors = refined["mesh_error"].items()
        line |= {f"mesh_error_{name}": value for name, value in errors}
    for load, peak in (values["peak_stress"] or {}).items():
        line |= {f"stress_{load}_99": peak["share_99"], f"stress_{load}": peak["max"]}
    doubt = values["uncertainty"] or {}
    line |= {f"uncertainty_{name}": value for name, value in doubt.items()}
    printed = values["printability"]
    line |= {_IN_MM.get(name, name): value for name, value in printed.items()}
    line |= {f"spans_{axis}": spans for axis, spans in values["spans"].items()}
    return line | {
        "iterations": max(values["iterations"]),
        "residual": max(values["residual"]),
        "shear": properties.CONVENTIONS["shear"],
    }


def _tables(tensor, values) -> dict[str, list[dict]]:
    """Return the tables of the page."""
    constants = values["engineering"]
    return {
        "Effective properties": _effective(values),
        "Constants by mesh": remarks.object_rows(values),
        **({"Phases": values["phases"]} if values["phases"] else {}),
        **_conductivity(values["conductivity"]),
        **_peaks(values["peak_stress"]),
        "Printability": [
            {"": label, "value": value}
            for label, value in remarks.printed(values).items()
        ],
        "Elastic tensor (Voigt)": [
            dict(zip(("", *VOIGT), row, strict=True)) for row in tensor_rows(tensor)
        ],
        "Young's modulus along the axes": [
            {"direction": direction, "E": value}
            for direction, value in values["E_along"].items()
        ],
        "Averages over all orientations": [
            {"": key, **moduli} for key, moduli in values["averages"].items()
        ],
        "Young's and shear moduli along x y z": [
            {key: constants[key] for key in constants if key[0] in "EG"}
        ],
        "Poisson's ratios along x y z": [
            {key: constants[key] for key in constants if key[0] == "n"}
        ],
        "Solution": [
            {
                "load": load,
                "iterations": values["iterations"][i],
                "residual": values["residual"][i],
                "converged": values["converged_loads"][i],
                "path in the solid": load not in values["singular_loads"],
            }
            for i, load in enumerate(values["loads"])
        ],
    }


def _conductivity(tensor) -> dict[str, list[dict]]:
    """Return the table of the conductivity, if there is one."""
    if tensor is None:
        return {}
    rows = [
        {"": axis} | dict(zip("xyz", row, strict=True))
        for axis, row in zip("xyz", tensor, strict=True)
    ]
    return {"Conductivity": rows}


def _peaks(found) -> dict[str, list[dict]]:
    """Return the table of the largest stresses, if they are known."""
    if found is None:
        return {}
    names = {"share_99": "99 % of the solid below", "max": "largest"}
    rows = [
        {"macro stress": load, **{names[key]: value for key, value in line.items()}}
        for load, line in found.items()
    ]
    return {"Von Mises stress by macro stress": rows}


def _effective(values) -> list[dict]:
    """Return the rows of the first table: what warns of the numbers, then they."""
    keys = ("C11", "C12", "C44", "cubic_distance", "K", "G", "E", "nu", "Zener")
    later = ("volume", "pieces", "load_bearing", "symmetry", "converged")
    remark = ", ".join(remarks.short(values))
    low, high = values["E_min"], values["E_max"]
    entries = [
        *([("remark", remark)] if remark else []),
        *((key, values[key]) for key in keys),
        (f"lowest E, along {_text(low)}", low["value"]),
        (f"highest E, along {_text(high)}", high["value"]),
        ("universal anisotropy", values["universal_anisotropy"]),
        *values["HS"].items(),
        *((key, values[key]) for key in later),
        ("voxels", " x ".join(map(str, values["shape"]))),
        ("residual", max(values["residual"])),
    ]
    return [{"": key, "value": value} for key, value in entries]


def _text(extreme: Mapping) -> str:
    """Return a direction as [110] where it is one of those, else as three cosines."""
    direction = np.array(extreme["direction"])
    scaled = direction / abs(direction).max()
    if abs(scaled - np.round(scaled)).max() < 1e-4:  # the cosines have six digits
        return properties.brackets(np.round(scaled))
    return " ".join(f"{x:.4g}" for x in direction)
