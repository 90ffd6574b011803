"""Iterations of conjugate gradients with other preconditioners than the one we keep.

    python docs/preconditioner_study.py [edge of the octant, 16]

An experiment in SciPy with assembled matrices in float64, apart from the solver of
mmdiff and slow: it counts iterations to a relative residual of 1e-5, of the worse of
the two cubic loads, over the reference and random cells of
`mmdiff.design.bench.specimens`. Results and what follows from them stand in
docs/homogenizer.md.
"""

import sys

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from mmdiff.design.bench import specimens
from mmdiff.elasticity import NU
from mmdiff.fem import boundary, brick, element
from mmdiff.fem.homogenize import modulus
from mmdiff.fem.multigrid import DEGREES, element_dofs

LOADS = boundary.loads("cubic")
STIFFNESS = element.stiffness(NU)
POINT_BOUND = np.linalg.eigvalsh(STIFFNESS)[-1] / STIFFNESS[0, 0]


def free_dofs(n, load):
    """Mask (3 m^3,) of the free dofs of a load."""
    shape, fixed = (n, n, n), LOADS.fixed()[load]
    mask = boundary.free_mask(fixed, shape, np.float32, periodic=False)
    return np.asarray(mask, np.float64).ravel()


def assemble(stiff):
    """Stiffness matrix of moduli (n, n, n), without boundary conditions."""
    dofs = element_dofs(stiff.shape)
    values = stiff.ravel()[:, None, None] * STIFFNESS
    rows = np.repeat(dofs, 24, axis=1).ravel()
    columns = np.tile(dofs, (1, 24)).ravel()
    return sp.coo_matrix((values.ravel(), (rows, columns))).tocsr()


def right_hand_side(stiff, load):
    """Forces of the macro strain of a load."""
    n = len(stiff)
    macro = element.macro_modes(LOADS.strain)[load].reshape(3, 8)
    corners = (macro @ element.hadamard() / 8).ravel()
    force = np.zeros(3 * (n + 1) ** 3)
    values = stiff.ravel()[:, None] * (STIFFNESS @ corners)
    np.add.at(force, element_dofs(stiff.shape), values)
    return -force * free_dofs(n, load)


def trilinear(stiff):
    """Interpolation from the next coarser grid."""
    h = len(stiff) // 2
    line = sp.lil_matrix((2 * h + 1, h + 1))
    for i in range(h + 1):
        line[2 * i, i] = 1
    for i in range(h):
        line[2 * i + 1, i : i + 2] = 0.5
    return sp.kron(sp.eye(3), sp.kron(sp.kron(line, line), line)).tocsr()


def follow_modulus(power):
    """Interpolation whose weights are edge stiffnesses, the modulus to a power."""

    def interpolation(stiff):
        n = len(stiff)
        m, h = n + 1, n // 2
        padded = np.pad(stiff**power, 1, mode="edge")
        fine = np.arange(m**3).reshape(m, m, m)
        coarse = np.arange((h + 1) ** 3).reshape(h + 1, h + 1, h + 1)

        def edge_stiffness(axis):
            total = padded
            for other in {0, 1, 2} - {axis}:
                size = total.shape[other]
                total = total.take(range(size - 1), other) + total.take(
                    range(1, size), other
                )
            return total.take(range(1, n + 1), axis)

        edges = [edge_stiffness(axis) for axis in range(3)]

        def average(odd, axes):
            place = [np.arange(1 if o else 0, m, 2) for o in odd]
            here = fine[np.ix_(*place)].ravel()
            terms = []
            for axis in axes:
                for side in (-1, 1):
                    neighbour, link = list(place), list(place)
                    neighbour[axis] = place[axis] + side
                    link[axis] = place[axis] - (side < 0)
                    weight = edges[axis][np.ix_(*link)].ravel()
                    terms.append((fine[np.ix_(*neighbour)].ravel(), weight))
            total = sum(weight for _, weight in terms)
            rows = np.tile(here, len(terms))
            columns = np.concatenate([c for c, _ in terms])
            values = np.concatenate([w / total for _, w in terms])
            return sp.coo_matrix((values, (rows, columns)), (m**3, m**3)).tocsr()

        index = (fine[::2, ::2, ::2].ravel(), coarse.ravel())
        nodes = sp.coo_matrix((np.ones(coarse.size), index), (m**3, coarse.size))
        unit = np.eye(3, dtype=int)
        # Edges from corners, faces from edges, centres from faces.
        nodes = nodes + sum(average(unit[a], [a]) for a in range(3)) @ nodes
        faces = (average(1 - unit[a], sorted({0, 1, 2} - {a})) for a in range(3))
        nodes = nodes + sum(faces) @ nodes
        nodes = nodes + average((1, 1, 1), range(3)) @ nodes
        return sp.kron(sp.eye(3), nodes).tocsr()

    return interpolation


class Multigrid:
    """A V- or W-cycle for one load."""

    def __init__(
        self,
        stiff,
        load,
        *,
        blocks=True,
        degrees=DEGREES,
        galerkin=False,
        interpolation=trilinear,
        power=1.0,
        coarsest=4,
        visits=1,
    ):
        """Set up all levels for moduli (n, n, n) and a load."""
        self.levels, self.degrees, self.visits = [], degrees, visits
        matrix = None
        while True:
            n = len(stiff)
            mask = sp.diags(free_dofs(n, load))
            if matrix is None:
                matrix = assemble(stiff)
            system = (mask @ matrix @ mask + sp.eye(matrix.shape[0]) - mask).tocsr()
            scale, self.bound = _scaling(system, blocks)
            level = {"matrix": system, "scale": scale}
            self.levels.append(level)
            if n <= coarsest:
                break
            coarse_mask = sp.diags(free_dofs(n // 2, load))
            level["up"] = (mask @ interpolation(stiff) @ coarse_mask).tocsr()
            matrix = level["up"].T @ matrix @ level["up"] if galerkin else None
            h = n // 2
            blocks_of_8 = stiff.reshape(h, 2, h, 2, h, 2) ** power
            stiff = 2 * blocks_of_8.mean((1, 3, 5)) ** (1 / power)
        self.exact = spla.splu(system.tocsc()).solve

    def smooth(self, level, b, x, degree):
        """Fourth-kind Chebyshev iteration from x."""
        z = 0
        for k in range(1, degree + 1):
            step = level["scale"] @ (b - level["matrix"] @ x)
            force = (8 * k - 4) / (2 * k + 1) / self.bound
            z = (2 * k - 3) / (2 * k + 1) * z + force * step
            x = x + z
        return x

    def __call__(self, b, i=0):
        """Return the approximate solution."""
        if i == len(self.levels) - 1:
            return self.exact(b)
        level, degree = self.levels[i], self.degrees[min(i, 1)]
        x = self.smooth(level, b, np.zeros_like(b), degree)
        for _ in range(self.visits if i else 1):
            residual = b - level["matrix"] @ x
            x = x + level["up"] @ self(level["up"].T @ residual, i + 1)
            x = self.smooth(level, b, x, degree)
        return x


def _scaling(system, blocks):
    if not blocks:
        return sp.diags(1 / system.diagonal()), POINT_BOUND
    m = system.shape[0] // 3
    parts = [slice(c * m, (c + 1) * m) for c in range(3)]
    block = np.array([[system[a, b].diagonal() for b in parts] for a in parts])
    inverse = np.linalg.inv(block.transpose(2, 0, 1))
    scale = [[sp.diags(inverse[:, a, b]) for b in range(3)] for a in range(3)]
    return sp.bmat(scale).tocsr(), brick.spectrum_bound(brick.Brick())


def iterations(matrix, precondition, b, tol=1e-5, most=300):
    """Count conjugate-gradient iterations."""
    r, p, rho = b.copy(), 0, 1.0
    for count in range(1, most + 1):
        z = precondition(r)
        p = z + (r @ z / rho if count > 1 else 0) * p
        rho = r @ z
        q = matrix @ p
        r = r - rho / (p @ q) * q
        if np.linalg.norm(r) <= tol * np.linalg.norm(b):
            break
    return count


VARIANTS = {
    "point Jacobi, degrees (2, 2)": {"blocks": False, "degrees": (2, 2)},
    "point Jacobi, degrees (2, 6)": {"blocks": False, "degrees": (2, 6)},
    "block Jacobi, degrees (2, 2)": {"degrees": (2, 2)},
    "block Jacobi, degrees (2, 4)": {"degrees": (2, 4)},
    "block Jacobi, degrees (2, 6): kept": {},
    "block Jacobi, degrees (3, 6)": {"degrees": (3, 6)},
    "block Jacobi, degrees (4, 6)": {"degrees": (4, 6)},
    "W-cycle": {"visits": 2},
    "coarse problem solved exactly": {"coarsest": None},
    "coarse moduli mean(E^0.5)^2": {"power": 0.5},
    "Galerkin, trilinear": {"galerkin": True},
    "Galerkin, weights E^0.5": {
        "galerkin": True,
        "interpolation": follow_modulus(0.5),
    },
    "Galerkin, weights E": {"galerkin": True, "interpolation": follow_modulus(1.0)},
    "rediscretized, weights E^0.5": {"interpolation": follow_modulus(0.5)},
}


def main():
    """Print a table of the variants."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    cells = specimens.specimens(n)
    print(f"{2 * n}^3 cells: {', '.join(cells)}")
    print(f"{'':37s} median  90 %   max  reference")
    for name, options in VARIANTS.items():
        if "coarsest" in options:
            options = {"coarsest": n // 2}
        counts = []
        for density in cells.values():
            stiff = modulus(density)
            counts.append(
                max(
                    iterations(cycle.levels[0]["matrix"], cycle, b)
                    for cycle, b in (
                        (
                            Multigrid(stiff, load, **options),
                            right_hand_side(stiff, load),
                        )
                        for load in (0, 1)
                    )
                )
            )
        print(
            f"{name:37s} {np.median(counts):6.0f} {np.percentile(counts, 90):5.0f} "
            f"{max(counts):5d}  {counts[:3]}",
            flush=True,
        )


if __name__ == "__main__":
    main()
