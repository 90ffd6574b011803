"""What the page shows of a finished job, from the files in its folder.

Files are only ever found by looking for a name among those that are there, so that no
path comes from outside.
"""

import base64
import functools
import json
import os
import pathlib
from typing import Any

import numpy as np
from scipy import ndimage

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.cells.thickness import wall_thickness
from mmdiff.design.serve import job as jobs
from mmdiff.design.serve.job import Job
from mmdiff.io import viewer

_FINEST = 96  # voxels along the edge of what is measured


def files(job: Job) -> dict[str, os.DirEntry]:
    """Return the plain files of a job by name; links and hidden files are none."""
    try:
        with os.scandir(job.folder) as entries:
            found = {
                entry.name: entry
                for entry in entries
                if entry.is_file(follow_symlinks=False) and entry.name[0] != "."
            }
    except OSError:  # it was removed
        return {}
    found.pop(jobs.NAME, None)
    return dict(sorted(found.items()))


def detail(job: Job) -> dict[str, Any]:
    """Return all about a job: its line, cells, files and, of a file, properties."""
    known = {**job.line(), "settings": job.settings, "page": job.page}
    if job.state not in jobs.OVER:
        return {**known, "cells": job.cells, "samples": job.samples, "files": []}
    sizes = [{"name": n, "bytes": f.stat().st_size} for n, f in files(job).items()]
    values = _properties(job.folder)
    if job.kind == "homogenize":
        cells = [values] if values else []
    else:
        cells = values.get("cells", [])
    views = viewer.cells_of(_text(job.folder / job.page)) if cells else []
    shown = views + [None] * (len(cells) - len(views))
    cells = [{**cell, "view": view} for cell, view in zip(cells, shown, strict=False)]
    return {**known, "cells": cells, "samples": [], "files": sizes}


def _properties(folder: pathlib.Path) -> dict[str, Any]:
    try:
        values = json.loads(_text(folder / "properties.json"))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


def walls(packed: dict[str, Any]) -> dict[str, Any]:
    """Return the thickness of a cell's walls as a texture, see `thickness_of`.

    The cell is one that `viewer.pack` made.
    """
    return _walls(json.dumps(packed, sort_keys=True))


@functools.lru_cache(maxsize=32)
def _walls(text: str) -> dict[str, Any]:
    solid, is_octant = viewer.solid_of(json.loads(text))
    if not is_octant:
        step = -(-max(solid.shape) // _FINEST)
        solid = solid[::step, ::step, ::step]
    levels, most = thickness_of(solid, mode="symmetric" if is_octant else "wrap")
    edges = len(solid) * (2 if is_octant else 1)
    whole = octant_to_cell(levels) if is_octant else levels
    data = base64.b64encode(np.ascontiguousarray(whole)).decode()
    return {"shape": [*whole.shape], "levels": data, "most": most / edges}


def thickness_of(
    solid: np.ndarray, *, mode: str = "symmetric"
) -> tuple[np.ndarray, float]:
    """Return the thickness of the wall nearest to each voxel, in 8 bits.

    Args:
      solid: (nx, ny, nz) boolean; an octant where the mode is "symmetric".
      mode: see `cells.thickness`.

    Returns:
      levels from 0 to 255, and the thickness in voxels that 255 stands for.
    """
    thickness = wall_thickness(solid, mode=mode)
    if not solid.any() or solid.all():
        return np.full(solid.shape, 255, np.uint8), float(len(solid))
    # The surface lies between voxels: void takes what the nearest wall has.
    nearest = ndimage.distance_transform_edt(
        ~solid, return_distances=False, return_indices=True
    )
    spread = thickness[tuple(nearest)]
    most = float(spread.max())
    return np.round(255 / most * spread).astype(np.uint8), most
