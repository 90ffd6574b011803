"""How far the tensor of voxels is from that of the surface that is printed.

    python docs/surface_study.py [100]

For cells of the shipped dataset, evenly spread over it, and for its most auxetic ones:
one element for each of 64^3 voxels; the same voxels on a mesh twice as fine; and the
surface that these voxels are samples of, as the dataset states it. Prints the tables of
docs/accuracy.md.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np

from mmdiff import elasticity
from mmdiff.cells.mend import complies
from mmdiff.cells.printable import printability
from mmdiff.data.dataset import Dataset, load_dataset
from mmdiff.fem.homogenize import homogenize

TOL = 1e-4
AUXETIC = 5


def measure(data: Dataset, row: int):
    """Return constants of voxels, of their finer mesh, of the surface; printability."""
    octant = data.octants(row)
    fine = octant.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    both = [
        np.asarray(elasticity.voigt_to_cubic(homogenize(a, tol=TOL)[0]), np.float64)
        for a in (octant, fine)
    ]
    return *both, data.constants[row], printability(data.fields(row))


def main(count: int) -> None:
    """Measure, and print the two tables."""
    data = load_dataset()
    chosen = np.linspace(0, len(data.volume) - 1, count).astype(int)
    ratio = elasticity.moduli(data.constants)["nu"]
    changes, prints = {"a mesh twice as fine": [], "the surface": []}, []
    for i in chosen.tolist():
        given, fine, found, printed = measure(data, i)
        changes["a mesh twice as fine"].append(fine / given - 1)
        changes["the surface"].append(found / given - 1)
        prints.append(printed)
    print("| against one element per voxel | C11 median / worst % | C12 | C44 |")
    print("|---|---|---|---|")
    for name, change in changes.items():
        change = 100 * np.array(change)
        worst = change[abs(change).argmax(0), np.arange(3)]
        middle = np.median(change, 0)
        cells = (f"{a:.1f} / {b:.0f}" for a, b in zip(middle, worst, strict=True))
        print(f"| {name} | {' | '.join(cells)} |")
    _print_shares(prints)
    print("\n| most auxetic | nu as voxels | finer mesh | surface | wall, voxels |")
    print("|---|---|---|---|---|")
    for i in np.argsort(ratio)[:AUXETIC].tolist():
        given, fine, found, printed = measure(data, i)
        nus = (elasticity.moduli(c)["nu"] for c in (given, fine, found))
        print(
            f"| {i} | {' | '.join(f'{nu:.3f}' for nu in nus)} | "
            f"{2 * data.n * printed.wall:.1f} |"
        )


def _print_shares(prints) -> None:
    count = len(prints)
    closed = sum(p.trapped > 0.01 for p in prints) / count
    thin = sum(p.wall < 0.03 for p in prints) / count
    good = sum(complies(p, 0.03, 0.03, True) for p in prints) / count
    print(
        f"\n{100 * closed:.0f} % of {count} cells trap more than 1 % of their void, "
        f"{100 * thin:.0f} % have walls under 3 % of the edge, {100 * good:.0f} % can "
        "be printed as they are."
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100)
