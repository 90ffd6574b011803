"""Effective tensors as materials of finite-element programs.

Abaqus and CalculiX read `*ELASTIC, TYPE=ANISOTROPIC` with the 21 constants column by
column of the upper triangle, pairs in the order 11 22 33 12 13 23; Ansys reads
`TB,ANEL` row by row, in the order x y z xy yz xz. Shear strains are engineering ones in
all of them, as in the Voigt tensors of this package.
"""

import numpy as np

from mmdiff.typing import Float

# Where the pairs of each program stand in Voigt order 11 22 33 23 13 12.
ABAQUS = (0, 1, 2, 5, 4, 3)
ANSYS = (0, 1, 2, 5, 3, 4)


def abaqus(name: str, tensor: Float[np.ndarray, "6 6"], density: float = 0.0) -> str:
    """Return a material of Abaqus and CalculiX.

    Args:
      name: of the material; other characters than letters and digits become `_`.
      tensor: stiffness (6, 6) in Voigt order.
      density: mass per volume of the cell, void included; 0 for none.

    Example:
      >>> print(abaqus("cell", np.diag(np.arange(1.0, 7))))
      *MATERIAL, NAME=CELL
      *ELASTIC, TYPE=ANISOTROPIC
      1, 0, 2, 0, 0, 3, 0, 0
      0, 6, 0, 0, 0, 0, 5, 0
      0, 0, 0, 0, 4
      <BLANKLINE>
    """
    ordered = _symmetric(tensor)[np.ix_(ABAQUS, ABAQUS)]
    values = [ordered[i, j] for j in range(6) for i in range(j + 1)]
    rows = [values[start : start + 8] for start in (0, 8, 16)]
    lines = [f"*MATERIAL, NAME={_plain(name)}"]
    if density > 0:
        lines += ["*DENSITY", _number(density)]
    lines.append("*ELASTIC, TYPE=ANISOTROPIC")
    return "\n".join([*lines, *(", ".join(map(_number, row)) for row in rows)]) + "\n"


def ansys(
    name: str,
    tensor: Float[np.ndarray, "6 6"],
    density: float = 0.0,
    *,
    number: int = 1,
) -> str:
    """Return a material of Ansys (APDL) of this number; see `abaqus`.

    Example:
      >>> print(ansys("cell", np.diag(np.arange(1.0, 7))).splitlines()[2])
      TBDATA,1,1,0,0,0,0,0
    """
    ordered = _symmetric(tensor)[np.ix_(ANSYS, ANSYS)]
    lines, place = [f"! {_plain(name)}", f"TB,ANEL,{number},1,,0"], 1
    for i in range(6):
        row = ordered[i, i:]
        lines.append(f"TBDATA,{place}," + ",".join(map(_number, row)))
        place += len(row)
    if density > 0:
        lines.append(f"MP,DENS,{number},{_number(density)}")
    return "\n".join(lines) + "\n"


def _symmetric(tensor):
    return (tensor + tensor.T) / 2


def _number(value) -> str:
    return f"{value:.7g}"


def _plain(name) -> str:
    text = "".join(c if c.isascii() and c.isalnum() else "_" for c in name).upper()
    return text if text[:1].isalpha() else f"M{text}"
