"""Print the table of records of docs/optimization.md from the workdirs of their runs.

    python docs/records.py out/bulk30 out/poisson30 ...

Each row is the best cell of a properties.json, as the tensor of its surface. For
isotropic problems the best isotropic plate lattice of the same run follows.
"""

import json
import pathlib
import sys

COLUMNS = ("V", "K/K_HS", "G/G_HS", "E/E_HS", "nu", "Zener", "E/E_solid")
SHARES = {"bulk": "K/K_HS", "shear": "G/G_HS", "young": "E/E_HS"}


def rows(folder: pathlib.Path) -> list[list[str]]:
    """Return the cells of one row each for a run."""
    report = json.loads((folder / "properties.json").read_text())
    settings = report["settings"]
    what = f"{settings['objective']}, V {settings['vf']:g}"
    if settings["isotropy"]:
        what += f", Zener within {100 * settings['isotropy']:g} %"
    best = report["cells"][0]
    label = f"{best['design_resolution']}^3 from {best['start_kind']}"
    found = [[what, label, *_numbers(best)]]
    if settings["isotropy"]:
        share = SHARES[settings["objective"]]
        mixed = {name: p for name, p in report["plates"].items() if "+" in name}
        name = max(mixed, key=lambda name: mixed[name][share])
        found.append([what, f"plates {name}", *_numbers(mixed[name])])
    return found


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
