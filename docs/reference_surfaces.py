"""Elastic constants of smooth cells by body-fitted quadratic tetrahedra, and by grids.

    python docs/reference_surfaces.py [cell ...]         tetrahedra, two meshes
    python docs/reference_surfaces.py --grids 64 [cell ...]

Needs the extra `oracle` (scikit-fem). The octant is cut out of a regular mesh of
Kuhn's tetrahedra along the zero set of the field: vertices near it are moved onto it,
the other tetrahedra that it crosses are split, and the middles of edges on it are
projected onto it, so that faces are curved. The faces of the octant stay flat, as the
mirrors ask. Displacements are quadratic (isoparametric), the void is left out, and the
constants are an upper bound but for what the curved faces miss. Results go to
tests/reference_surfaces/tensors.json, cell by cell; what is there is kept.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from mmdiff.cells import lattices, surface
from mmdiff.cells.symmetry import spread
from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.fem import boundary, homogenize

ROOT = Path(__file__).resolve().parent.parent / "tests" / "reference_surfaces"
SIZES = 24, 32  # Kuhn's cubes along the octant, coarse and fine
SNAP = 0.3  # of an edge: vertices nearer to the surface than this are moved onto it
# The corners of Kuhn's six tetrahedra, each a path along the axes from 000 to 111.
PATHS = [(0, a, a | b, 7) for a in (1, 2, 4) for b in (1, 2, 4) if a != b]
LAME = NU / ((1 + NU) * (1 - 2 * NU)), 1 / (2 * (1 + NU))


def load_cell(name: str) -> np.ndarray:
    """Return the field of a cell of the set, float64."""
    record = json.loads((ROOT / "cells.json").read_text())[name]
    if "lattice" in record:
        return lattices.lattice(record["lattice"], record["volume"])
    with np.load(ROOT / "fields.npz") as stored:
        return spread(stored[name] / 4096, 32)


def project(psi, points, box):
    """Move points (p, 3) onto the zero set along the slope, inside the box."""
    points = points.copy()
    for _ in range(8):
        value, slope = surface.at_points(psi, points)
        step = (value / np.maximum((slope**2).sum(1), 1e-3))[:, None] * slope
        step *= np.minimum(1, 0.5 / np.maximum(np.linalg.norm(step, axis=1), 1e-9))[
            :, None
        ]
        points = (points - step).clip(*box)
    return points, abs(surface.at_points(psi, points)[0]) < 1e-8


def octant_mesh(psi, m):
    """Return vertices (v, 3) in spacings, tetrahedra (4, t), and who is on psi = 0."""
    n = psi.shape[-1]
    box = -0.5, n - 0.5
    line = np.array(surface.corners(n, m))
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    value = surface.sample(psi, tuple(line)).ravel()
    place = np.arange((m + 1) ** 3).reshape(3 * (m + 1,))
    corner = [
        place[x : m + x, y : m + y, z : m + z].ravel()
        for x, y, z in np.ndindex(2, 2, 2)
    ]
    tets = np.concatenate([np.stack([corner[c] for c in tet], 1) for tet in PATHS])
    tets = tets[(value[tets] > 0).any(1) | (abs(value[tets]) < 0.6 * n / m).any(1)]
    edges = np.unique(
        np.concatenate([tets[:, [i, j]] for i in range(4) for j in range(i)]), axis=0
    )
    crossed = edges[value[edges].prod(1) < 0]
    share = abs(value[crossed]) / abs(value[crossed]).sum(1, keepdims=True)
    near = np.unique(crossed[share < SNAP])
    moved, done = project(psi, points[near], box)
    done &= np.linalg.norm(moved - points[near], axis=1) < 0.45 * n / m
    points[near[done]] = moved[done]
    value[near[done]] = 0
    return _cut(psi, points, value, tets, box)


def _cut(psi, points, value, tets, box):
    """Keep what lies on the positive side; diagonals start at the lower vertex."""
    sign = np.sign(value).astype(int)[tets]
    order = np.lexsort((tets, -sign), axis=1)  # solid first, then by number
    a, b, c, d = tets = np.take_along_axis(tets, order, 1).T
    solid, void = (sign > 0).sum(1), (sign < 0).sum(1)
    size = len(points)
    pairs = np.concatenate([tets[[i, j]] for j in range(4) for i in range(j)], 1)
    pairs = pairs[:, (value[pairs[0]] > 0) & (value[pairs[1]] < 0)]
    keys = np.unique(pairs[0] * size + pairs[1])

    def on(i, j):
        return size + np.searchsorted(keys, i * size + j)

    ab, ac, ad, bc, bd, cd = on(a, b), on(a, c), on(a, d), on(b, c), on(b, d), on(c, d)
    cases = {  # number of solid and void vertices: what is kept
        (1, 3): [(a, ab, ac, ad)],
        (1, 2): [(a, b, ac, ad)],
        (1, 1): [(a, b, c, ad)],
        (2, 2): _prism((a, ac, ad), (b, bc, bd)),
        (2, 1): [(a, b, c, bd), (a, c, ad, bd)],
        (3, 1): _prism((a, b, c), (ad, bd, cd)),
    }
    pieces = [tets[:, (void == 0) & (solid > 0)]]
    for (s, v), parts in cases.items():
        rows = (solid == s) & (void == v)
        pieces += [np.stack(part)[:, rows] for part in parts]
    i, j = np.divmod(keys, size)
    share = (value[i] / (value[i] - value[j]))[:, None]
    new, done = project(psi, points[i] + share * (points[j] - points[i]), box)
    if not done.all():
        raise RuntimeError(f"{(~done).sum()} cuts do not reach the surface; refine.")
    points = np.concatenate([points, new])
    on_surface = np.concatenate([value == 0, np.ones(len(new), bool)])
    kept, tets = np.unique(np.concatenate(pieces, 1), return_inverse=True)
    return points[kept], tets.reshape(4, -1), on_surface[kept]


def _prism(low, high):
    """Return three tetrahedra of a prism, diagonals from the lower to the upper one."""
    return [(low[0], *high), (*low[:2], *high[1:]), (*low, high[2])]


def curved_mesh(psi, m):
    """Return the mesh (scikit-fem, in cell edges), with curved faces on the surface."""
    from skfem import MeshTet, MeshTet2

    n = psi.shape[-1]
    points, tets, on_surface = octant_mesh(psi, m)
    flat = MeshTet(points.T, tets)
    faces = flat.boundary_facets()
    corners = flat.facets[
        :, faces
    ]  # a face of the octant: all three have left one side
    sides = [points[corners] < -0.5 + 1e-9, points[corners] > n - 0.5 - 1e-9]
    free = ~(sides[0].all(0) | sides[1].all(0)).any(-1)
    edges = np.unique(flat.f2e[:, faces[free & on_surface[corners].all(0)]])
    ends = points[flat.edges[:, edges]]
    middles = ends.mean(0)
    moved, done = project(psi, middles, (-0.5, n - 0.5))
    length = np.linalg.norm(ends[0] - ends[1], axis=1)
    done &= np.linalg.norm(moved - middles, axis=1) < 0.2 * length
    curved = MeshTet2.from_mesh(flat)
    straight = curved.doflocs.copy()
    places = straight.copy()
    places[:, curved.dofs.edge_dofs[0, edges[done]]] = moved[done].T
    for _ in range(5):  # straighten what would turn inside out
        curved = MeshTet2((places + 0.5) / (2 * n), flat.t)
        bad = _turned(curved)
        if not bad.any():
            break
        back = np.unique(curved.dofs.element_dofs[4:, bad])
        places[:, back] = straight[:, back]
    return curved


def _turned(mesh):
    """Return which elements have a Jacobian that changes its sign or nearly does."""
    ends = np.eye(4)
    middles = [(ends[i] + ends[j]) / 2 for i in range(4) for j in range(i)]
    local = np.stack([*ends, *middles, ends.mean(0)])[:, 1:]
    det = mesh.mapping().detDF(local.T)
    return det.min(1) * det.max(1) <= 0.01 * abs(det).max(1) ** 2


def solve(mesh):
    """Return C11, C12, C44 for E = 1, and the solid volume, of an octant's mesh."""
    from skfem import Basis, ElementTetP2

    basis = Basis(mesh, ElementTetP2(), intorder=4)
    dofs, weight = basis.element_dofs, basis.dx  # (10, t), (t, q)
    slope = np.stack([basis.basis[i][0].grad for i in range(10)])  # (10, 3, t, q)
    stiffness = _assemble(slope, weight, dofs, basis.N)
    # The middles of straight edges interpolate linear fields: a coarse space.
    linear = _from_vertices(mesh, basis.N)
    loads = boundary.loads("cubic")
    values = []
    for load, strain in enumerate(_STRAINS):
        fixed = np.zeros((basis.N, 3), bool)
        for c, axis in np.argwhere(loads.fixed()[load]):
            place = basis.doflocs[axis]
            fixed[(place < 1e-9) | (place > 0.5 - 1e-9), c] = True
        stress = LAME[0] * np.trace(strain) * np.eye(3) + 2 * LAME[1] * strain
        force = np.zeros((basis.N, 3))
        np.add.at(force, dofs, np.einsum("iatq,ab,tq->itb", slope, stress, weight))
        field = _conjugate_gradients(stiffness, -force.ravel(), ~fixed.ravel(), spread)
        gradient = np.einsum("itc,iatq->catq", field.reshape(-1, 3)[dofs], slope)
        mean = np.einsum("catq,tq->ca", gradient, weight) * 8
        mean = (mean + mean.T) / 2 + strain * weight.sum() * 8
        values.append(LAME[0] * np.trace(mean) * np.eye(3) + 2 * LAME[1] * mean)
    normal, shear = values
    c12 = (normal[1, 1] + normal[2, 2]) / 2
    return [normal[0, 0], c12, shear[1, 2]], float(weight.sum() * 8)


# Of the loads 11 and 23 of `boundary.loads("cubic")`, engineering shear.
_STRAINS = np.zeros((2, 3, 3))
_STRAINS[0, 0, 0] = 1
_STRAINS[1, 1, 2] = _STRAINS[1, 2, 1] = 0.5


def _assemble(slope, weight, dofs, size):
    """Return the stiffness matrix, degrees of freedom node by node."""
    total = sparse.csr_array((3 * size, 3 * size))
    for part in np.array_split(np.arange(len(weight)), len(weight) // 20000 + 1):
        g = np.moveaxis(slope[:, :, part], 2, 0)  # (t, 10, 3, q)
        product = np.einsum("tiaq,tjbq,tq->tiajb", g, g, weight[part], optimize=True)
        inner = product.trace(axis1=2, axis2=4)
        local = LAME[0] * product + LAME[1] * product.swapaxes(2, 4)
        local += LAME[1] * np.einsum("tij,ab->tiajb", inner, np.eye(3))
        index = (3 * dofs[:, part].T[:, :, None] + np.arange(3)).reshape(len(part), 30)
        rows = np.broadcast_to(index[:, :, None], (len(part), 30, 30)).ravel()
        columns = np.broadcast_to(index[:, None], (len(part), 30, 30)).ravel()
        total += sparse.csr_array((local.ravel(), (rows, columns)), shape=total.shape)
    return total


def _from_vertices(mesh, size):
    """Return the matrix from linear to quadratic fields of three components."""
    vertices, edges = mesh.dofs.nodal_dofs[0], mesh.dofs.edge_dofs[0]
    ends = mesh.edges
    rows = np.concatenate([vertices, edges, edges])
    columns = np.concatenate([np.arange(len(vertices)), ends[0], ends[1]])
    entries = np.repeat([1.0, 0.5], [len(vertices), 2 * len(edges)])
    one = sparse.csr_array((entries, (rows, columns)), shape=(size, len(vertices)))
    return sparse.csr_array(sparse.kron(one, sparse.eye_array(3)))


def _conjugate_gradients(matrix, force, free, spread, tol=1e-8):
    """Solve on the free entries; linear elements are the coarse grid."""
    matrix = matrix[free][:, free]
    spread = spread[free]
    spread = spread[:, np.diff(spread.tocsc().indptr) > 0]
    held = sparse.csc_array(spread.T @ matrix @ spread)
    held += 1e-10 * sparse.diags_array(held.diagonal())
    factors = linalg.splu(
        held,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    inverse = 1 / matrix.diagonal()

    def precondition(r):
        return inverse * r + spread @ factors.solve(spread.T @ r)

    x, info = linalg.cg(
        matrix,
        force[free],
        rtol=tol,
        maxiter=3000,
        M=linalg.LinearOperator(matrix.shape, precondition),
    )
    if info:
        raise RuntimeError("conjugate gradients did not converge.")
    full = np.zeros(len(free))
    full[free] = x
    return full


def by_tetrahedra(psi, sizes=SIZES):
    """Return the record of a cell: both meshes, the limit and its estimated error.

    The limit is that of errors in h^3; the error is what it adds to the finer mesh,
    which holds the limits of all orders from two on.
    """
    record = []
    for m in sizes:
        mesh = curved_mesh(psi, m)
        constants, volume = solve(mesh)
        record.append(
            {"m": m, "tets": mesh.t.shape[1], "volume": volume, "C": constants}
        )
    coarse, fine = (np.array(part["C"]) for part in record[-2:])
    change = (fine - coarse) / ((sizes[-1] / sizes[-2]) ** 3 - 1)
    limit = {"C": (fine + change).tolist(), "error": abs(change).tolist()}
    return limit | {"tets": record}


def by_grid(psi, m, penal=1.0):
    """Return C11, C12, C44 of a regular grid with moduli by volume fractions."""
    import jax

    if m not in _SOLVERS:
        _SOLVERS[m] = jax.jit(homogenize.make_solver(m))
    share = surface.fractions(psi, m)
    stiff = homogenize.modulus(share, penal=penal).astype(np.float32)
    tensor, info = _SOLVERS[m](stiff, void=homogenize.VOID)
    if not info.converged.all():
        raise RuntimeError(f"the grid of {m} did not converge.")
    return voigt_to_cubic(np.asarray(tensor, np.float64)).tolist()


_SOLVERS = {}


def main(names, grids=(), penals=(1.0,)):
    """Add to tensors.json what is missing of the cells."""
    path = ROOT / "tensors.json"
    for name in names or json.loads((ROOT / "cells.json").read_text()):
        psi = load_cell(name)
        tasks = (
            {"tets": None}
            if not grids
            else {
                f"{2 * m}" + (f" p={p:g}" if p != 1 else ""): (m, p)
                for m in grids
                for p in penals
            }
        )
        for key, task in tasks.items():
            stored = json.loads(path.read_text()) if path.exists() else {}
            record = stored.get(name, {"volume": surface.volume(psi), "grids": {}})
            if key in record or key in record["grids"]:
                continue
            start = time.time()
            if task is None:
                record |= by_tetrahedra(psi)
            else:
                record["grids"][key] = by_grid(psi, *task)
            print(f"{name}, {key}: {time.time() - start:.0f} s", flush=True)
            now = json.loads(path.read_text()) if path.exists() else {}
            have = now.get(name, {"grids": {}})
            record["grids"] = have["grids"] | record["grids"]
            stored = now | {name: have | record}
            path.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", nargs="*", help="names; all if none is given")
    parser.add_argument("--grids", type=int, nargs="*", default=[], help="octant edges")
    parser.add_argument("--penals", type=float, nargs="*", default=[1.0])
    given = parser.parse_args()
    main(given.cells, given.grids, given.penals)
