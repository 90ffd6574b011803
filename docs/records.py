"""Print the table of records of docs/optimization.md from the workdirs of their runs.

    python docs/records.py out/bulk30 out/poisson30 ...

Each row is a cell of properties.json: the best of a run at its resolution and the same
re-optimized at twice that. For isotropic problems the best isotropic plate lattice of
the higher resolution follows, which is made and homogenized here (half a minute each).
"""

import json
import pathlib
import sys

from mmdiff.cells import plates
from mmdiff.fem.homogenize import homogenize

COLUMNS = ("V", "K/K_HS", "G/G_HS", "E/E_HS", "nu", "Zener", "E/E_solid")
SHARES = {"bulk": "K/K_HS", "shear": "G/G_HS", "young": "E/E_HS"}


def rows(folder: pathlib.Path) -> list[list[str]]:
    """Return the cells of one row each for a run."""
    report = json.loads((folder / "properties.json").read_text())
    settings = report["settings"]
    what = f"{settings['objective']}, V {settings['vf']:g}"
    if settings["isotropy"]:
        what += f", Zener within {100 * settings['isotropy']:g} %"
    found = []
    for name in ("cell_00", "doubled"):
        cell = next((c for c in report["cells"] if c["file"] == f"{name}.npy"), None)
        if cell:
            label = f"{cell['resolution']}^3 from {cell['start_kind']}"
            found.append([what, label, *_numbers(cell)])
    if settings["isotropy"]:
        share = SHARES[settings["objective"]]
        edge = max(cell["resolution"] for cell in report["cells"])
        best = max(
            (_mixture(edge // 2, pair, settings["vf"]) for pair in plates.ISOTROPIC),
            key=lambda cell: cell[share],
        )
        found.append([what, f"{edge}^3 plates {best['pair']}", *_numbers(best)])
    return found


def _mixture(n, pair, volume) -> dict:
    """Return the record of an isotropic plate lattice, named as in properties.json."""
    known = plates.properties(
        plates.isotropic(n, pair, volume, homogenizer=homogenize).octant,
        homogenizer=homogenize,
    )
    return {
        **known,
        "pair": " + ".join(pair),
        "E/E_solid": known["E"],
        "Zener": known["zener"],
    }


def _numbers(cell) -> list[str]:
    values = {**cell, "V": cell["volume"]}
    return [f"{values[name]:.4f}" for name in COLUMNS]


def main(*folders: str) -> None:
    """Print the table in Markdown."""
    print("| asked | cell |", " | ".join(COLUMNS), "|")
    print("|" + "---|" * (2 + len(COLUMNS)))
    for folder in folders:
        for row in rows(pathlib.Path(folder)):
            print("|", " | ".join(row), "|")


if __name__ == "__main__":
    main(*sys.argv[1:])
