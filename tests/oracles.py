"""Slow and simple answers to compare with: assembled finite elements.

Those of boxes share nothing with the code that is tested: element matrices come from
exact integrals of products of linear functions, dofs are numbered component, x, y, z.
"""

import functools
import itertools

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from mmdiff.fem import element

# Voigt number of each pair of axes.
VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


def dense_periodic(modulus, nu=0.3):
    """Return the 6x6 tensor of a periodic cell (n, n, n) by one dense solve.

    Independent of the matrix-free code: corner-wise assembly from the 24x24 element
    matrix, node 0 pinned, nodal forces from the element stresses of the macro strain.
    """
    n = modulus.shape[0]
    stiffness = element.stiffness(nu)
    size = 3 * n**3
    matrix, load = np.zeros((size, size)), np.zeros((size, 6))
    macro = _macro_displacement()
    total = np.zeros((6, 6))
    for cell in itertools.product(range(n), repeat=3):
        e = modulus[cell]
        nodes = [
            np.ravel_multi_index((np.array(cell) + corner) % n, (n, n, n))
            for corner in element.CORNERS
        ]
        dofs = np.concatenate([c * n**3 + np.array(nodes) for c in range(3)])
        matrix[np.ix_(dofs, dofs)] += e * stiffness
        load[dofs] -= e * stiffness @ macro
        total += e * macro.T @ stiffness @ macro
    free = np.setdiff1d(np.arange(size), [0, n**3, 2 * n**3])
    x = np.zeros((size, 6))
    x[free] = np.linalg.solve(matrix[np.ix_(free, free)], load[free])
    # C = (macro + x)^T K (macro + x) / V, with K x = load.
    return (total - x.T @ load) / n**3


def _macro_displacement():
    """Corner displacements (24, 6) of the six unit macro strains on a unit element."""
    corners = np.array(element.CORNERS, float)
    out = np.zeros((3, 8, 6))
    for load, (i, j) in enumerate(element.VOIGT):
        gradient = np.zeros((3, 3))
        gradient[i, j] += 0.5
        gradient[j, i] += 0.5
        out[:, :, load] = gradient @ corners.T
    return out.reshape(24, 6)


def isotropic(young, poisson):
    """Stiffness tensors (..., 6, 6) by inverting Hooke's law."""
    young, poisson = np.broadcast_arrays(young, poisson)
    compliance = np.zeros((*young.shape, 6, 6))
    compliance[..., :3, :3] = -poisson[..., None, None]
    compliance[..., range(6), range(6)] = 1
    compliance[..., range(3, 6), range(3, 6)] = 2 * (1 + poisson)[..., None]
    return young[..., None, None] * np.linalg.inv(compliance)


def cubic(c11, c12, c44):
    """Stiffness tensors (..., 6, 6) of cubic constants."""
    tensors = np.zeros((*np.shape(c11), 6, 6))
    tensors[..., :3, :3] = np.asarray(c12)[..., None, None]
    tensors[..., range(3), range(3)] = np.asarray(c11)[..., None]
    tensors[..., range(3, 6), range(3, 6)] = np.asarray(c44)[..., None]
    return tensors


@functools.lru_cache
def element_matrices(edges=(1.0, 1.0, 1.0)):
    """Element stiffnesses (6, 6, 24, 24), one for each entry of the tensor."""
    volume = np.prod(edges)
    mass = np.array([[2, 1], [1, 2]]) / 6
    mixed = np.array([[-1, -1], [1, 1]]) / 2  # slope of the row, value of the column
    slope = np.array([[1, -1], [-1, 1]])
    matrices = np.zeros((6, 6, 3, 8, 3, 8))
    for c, d in itertools.product(range(3), repeat=2):
        lines = [mass] * 3
        if c == d:
            lines[c] = slope
        else:
            lines[c], lines[d] = mixed, mixed.T
        gradient = np.kron(np.kron(lines[0], lines[1]), lines[2])
        gradient = gradient * volume / edges[c] / edges[d]  # of d_c N_v d_d N_w
        for a, b in itertools.product(range(3), repeat=2):
            matrices[VOIGT[a, c], VOIGT[b, d], a, :, b] += gradient
    return matrices.reshape(6, 6, 24, 24)


def assemble(tensors, edges=(1.0, 1.0, 1.0), *, periodic=False):
    """Sparse K of stiffness tensors (nx, ny, nz, 6, 6), without boundary conditions."""
    shape = tensors.shape[:3]
    nodes = [n + (not periodic) for n in shape]
    places = np.indices(shape).reshape(3, -1, 1)
    corners = np.array(list(itertools.product((0, 1), repeat=3))).T[:, None]
    node = np.ravel_multi_index(places + corners, nodes, mode="wrap")
    dofs = (np.arange(3)[:, None] * np.prod(nodes) + node[:, None]).reshape(-1, 24)
    matrices = element_matrices(tuple(edges)).reshape(36, -1)
    values = tensors.reshape(-1, 36) @ matrices
    rows, columns = np.repeat(dofs, 24, 1), np.tile(dofs, (1, 24))
    size = 3 * np.prod(nodes)
    index = rows.ravel(), columns.ravel()
    return sp.coo_matrix((values.ravel(), index), (size, size)).tocsr()


def effective(tensors, edges=(1.0, 1.0, 1.0), kind="periodic"):
    """Effective tensor (6, 6) of a cell, or of a "kinematic" or "mixed" window."""
    shape = tensors.shape[:3]
    nodes = tuple(n + 1 for n in shape)
    matrix = assemble(tensors, edges)
    number = np.arange(matrix.shape[0]).reshape(3, *nodes)
    place = np.indices(nodes) * np.array(edges)[:, None, None, None]
    total = np.zeros((6, matrix.shape[0]))
    macro = np.zeros_like(total)
    for load in range(6):
        (j, k) = np.argwhere(VOIGT == load)[0]
        affine = np.zeros((3, *nodes))
        affine[j] += place[k] / 2
        affine[k] += place[j] / 2
        macro[load] = affine.ravel()
        # Columns are the free unknowns, and 1 at all dofs that they move.
        if kind == "periodic":
            original = np.pad(number[:, :-1, :-1, :-1], [(0, 0), *[(0, 1)] * 3], "wrap")
            unknown = np.setdiff1d(original, number[:, 0, 0, 0])
        else:
            original, unknown = number, number[~_held(nodes, j, k, kind)]
        column = np.full(number.size, len(unknown))
        column[unknown] = np.arange(len(unknown))
        rows, columns = number.ravel(), column[original.ravel()]
        moved = sp.csr_matrix(
            (np.ones(number.size), (rows, columns)), (number.size, len(unknown) + 1)
        )[:, :-1]
        force = -moved.T @ (matrix @ affine.ravel())
        total[load] = affine.ravel() + moved @ _solve(moved.T @ matrix @ moved, force)
    # Mean stresses: of loads that hold different dofs they are not quite symmetric.
    tensor = macro @ (matrix @ total.T) / np.prod(shape) / np.prod(edges)
    return (tensor + tensor.T) / 2


def _held(nodes, j, k, kind):
    """Dofs (3, X, Y, Z) of a window that are held under the strain jk."""
    held = np.zeros((3, *nodes), bool)
    for axis in range(3):
        for c in range(3):
            # Faces slide under a strain that a mirror keeps, and bulge under others.
            kept = j == k or axis not in (j, k)
            if kind == "kinematic" or kept == (c == axis):
                face = np.moveaxis(held[c], axis, 0)
                face[[0, -1]] = True
    return held


def _solve(matrix, force):
    if len(force) < 5000:
        return spla.spsolve(matrix.tocsc(), force)
    scale = sp.diags(1 / matrix.diagonal())
    x, failed = spla.cg(matrix, force, rtol=1e-9, maxiter=5000, M=scale)
    assert not failed
    return x
