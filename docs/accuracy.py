"""How far grids are off the body-fitted reference: tables and plot of docs/accuracy.md.

    python docs/accuracy.py                 tables and accuracy.png, of stored numbers
    python docs/accuracy.py plates          thin plates against membranes
    python docs/accuracy.py cells 81 ..     cells of the dataset against finer grids

Stored numbers are those of tests/reference_surfaces/tensors.json; what makes them is
docs/reference_surfaces.py.
"""

import json
import sys
from pathlib import Path

import numpy as np

from mmdiff.cells import lattices
from mmdiff.elasticity import NAMES, NU
from mmdiff.fem import accuracy
from mmdiff.io.json import markdown
from mmdiff.io.plots import plot

DOCS = Path(__file__).resolve().parent
TENSORS = DOCS.parent / "tests" / "reference_surfaces" / "tensors.json"
EXPONENTS = {"": "p = 1", " p=1.25": "p = 1.25", " p=1.5": "p = 1.5"}


def rules(grids):
    """Return the constants (3,) by each rule, from the grids of a cell."""
    grids = {key: np.array(constants) for key, constants in grids.items()}
    plain, bent = (grids["64"], grids["128"]), (grids["64 p=1.25"], grids["128 p=1.25"])
    found = {f"{label}, 128": grids[f"128{key}"] for key, label in EXPONENTS.items()}
    found["p = 1, 256"] = grids["256"]
    found["p = 1, 64 and 128, order 2"] = _limit(*plain, 2)
    found["p = 1, 64 and 128, order 1"] = _limit(*plain, 1)
    found["p = 1.25, 64 and 128, order 1"] = _limit(*bent, 1)
    found["p = 1.25, 64 and 128, order 2"] = _limit(*bent, 2)
    found["mean of p = 1 and 1.25, 128"] = (plain[1] + bent[1]) / 2
    found["p = 1, 128 and 256, order 2"] = _limit(grids["128"], grids["256"], 2)
    found["accuracy.extrapolate"] = accuracy.extrapolate(*plain)[0]
    return found


def _limit(coarse, fine, order):
    return fine + (fine - coarse) / (2**order - 1)


def rule_table(cells):
    """Return the table of errors relative to the reference, in percent."""
    errors = {}
    for record in cells.values():
        for rule, constants in rules(record["grids"]).items():
            error = 100 * abs(constants / record["C"] - 1)
            errors.setdefault(rule, []).append(error)
    header = ["rule", "median %", "mean %", "largest %", "constants above 0.5 %"]
    rows = [
        [rule, f"{np.median(e):.2f}", f"{np.mean(e):.2f}", f"{np.max(e):.2f}"]
        + [str(np.sum(np.array(e) > 0.5))]
        for rule, e in errors.items()
    ]
    return markdown(header, rows)


def cell_table(cells):
    """Return the table of cells: reference, and errors and uncertainties in percent."""
    header = ["cell", "V", "tetrahedra", *NAMES, "reference off by %", "error %"]
    rows = []
    for name, record in cells.items():
        exact = np.array(record["C"])
        mesh = max(record["tets"], key=lambda mesh: mesh["m"])
        grids = (np.array(record["grids"][edge]) for edge in ("64", "128"))
        constants, doubt = accuracy.extrapolate(*grids)
        each = zip(100 * (constants / exact - 1), 100 * doubt / abs(exact), strict=True)
        rows.append(
            [name, f"{mesh['volume']:.4f}", f"{mesh['tets']} (1/{2 * mesh['m']})"]
            + [f"{value:.5f}" for value in exact]
            + [f"{max(100 * np.array(record['error']) / abs(exact)):.3f}"]
            + [", ".join(f"{off:+.2f} ± {most:.2f}" for off, most in each)]
        )
    return markdown(header, rows)


@plot
def convergence(figure, cells):
    """Draw the largest error of a constant over the grid's edge, cell by cell."""
    figure.set_size_inches(12.6, 4.6)
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (key, label) in zip(axes, EXPONENTS.items(), strict=True):
        for number, (name, record) in enumerate(cells.items()):
            edges = [e for e in (64, 128, 256) if f"{e}{key}" in record["grids"]]
            values = [record["grids"][f"{edge}{key}"] for edge in edges]
            worst = 100 * abs(np.array(values) / record["C"] - 1).max(1)
            style = {"color": f"C{number % 10}", "marker": "ov"[number // 10], "ms": 4}
            axis.loglog(edges, worst, lw=1, label=name, **style)
            if not key:
                limit = rules(record["grids"])["accuracy.extrapolate"]
                off = 100 * abs(limit / record["C"] - 1).max()
                axis.loglog(140, off, ls="", mfc="none", **style)
        axis.set(title=label, xlabel="elements along the cell", xticks=[64, 128, 256])
        axis.set_xticks([64, 128, 256], ["64", "128", "256"])
        axis.set_xticks([], minor=True)
    axes[0].set(ylabel="largest relative error of a constant, %")
    axes[0].set(title="p = 1; hollow: extrapolated from 64 and 128")
    axes[0].plot([64, 256], [8, 0.5], "k:", lw=1)
    axes[0].text(70, 8.5, "order 2")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")


def plates(volumes=(0.1, 0.15, 0.2), m=32):
    """Print the constants of plates over those of membranes of the same volume.

    Two of three families of plates bear C11, one C12 and one C44.
    """
    from reference_surfaces import curved_mesh, solve

    stiff = np.array([2 / (1 - NU**2), NU / (1 - NU**2), 1 / (2 * (1 + NU))]) / 3
    for volume in volumes:
        mesh = curved_mesh(lattices.lattice("sc plates", volume), m)
        constants, share = solve(mesh)
        print(f"V {share:.4f}:", np.round(constants / (share * stiff), 3))


def cells_of_dataset(numbers):
    """Print errors and uncertainties, in percent, of cells outside the set."""
    from reference_surfaces import by_grid

    import mmdiff as mm

    data = mm.load_dataset()
    for number in numbers:
        psi = data.fields(number)
        coarse, fine, finest = (np.array(by_grid(psi, m)) for m in (32, 64, 128))
        constants, doubt = accuracy.extrapolate(coarse, fine)
        exact = _limit(fine, finest, 2)
        error = 100 * (constants / exact - 1)
        print(number, np.round(error, 2), np.round(100 * doubt / abs(exact), 2))


def main():
    """Print the tables and write the plot."""
    cells = json.loads(TENSORS.read_text())
    print(rule_table(cells))
    print(cell_table(cells))
    convergence(DOCS / "accuracy.png", cells)


if __name__ == "__main__":
    if sys.argv[1:] == ["plates"]:
        plates()
    elif sys.argv[1:2] == ["cells"]:
        cells_of_dataset([int(number) for number in sys.argv[2:]])
    else:
        main()
