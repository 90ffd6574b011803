"""What a user must know about a homogenized cell, in sentences and rows of tables.

All take the dictionary of `characterize.analyse`, also as it comes back from
properties.json; numbers that do not exist are None there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmdiff import elasticity
from mmdiff.design.homogenize.solution import SOFT

TRAPPED = 0.01  # share of the void in closed pores that is worth a sentence
NAMES = ("C11", "C12", "C44", "K", "E", "nu", "Zener")
HEADER = ("", *NAMES, "E min", "E max", "V", "K/K_HS", "pieces", "solved as", "remark")

# Columns of the table of what a printer asks: keys of "printability", and factors.
_PRINTED = {
    "pieces": ("pieces", 1),
    "void pieces": ("void_pieces", 1),
    "loose %": ("loose", 100),
    "trapped %": ("trapped", 100),
    "wall mm": ("wall", 1),
    "wall voxels": ("wall_voxels", 1),
    "gap mm": ("gap", 1),
    "gap voxels": ("gap_voxels", 1),
    "overhang %": ("overhang", 100),
}
_MESH = {f"{name} mesh %": name for name in elasticity.NAMES}
PRINT_HEADER = ("", *_PRINTED, "measured on", *_MESH)


def row(name: str, found: Mapping) -> list:
    """Return a line of the table on the terminal, columns as in `HEADER`."""
    return [
        name,
        *(found[name] for name in NAMES),
        found["E_min"]["value"],
        found["E_max"]["value"],
        f"{found['volume']:.4f}",
        found["HS"]["K/K_HS"],
        found["pieces"],
        found["symmetry"],
        ", ".join(short(found)),
    ]


def print_row(name: str, found: Mapping) -> dict[str, Any]:
    """Return what a printer asks and what the mesh is off, columns as `PRINT_HEADER`.

    Columns of a mesh that was not solved are missing.
    """
    errors = found["refined"]["mesh_error"] if found["refined"] else {}
    mesh = {k: _times(100, errors[n]) for k, n in _MESH.items() if n in errors}
    return {"": name, **printed(found), **mesh}


def printed(found: Mapping) -> dict[str, Any]:
    """Return what a printer asks, by the labels of a table."""
    values = found["printability"]
    numbers = {k: _times(f, values[key]) for k, (key, f) in _PRINTED.items()}
    return {**numbers, "measured on": values["measured_on"]}


def _times(factor, value):
    return None if value is None else factor * value


def object_rows(found: Mapping) -> list[dict[str, Any]]:
    """Return the constants of all objects that were solved, one a row."""
    refined, doubt = found["refined"], found["uncertainty"]
    rows = [("voxels", found["C_voxels"])]
    if refined is not None:
        rows += [
            ("voxels, mesh twice as fine", refined),
            (
                "mesh error %",
                {name: _times(100, v) for name, v in refined["mesh_error"].items()},
            ),
        ]
    if doubt is not None:
        rows += [("surface", found), ("surface, +-", doubt)]
    return [
        {"": label, **{name: values[name] for name in elasticity.NAMES}}
        for label, values in rows
    ]


def short(found: Mapping) -> list[str]:
    """Return the remarks that stand beside the numbers themselves."""
    remark = [] if found["load_bearing"] else ["not load bearing"]
    return remark + ([] if found["converged"] else ["unconverged"])


def remarks(name: str, found: Mapping, *, tol: float, maxiter: int) -> list[str]:
    """Return sentences about loose pieces, missing load paths and unsolved loads."""
    messages = []
    matrix = found["void"] > SOFT  # which holds the pieces of solid together
    if found["volume"] == 1 and not found["phases"]:
        messages.append(
            f"{name} is solid everywhere: the tensor is that of the base material."
        )
    elif found["solid_share"] == 1 and not found["phases"]:
        messages.append(
            f"{name} has no voxel at or below {found['threshold']:g}: it counts as "
            "solid throughout for pieces and load paths. Its densities were "
            "homogenized as they are."
        )
    window = found["symmetry"] in ("kinematic", "mixed")
    if found["pieces"] > 1 and not matrix and not window:
        messages.append(
            f"{name} has {found['pieces']} separate solid pieces across periodic "
            f"boundaries; the largest holds {_most(found['largest_piece_share'])} of "
            "the solid. It would fall apart when printed. Homogenized with all of "
            "them."
        )
    trapped = found["printability"]["trapped"]
    if trapped > TRAPPED and not matrix:
        messages.append(
            f"{name} encloses {_percent(trapped)} of its void in closed pores: powder "
            "or resin stays inside when it is printed."
        )
    messages += _paths(name, found, matrix or window)
    count = len(found["residual"])
    return messages + [
        f"{name}: CG stopped at residual {_short(found['residual'][i])} after "
        f"{found['iterations'][i]} steps (wanted {_short(tol)}) for load {i + 1} of "
        f"{count}; results marked unconverged. Very low densities need "
        f"`maxiter={max(2000, 4 * maxiter)}` or `dtype=float64`."
        for i, converged in enumerate(found["converged_loads"])
        if not converged
    ]


def _paths(name, found, elsewhere) -> list[str]:
    """Return what to say of loads and axes without a path in the solid."""
    without = [axis for axis, spans in found["spans"].items() if not spans]
    if found["singular_loads"]:
        what = (
            f"does not span the cell along {_and(without)}"
            if without
            else f"has no path for load {_and(found['singular_loads'])}"
        )
        return [
            f"{name}: the solid {what}: stiffness is near zero there and the tensor is "
            'singular. Homogenized anyway; marked "not load bearing".'
        ]
    if without and not elsewhere:
        return [
            f"{name}: along {_and(without)} the solid meets its copy by edges and "
            "corners of voxels only, which carry load in the mesh but not in a print. "
            "If the file is a window of a material and no period of it pass "
            "`boundary=mirrored`, `mixed` or `kinematic`."
        ]
    return []


def _most(share: float) -> str:
    """Return a share of less than all as less than 100 %, with the digits it needs."""
    for digits in range(6):
        text = f"{100 * share:.{digits}f}"
        if float(text) < 100 or share == 1:
            return f"{text} %"
    return "nearly 100 %"


def _and(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _percent(share: float) -> str:
    """Return a share of less than all as less than 100 %."""
    return f"{100 * share:.0f} %" if share in (0, 1) else f"{100 * share:.2g} %"


def _short(value: float) -> str:
    """Return a small number as 3e-3."""
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
