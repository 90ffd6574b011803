"""Print the table of records of docs/optimization.md from the workdirs of their runs.

    python docs/records.py out/bulk30 out/poisson30 ...

Each run gives the best cell of its properties.json by the tensor of its surface, the
same on finer grids, and for isotropic problems the best isotropic plate lattice.
"""

import json
import pathlib
import sys

COLUMNS = ("V", "K/K_HS", "G/G_HS", "E/E_HS", "nu", "Zener", "E/E_solid")
SHARES = {"bulk": "K/K_HS", "shear": "G/G_HS", "young": "E/E_HS"}
PRINTED = {"wall_mm": "wall %", "gap_mm": "gap %"}


def rows(folder: pathlib.Path) -> list[list[str]]:
    """Return the rows of a run: its best cell, on finer grids, and plates."""
    report = json.loads((folder / "properties.json").read_text())
    settings = report["settings"]
    size = settings["cell_size_mm"]
    void = "open" if settings["drainable"] else "closed"
    what = f"{settings['objective']}, V {settings['vf']:g}, {void}"
    if settings["isotropy"]:
        what += f", Zener within {100 * settings['isotropy']:g} %"
    best = report["cells"][0]
    found = [[what, f"from {best['start_kind']}", *_numbers(best, size)]]
    if finer := best.get("on_finer_grids"):
        found.append(["", "on 128^3 and 256^3", *_numbers(finer, size)])
    if settings["isotropy"] and settings["objective"] in SHARES:
        share = SHARES[settings["objective"]]
        mixed = {name: p for name, p in report["plates"].items() if "+" in name}
        name = max(mixed, key=lambda name: mixed[name][share])
        found.append(["", f"plates {name}, closed", *_numbers(mixed[name], size)])
    return found


def _numbers(cell, size) -> list[str]:
    values = {**cell, "V": cell["volume"]}
    found = [f"{values[name]:.4f}" for name in COLUMNS]
    found.append(f"{cell['uncertainty_percent']:.2f}")
    return found + [f"{100 * cell[name] / size:.1f}" for name in PRINTED]


def main(*folders: str) -> None:
    """Print the table in Markdown."""
    columns = [*COLUMNS, "+- %", *PRINTED.values()]
    print("| asked | cell |", " | ".join(columns), "|")
    print("|" + "---|" * (2 + len(columns)))
    for folder in folders:
        for row in rows(pathlib.Path(folder)):
            print("|", " | ".join(row), "|")


if __name__ == "__main__":
    main(*sys.argv[1:])
