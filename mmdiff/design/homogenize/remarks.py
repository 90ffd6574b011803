"""What a user must know about a homogenized cell, in sentences and in a table's row.

Both speak of the dictionary of `characterize.report`, also when it comes back from
properties.json; numbers that do not exist are None there.
"""

HEADER = (
    *("", "C11", "C12", "C44", "K", "E", "nu", "Zener", "E min", "E max"),
    *("V", "K/K_HS", "pieces", "solved as", "remark"),
)


def row(name: str, facts: dict) -> list:
    """Return a line of the table on the terminal, columns as in `HEADER`."""
    return [
        name,
        *(facts[key] for key in ("C11", "C12", "C44", "K", "E", "nu", "Zener")),
        facts["E_min"]["value"],
        facts["E_max"]["value"],
        f"{facts['volume']:.4f}",
        facts["HS"]["K/K_HS"],
        facts["pieces"],
        facts["symmetry"],
        ", ".join(short(facts)),
    ]


def short(facts: dict) -> list[str]:
    """Return the remarks that go beside the numbers themselves."""
    remark = [] if facts["load_bearing"] else ["not load bearing"]
    return remark + ([] if facts["converged"] else ["unconverged"])


def remarks(name: str, facts: dict, *, tol: float, maxiter: int) -> list[str]:
    """Return what is to be said about a cell: loose pieces, no load path, no solution.

    Args:
      name: of the file.
      facts: see `report`.
      tol: tolerance that was asked for.
      maxiter: iterations that were allowed.
    """
    said = []
    if facts["volume"] == 1:
        said.append(
            f"{name} is solid everywhere: the tensor is that of the base material."
        )
    elif facts["solid_share"] == 1:
        said.append(
            f"{name} has no voxel at or below {facts['threshold']:g}: it counts as "
            "solid throughout for pieces and load paths. Its densities were "
            "homogenized as they are."
        )
    if facts["pieces"] > 1:
        said.append(
            f"{name} has {facts['pieces']} separate solid pieces across periodic "
            f"boundaries; the largest holds {100 * facts['largest_piece_share']:.0f} % "
            "of the solid. It would fall apart when printed. Homogenized with all of "
            "them."
        )
    missing = [axis for axis, spans in facts["spans"].items() if not spans]
    if missing:
        said.append(
            f"{name}: the solid does not span the cell along {_and(missing)}: "
            "stiffness is near zero there and the tensor is singular. Homogenized "
            'anyway; marked "not load bearing".'
        )
    elif facts["singular_loads"]:
        said.append(
            f"{name}: the solid has no path for load {_and(facts['singular_loads'])}: "
            "stiffness is near zero there and the tensor is singular. Homogenized "
            'anyway; marked "not load bearing".'
        )
    count = len(facts["residual"])
    for i, ok in enumerate(facts["converged_loads"]):
        if not ok:
            said.append(
                f"{name}: CG stopped at residual {_short(facts['residual'][i])} after "
                f"{facts['iterations'][i]} steps (wanted {_short(tol)}) for load "
                f"{i + 1} of {count}; results marked unconverged. Very low densities "
                f"need --config.solver.maxiter={max(2000, 4 * maxiter)} or "
                "--config.solver.dtype=float64."
            )
    return said


def _and(words):
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _short(value):
    """Return a small number as 3e-3."""
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
