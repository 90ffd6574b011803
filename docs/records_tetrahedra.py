"""Check records by body-fitted quadratic tetrahedra, a method of other errors.

    python docs/records_tetrahedra.py [--sizes 24 32] out/bulk50_open ...

Needs the extra `oracle`. For the best cell of each run: constants C11, C12, C44 from
two meshes and their limit (`reference_surfaces`), beside those that the run tells with
their uncertainty. What is found is kept in the workdir, in tetrahedra.json.
"""

import argparse
import json
import pathlib
import time

import numpy as np
from reference_surfaces import SIZES, by_tetrahedra, limit


def check(folder: pathlib.Path, sizes: list[int]) -> dict:
    """Return constants of the best cell of a run by tetrahedra, and the volume."""
    with np.load(folder / "cells.npz") as stored:
        psi = stored["psi"][0].astype(np.float64)
    path = folder / "tetrahedra.json"
    meshes = json.loads(path.read_text()) if path.exists() else []
    for m in sizes:
        if m in [mesh["m"] for mesh in meshes]:
            continue
        start = time.perf_counter()
        found = by_tetrahedra(psi, m)
        meshes.append(found | {"seconds": time.perf_counter() - start})
        path.write_text(json.dumps(meshes, indent=1) + "\n")
    return limit(meshes) | max(meshes, key=lambda mesh: mesh["m"])


def row(folder: pathlib.Path, sizes: list[int]) -> list[str]:
    """Return a row of the table: ours and its uncertainty, theirs, and the distance."""
    best = json.loads((folder / "properties.json").read_text())["cells"][0]
    ours = best.get("on_finer_grids", best)
    mine, spread = ([np.array(ours[key])[ij] for ij in ((0, 0), (0, 1), (3, 3))]
                    for key in ("C", "uncertainty"))  # fmt: skip
    fine = check(folder, sizes)
    limits = limit(json.loads((folder / "tetrahedra.json").read_text()))
    theirs, error = np.array(limits["C"]), np.array(limits["error"])
    off = abs(mine - theirs) / np.maximum(np.add(spread, error), 1e-12)
    pairs = [
        f"{a:.5f} +- {b:.5f} | {c:.5f} +- {d:.5f}"
        for a, b, c, d in zip(mine, spread, theirs, error, strict=True)
    ]
    return [folder.name, f"{fine['tets']}", *pairs, f"{off.max():.2f}"]


def main() -> None:
    """Print the table of docs/optimization.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=pathlib.Path, help="workdirs")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="meshes")
    given = parser.parse_args()
    heads = ["cell", "tetrahedra"]
    heads += [text for c in ("C11", "C12", "C44") for text in (c, "tetrahedra")]
    heads += ["distance / both errors"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for folder in given.folders:
        try:
            cells = row(folder, given.sizes)
        except RuntimeError as error:  # a mesh that is too coarse for thin parts
            cells = [folder.name, str(error)]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
