"""Draw the gallery: cells of the shipped dataset at the edges of what it holds.

    python docs/gallery.py

Writes docs/gallery.png and docs/gallery.md. Each cell is the best one of the dataset in
one respect, drained and with an uncertainty of at most a tenth of the norm of its
constants; its numbers are those that the dataset stores.
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from mmdiff import bounds, elasticity
from mmdiff.cells import surface
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.data.dataset import Dataset, load_dataset
from mmdiff.io import render, write

COLUMNS, SIZE = 4, 240
VOLUMES = (0.15, 0.3, 0.45, 0.6)
WIDTH = 0.02  # of a band of volumes
DOUBT = 0.1  # share of the norm of the constants

HEAD = """# Gallery

Cells of the shipped dataset, each the best drained one in one respect among those of
about that volume, as stored (`python docs/gallery.py` draws and writes this page). All
have walls and gaps of at least 3 % of their edge. The bounds of G and E hold for
isotropic cells: others may be stiffer in one direction.

![Cells of the table, row by row](gallery.png)

| cell | volume | best in | C11 | C12 | C44 | nu | Zener | K/K_HS | G/G_HS | E/E_HS |
|---|---|---|---|---|---|---|---|---|---|---|
"""
TAIL = """
More pictures: [results of the default command](sheet.png), the [dataset](dataset.md),
the [cloak](cloak.md), the [web page](serve.md).
"""


def choose(data: Dataset) -> list[tuple[str, int]]:
    """Return (respect, row) of the cells to be shown, row by row."""
    moduli = elasticity.moduli(data.constants)
    bulk, shear, young = np.transpose([bounds.hashin_shtrikman(v) for v in data.volume])
    doubt = np.linalg.norm(data.info["uncertainty"], axis=1)
    sure = data.drainable & (doubt < DOUBT * np.linalg.norm(data.constants, axis=1))
    respects = {
        "bulk modulus": moduli["K"] / bulk,
        "stiffness along the axes": moduli["E"] / young,
        "stiffness in shear": moduli["G"] / shear,
        "negative Poisson's ratio": -moduli["nu"],
    }
    found = []
    for name, value in respects.items():
        for volume in VOLUMES:
            near = sure & (abs(data.volume - volume) < WIDTH)
            found.append((name, int(np.argmax(np.where(near, value, -np.inf)))))
    return found


def line(data: Dataset, name: str, row: int) -> str:
    """Return a cell's line of the table."""
    constants, volume = data.constants[row], data.volume[row]
    moduli = elasticity.moduli(constants)
    ratios = bounds.hashin_shtrikman_ratios(constants, volume)
    numbers = [*(f"{c:.4f}" for c in constants), f"{moduli['nu']:.3f}"]
    numbers += [f"{moduli['zener']:.2f}", *(f"{ratios[k]:.3f}" for k in "KGE")]
    return f"| {row} | {volume:.3f} | {name} | {' | '.join(numbers)} |"


def picture(psi) -> np.ndarray:
    """Return the picture of a cell."""
    psi = np.asarray(psi, np.float64)
    voxels = octant_to_cell(surface.voxels(psi, psi.shape[-1]))
    return render.render(voxels, psi=psi, size=SIZE, cutaway=render.cutaway(voxels))


def main() -> None:
    """Write picture and page."""
    data = load_dataset()
    chosen = choose(data)
    pictures = [picture(psi) for psi in data.fields([row for _, row in chosen])]
    rows = [pictures[i : i + COLUMNS] for i in range(0, len(pictures), COLUMNS)]
    sheet = np.concatenate([np.concatenate(row, 1) for row in rows])
    write.write_png(ROOT / "docs" / "gallery.png", sheet)
    table = "\n".join(line(data, *cell) for cell in chosen)
    (ROOT / "docs" / "gallery.md").write_text(f"{HEAD}{table}\n{TAIL}")


if __name__ == "__main__":
    main()
