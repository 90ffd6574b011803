"""Elastic constants of smooth cells by body-fitted quadratic tetrahedra, and by grids.

    python docs/reference_surfaces.py [--sizes 24 32] [cell ...]     tetrahedra
    python docs/reference_surfaces.py --grids 64 128 --penals 1 1.25 [cell ...]

Needs the extra `oracle` (scikit-fem). Half of the octant, y >= z, is cut out of a
regular mesh of Kuhn's tetrahedra along the zero set of the field: vertices near it are
moved onto it, the other tetrahedra that it crosses are split, and the middles of edges
on it are projected onto it, so that faces are curved. Those on mirrors stay flat.
Displacements are quadratic (isoparametric), and the void is left out. Results go to
tests/reference_surfaces/tensors.json, one by one; what is there is kept.
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
from mmdiff.fem import boundary, element, homogenize

ROOT = Path(__file__).resolve().parent.parent / "tests" / "reference_surfaces"
SIZES = 24, 32  # Kuhn's cubes along the octant, coarse and fine
# Of an edge: vertices nearer to the surface than this are moved onto it; if that turns
# the mesh inside out, as in thin parts, the next share is tried.
SNAP = 0.3, 0.15, 0.05
EXACT = 1e-9  # cell edges: points nearer to a mirror are on it
CHUNK = 8000  # elements assembled at a time
# The corners of Kuhn's six tetrahedra, each a path along the axes from 000 to 111.
PATHS = [(0, a, a | b, 7) for a in (1, 2, 4) for b in (1, 2, 4) if a != b]


def load_cell(name: str) -> np.ndarray:
    """Return the field of a cell of the set, float64."""
    record = json.loads((ROOT / "cells.json").read_text())[name]
    if "lattice" in record:
        return lattices.lattice(record["lattice"], record["volume"])
    with np.load(ROOT / "fields.npz") as stored:
        return spread(stored[name] / 4096, 32)


def project(psi, points, box):
    """Move points (p, 3) onto the zero set along the slope; return who got there."""
    points = points.copy()
    for _ in range(10):
        value, slope = surface.at_points(psi, points)
        if (abs(value) < 1e-10).all():
            break
        step = (value / np.maximum((slope**2).sum(1), 1e-3))[:, None] * slope
        length = np.linalg.norm(step, axis=1, keepdims=True)
        step *= np.minimum(1, 0.5 / np.maximum(length, 1e-9))
        points = (points - step).clip(*box)
    return points, abs(value) < 1e-8


def cut_mesh(psi, m, snap):
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
    tets = tets[(points[tets, 1] >= points[tets, 2]).all(1)]
    tets = tets[(value[tets] > 0).any(1) | (abs(value[tets]) < 0.6 * n / m).any(1)]
    pairs = [tets[:, [i, j]] for i in range(4) for j in range(i)]
    edges = np.unique(np.concatenate(pairs), axis=0)
    crossed = edges[value[edges].prod(1) < 0]
    share = abs(value[crossed]) / abs(value[crossed]).sum(1, keepdims=True)
    near = np.unique(crossed[share < snap])
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
    for snap in SNAP:
        mesh = _curved(psi, *cut_mesh(psi, m, snap))
        if mesh is not None:
            return mesh
    raise RuntimeError("the mesh turns inside out; refine.")


def _curved(psi, points, tets, on_surface):
    """Return the curved mesh; None if it turns inside out."""
    from skfem import MeshTet, MeshTet2

    n = psi.shape[-1]
    flat = MeshTet(np.ascontiguousarray(points.T), tets)
    faces = flat.boundary_facets()
    corners = flat.facets[:, faces]
    ends = on_mirrors((points + 0.5) / (2 * n))[corners].all(0)
    free = ~ends.any(-1)
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
    for _ in range(20):  # flatten what would turn inside out
        curved = MeshTet2((places + 0.5) / (2 * n), flat.t)
        bad = _turned(curved)
        if not bad.any():
            return curved
        back = np.unique(curved.dofs.element_dofs[4:, bad])
        places[:, back] += 0.2 * (straight - places)[:, back]
    return None


def on_mirrors(places):
    """Return which points (p, 3), in cell edges, are on each of the seven mirrors."""
    diagonal = abs(places[:, 1] - places[:, 2])[:, None] < EXACT
    return np.concatenate([places < EXACT, places > 0.5 - EXACT, diagonal], 1)


def _turned(mesh):
    """Return which elements have a Jacobian that changes its sign or nearly does."""
    ends = np.eye(4)
    middles = [(ends[i] + ends[j]) / 2 for i in range(4) for j in range(i)]
    local = np.stack([*ends, *middles, ends.mean(0)])[:, 1:]
    det = mesh.mapping().detDF(local.T)
    return det.min(1) * det.max(1) <= 0.01 * abs(det).max(1) ** 2


def solve(mesh):
    """Return C11, C12, C44 for E = 1, and the solid volume, of half an octant's mesh.

    Loads 11 and 23 do not change where y and z are exchanged, and so do their fields:
    on y = z the components y and z are one.
    """
    from skfem import Basis, ElementTetP2

    basis = Basis(mesh, ElementTetP2(), intorder=4)
    tensor = element.stiffness_tensor(NU)
    mirrors = on_mirrors(basis.doflocs.T)
    own = np.arange(3 * basis.N).reshape(-1, 3)
    number = own.copy()
    number[mirrors[:, 6], 2] = number[mirrors[:, 6], 1]
    stiffness, mean_strain = _assemble(basis, tensor, number)
    linear = _from_vertices(mesh, number)  # a coarse space of continuous fields
    loads = boundary.loads("cubic")
    stress, volume = [], basis.dx.sum()
    for strain, fixed in zip(loads.strain, loads.fixed(), strict=True):
        held = number != own
        for c, axis in np.argwhere(fixed):
            held[mirrors[:, axis] | mirrors[:, 3 + axis], c] = True
        force = -mean_strain.T @ (tensor @ strain)
        field = _conjugate_gradients(stiffness, force, ~held.ravel(), linear)
        stress.append(16 * tensor @ (volume * strain + mean_strain @ field))
    normal, shear = stress
    constants = [normal[0], (normal[1] + normal[2]) / 2, shear[3]]
    return [float(value) for value in constants], float(16 * volume)


def _assemble(basis, tensor, number):
    """Return the stiffness matrix, and the integral of the strain of a field (6, d).

    The number (node, component) says which entry of a field a component is.
    """
    select = np.zeros((6, 3, 3))  # strain v of the slope d of component c
    for v, (i, j) in enumerate(element.VOIGT):
        select[v, i, j] = select[v, j, i] = 1
    size, slopes = 3 * basis.N, [basis.basis[i][0].grad for i in range(10)]
    total, mean = sparse.csr_array((size, size)), np.zeros((6, size))
    for start in range(0, len(basis.dx), CHUNK):
        part = slice(start, start + CHUNK)
        slope = np.stack([each[:, part] for each in slopes])  # (10, d, t, q)
        strain = np.einsum("vcd,idtq->tqvic", select, slope, optimize=True)
        strain = strain.reshape(*strain.shape[:3], 30)
        weighted = strain * basis.dx[part][:, :, None, None]
        dofs = number[basis.element_dofs[:, part].T].reshape(-1, 30).astype(np.int32)
        for v in range(6):
            np.add.at(mean[v], dofs, weighted[:, :, v].sum(1))
        stress = (tensor @ weighted).reshape(len(dofs), -1, 30)
        local = strain.reshape(len(dofs), -1, 30).swapaxes(1, 2) @ stress
        rows = np.broadcast_to(dofs[:, :, None], local.shape).ravel()
        columns = np.broadcast_to(dofs[:, None], local.shape).ravel()
        total += sparse.csr_array((local.ravel(), (rows, columns)), shape=total.shape)
    return total, mean


def _from_vertices(mesh, number):
    """Return the matrix from linear to quadratic fields of three components."""
    vertices, edges = mesh.dofs.nodal_dofs[0], mesh.dofs.edge_dofs[0]
    rows = np.concatenate([vertices, edges, edges])
    columns = vertices[np.concatenate([np.arange(len(vertices)), *mesh.edges])]
    entries = np.repeat([1.0, 0.5], [len(vertices), 2 * len(edges)])
    one = sparse.csr_array((entries, (rows, columns)), shape=2 * (len(number),))
    own = np.arange(number.size)
    merge = sparse.csr_array((np.ones(number.size), (own, number.ravel())))
    return sparse.csr_array(sparse.kron(one, sparse.eye_array(3)) @ merge)


def _conjugate_gradients(matrix, force, free, linear, tol=1e-8):
    """Solve on the free entries; linear elements are the coarse grid."""
    matrix = matrix[free][:, free]
    linear = linear[free]
    linear = linear[:, np.diff(linear.tocsc().indptr) > 0]
    coarse = sparse.csc_array(linear.T @ matrix @ linear)
    coarse += 1e-10 * sparse.diags_array(coarse.diagonal())
    factors = linalg.splu(
        coarse,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    inverse = 1 / matrix.diagonal()

    def precondition(r):
        return inverse * r + linear @ factors.solve(linear.T @ r)

    operator = linalg.LinearOperator(matrix.shape, precondition)
    x, info = linalg.cg(matrix, force[free], rtol=tol, maxiter=3000, M=operator)
    if info:
        raise RuntimeError("conjugate gradients did not converge.")
    field = np.zeros(len(free))
    field[free] = x
    return field


def by_tetrahedra(psi, m):
    """Return size, number of tetrahedra, volume and constants of one mesh."""
    mesh = curved_mesh(psi, m)
    constants, volume = solve(mesh)
    return {"m": m, "tets": mesh.t.shape[1], "volume": volume, "C": constants}


def limit(meshes):
    """Return the constants of no mesh size and their estimated error.

    The limit, from the coarsest and the finest mesh, is that of errors in h^3; the
    error is what it adds to the finest, which holds limits of all orders from two on.
    """
    coarse, *_, fine = sorted(meshes, key=lambda mesh: mesh["m"])
    change = np.subtract(fine["C"], coarse["C"])
    change /= (fine["m"] / coarse["m"]) ** 3 - 1
    return {"C": (fine["C"] + change).tolist(), "error": abs(change).tolist()}


_SOLVERS = {}


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


def grid_key(edge, penal=1.0):
    """Return the name of a grid's record: elements along the cell, and the exponent."""
    return f"{edge}" + (f" p={penal:g}" if penal != 1 else "")


def main(names=(), sizes=SIZES, grids=(), penals=(1.0,)):
    """Add to tensors.json what is missing of the cells."""
    path = ROOT / "tensors.json"
    tasks = [(grid_key(edge, p), edge // 2, p) for edge in grids for p in penals]
    tasks = tasks or [("tets", m, None) for m in sizes]
    for name in names or json.loads((ROOT / "cells.json").read_text()):
        psi = load_cell(name)
        for key, m, penal in tasks:
            stored = json.loads(path.read_text()) if path.exists() else {}
            record = stored.setdefault(name, {"grids": {}, "tets": []})
            have = record["grids"] if penal else [mesh["m"] for mesh in record["tets"]]
            if (key if penal else m) in have:
                continue
            start = time.time()
            found = by_grid(psi, m, penal) if penal else by_tetrahedra(psi, m)
            print(f"{name}, {key} {m}: {time.time() - start:.0f} s", flush=True)
            # What another process has added meanwhile stays.
            stored = json.loads(path.read_text()) if path.exists() else {}
            record = stored.setdefault(name, {"grids": {}, "tets": []})
            if penal:
                record["grids"][key] = found
            else:
                record["tets"].append(found)
                if len(record["tets"]) > 1:
                    record |= limit(record["tets"])
            path.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", nargs="*", help="names; all if none is given")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="meshes")
    parser.add_argument("--grids", type=int, nargs="*", default=[], help="cell's edges")
    parser.add_argument("--penals", type=float, nargs="*", default=[1.0])
    given = parser.parse_args()
    main(given.cells, given.sizes, given.grids, given.penals)
