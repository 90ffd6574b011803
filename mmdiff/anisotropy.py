"""What textbooks derive from any 6x6 tensor, cubic or not: averages and constants.

Voigt order 11 22 33 23 13 12 with engineering shear. The inverse is that of
`elasticity.compliance`, which stays finite for cells that do not carry a load.
"""

import numpy as np

from mmdiff import elasticity
from mmdiff.typing import Float

VOIGT = ("11", "22", "33", "23", "13", "12")


def averages(tensor: Float[np.ndarray, "6 6"]) -> dict:
    """Return the Voigt, Reuss and Hill averages of a tensor over all orientations.

    Each as K, G, E and nu of the isotropic average, and the universal anisotropy index
    (Ranganathan & Ostoja-Starzewski, Phys. Rev. Lett. 101 (2008) 055504), 0 for an
    isotropic tensor.
    """
    s = elasticity.compliance(tensor)

    def sums(a):
        diagonal = np.trace(a[:3, :3])
        return diagonal, (a[:3, :3].sum() - diagonal) / 2, np.trace(a[3:, 3:])

    (c1, c2, c3), (s1, s2, s3) = sums(tensor), sums(s)
    bulk, shear = {}, {}
    bulk["Voigt"], shear["Voigt"] = (c1 + 2 * c2) / 9, (c1 - c2 + 3 * c3) / 15
    bulk["Reuss"], shear["Reuss"] = 1 / (s1 + 2 * s2), 15 / (4 * (s1 - s2) + 3 * s3)
    for modulus in (bulk, shear):
        modulus["Hill"] = (modulus["Voigt"] + modulus["Reuss"]) / 2
    found = {}
    for name, k in bulk.items():
        g = shear[name]
        young, nu = 9 * k * g / (3 * k + g), (3 * k - 2 * g) / (2 * (3 * k + g))
        found[name] = {"K": float(k), "G": float(g), "E": float(young), "nu": float(nu)}
    ratios = [m["Voigt"] / m["Reuss"] for m in (bulk, shear)]
    index = float(ratios[0] + 5 * ratios[1] - 6)
    return {"averages": found, "universal_anisotropy": index}


def engineering(tensor: Float[np.ndarray, "6 6"]) -> dict[str, float]:
    """Return Young's moduli, shear moduli and Poisson's ratios along the axes."""
    s = elasticity.compliance(tensor)
    normal, shear = VOIGT[:3], VOIGT[3:]
    return {
        **{f"E_{pair}": float(1 / s[i, i]) for i, pair in enumerate(normal)},
        **{f"G_{pair}": float(1 / s[i, i]) for i, pair in enumerate(shear, 3)},
        **{
            f"nu_{i + 1}{j + 1}": float(-s[j, i] / s[i, i])
            for i in range(3)
            for j in range(3)
            if i != j
        },
    }


def inverse(tensor: Float[np.ndarray, "6 6"]) -> list[list[float]] | None:
    """Return the compliance matrix, or None where the tensor has none."""
    values = np.linalg.eigvalsh(tensor)
    # Below this `elasticity.compliance` stops inverting.
    regular = values[0] > 1e-12 * values[-1]
    return elasticity.compliance(tensor).tolist() if regular else None
