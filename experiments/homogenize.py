"""Homogenize voxel files: tensor, moduli, bounds and printability of every cell."""

import dataclasses
import pathlib

import numpy as np
from ml_collections import ConfigDict

from mmdiff import elasticity
from mmdiff.anisotropy import VOIGT
from mmdiff.cells import prepare
from mmdiff.design.homogenize import batch, geometry, remarks, report, solution
from mmdiff.errors import InputError
from mmdiff.run import console


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Homogenize the cells of the config's input and write the results."""
    if not config.input:
        raise InputError(
            "no input is given. Pass a voxel file or a folder of them: "
            "`input=cell.npy`."
        )
    source = pathlib.Path(config.input)
    found, left_out = batch.homogenize(source, folder, _settings(config))
    if len(found) == 1 and not left_out:
        rows = report.tensor_rows(np.array(found[0]["C"]))
        console.table(rows, ["C", *VOIGT])
        rows = [list(row.values()) for row in remarks.object_rows(found[0])]
        console.table(rows, ["", *elasticity.NAMES])
    if len(found) == 1 and not left_out and found[0]["conductivity"]:
        rows = [
            [axis, *row]
            for axis, row in zip("xyz", found[0]["conductivity"], strict=True)
        ]
        console.table(rows, ["conductivity", *"xyz"])
    lines = [remarks.print_row(values["file"], values) for values in found]
    header = [name for name in remarks.PRINT_HEADER if any(name in x for x in lines)]
    console.table([[x.get(name) for name in header] for x in lines], header)
    rows = [remarks.row(values["file"], values) for values in found]
    console.table(rows, remarks.HEADER)
    base = config.base
    console.say(
        f"base material E = {base.E:g}, nu = {base.nu:g}; void {config.solver.void:g} "
        "of solid. K, E, nu, Zener are those of the closest cubic tensor; E min and "
        "max those of the full one."
    )
    if left_out:
        count = len(found) + len(left_out)
        console.say(f"left out {len(left_out)} of {count} cells; see above.")


def _settings(config: ConfigDict) -> batch.Settings:
    """Return the settings of the config as the library takes them."""
    solver = config.solver
    names = [field.name for field in dataclasses.fields(prepare.Options)]
    chosen = {
        name: config[name] for name in names if name != "voxel" or any(config[name])
    }
    return batch.Settings(
        raw=dict(config.raw) | {"voxels": config.mesh_voxels},
        key=config.key,
        index=config.index,
        options=prepare.Options(**chosen),
        material=solution.Material(
            **dict(config.base), void=solver.void, penal=solver.penal
        ),
        solver=solution.Solver(solver.tol, solver.maxiter, solver.dtype),
        fields=solution.choose_fields(config.fields),
        meshes=config.meshes,
        geometry=geometry.Geometry(
            geometry=config.geometry,
            refine=config.refine,
            cell_size_mm=config.cell_size_mm,
        ),
    )
