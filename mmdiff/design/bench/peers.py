"""Homogenize one periodic cell with another package: cost and tensor as JSON.

    python -m mmdiff.design.bench.peers mugrid-green moduli.npy 1e-5

Started by `processes`. All solve the very system that `mmdiff.fem` solves: trilinear
hexahedra with 2x2x2 Gauss points, six unit strains, the same relative residual in the
plain 2-norm; here in float64 and on one thread. They differ in how K is applied and in
the preconditioner of their conjugate gradients:

    scipy-jacobi         assembled matrix, its diagonal
    pyamg-sa             assembled matrix, one V-cycle of smoothed aggregation
    mugrid-green         matrix-free, the inverse of a uniform cell by FFT
    mugrid-green-jacobi  the same between two scalings by the diagonal
"""

import importlib
import json
import os
import sys
import time

# Before NumPy loads its BLAS.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np  # noqa: E402

from mmdiff.elasticity import NU  # noqa: E402
from mmdiff.fem import element  # noqa: E402

MAXITER = 5000
MODULES = {
    "scipy": ("scipy.sparse.linalg",),
    "pyamg": ("scipy.sparse.linalg", "pyamg"),
    "mugrid": ("muGrid.Preconditioners", "muGrid.Solvers"),
}

# Tensor in Voigt order with engineering shear, iterations and convergence by load, and
# the CPU clock when the set-up was done and the first load began.
Outcome = tuple[np.ndarray, list[int], list[bool], float]

# Symmetric strain by load; engineering shear is 1.
UNIT_STRAINS = np.zeros((6, 3, 3))
for _load, (_i, _j) in enumerate(element.VOIGT):
    UNIT_STRAINS[_load, _i, _j] += 0.5
    UNIT_STRAINS[_load, _j, _i] += 0.5


def main(peer: str, path: str, tol: float) -> dict:
    """Return seconds, iterations and tensor of a peer on the moduli in a .npy file."""
    moduli = np.load(path)
    package, _, kind = peer.partition("-")
    run = with_mugrid if package == "mugrid" else with_matrix
    # What a package needs is imported now, so that no import is timed.
    for module in MODULES[package]:
        importlib.import_module(module)
    wall, start = time.perf_counter(), time.process_time()
    tensor, iterations, converged, ready = run(moduli, kind, tol)
    return {
        "status": "done" if all(converged) else "unconverged",
        "cpu_s": time.process_time() - start,
        "wall_s": time.perf_counter() - wall,
        "setup_s": ready - start,
        "iterations": max(iterations),
        "C": tensor.tolist(),
    }


def with_matrix(moduli: np.ndarray, kind: str, tol: float) -> Outcome:
    """Homogenize moduli (nx, ny, nz) by an assembled matrix and SciPy's CG.

    The kind is "jacobi", or "sa" for PyAMG's smoothed aggregation.
    """
    from scipy.sparse import linalg

    matrix, dof = _assemble(moduli)
    stiffness = element.stiffness(NU)
    macro = (UNIT_STRAINS @ np.array(element.CORNERS, float).T).reshape(6, 24)
    pull = np.outer(moduli, macro @ -stiffness).reshape(-1, 6, 24)
    b = np.array([np.bincount(dof.ravel(), pull[:, i].ravel()) for i in range(6)])
    if kind == "sa":
        import pyamg

        # Rotations are not periodic: translations alone span the null space.
        rigid = np.tile(np.eye(3), (moduli.size, 1))
        precondition = pyamg.smoothed_aggregation_solver(
            matrix.tobsr((3, 3)), B=rigid, max_coarse=300
        ).aspreconditioner()
    else:
        inverse = 1 / matrix.diagonal()
        precondition = linalg.LinearOperator(matrix.shape, matvec=inverse.__mul__)
    ready = time.process_time()
    x, iterations, converged = np.zeros_like(b), 6 * [0], []
    for load in range(6):

        def count(_, load=load):
            iterations[load] += 1

        x[load], failed = linalg.cg(
            matrix, b[load], rtol=tol, atol=0.0, maxiter=MAXITER,
            M=precondition, callback=count,
        )  # fmt: skip
        converged.append(not failed)
    # The energy form (m + x)^T K (m + x), with K m = -b.
    energy = moduli.sum() * macro @ stiffness @ macro.T
    energy += x @ (matrix @ x.T) - x @ b.T - b @ x.T
    return energy / moduli.size, iterations, converged, ready


def _assemble(moduli):
    """Return the periodic stiffness matrix and the dofs (e, 24) of the elements."""
    from scipy import sparse

    node = np.arange(moduli.size).reshape(moduli.shape)
    shifts = -np.array(element.CORNERS)
    corner = np.stack([np.roll(node, shift, (0, 1, 2)).ravel() for shift in shifts])
    # The three dofs of a node lie together; those of an element run as in `element`.
    dof = (3 * corner + np.arange(3)[:, None, None]).reshape(24, -1).T
    entries = moduli.reshape(-1, 1, 1) * element.stiffness(NU)
    rows = np.broadcast_to(dof[:, :, None], entries.shape).ravel()
    columns = np.broadcast_to(dof[:, None, :], entries.shape).ravel()
    return sparse.coo_matrix((entries.ravel(), (rows, columns))).tocsr(), dof


def with_mugrid(moduli: np.ndarray, kind: str, tol: float) -> Outcome:
    """Homogenize moduli (nx, ny, nz) by muGrid's operator, preconditioners and solver.

    Its tensor is the mean stress, so its error is linear in the residual.
    """
    import muGrid
    from muGrid import Preconditioners, Solvers

    edges = [1.0, 1.0, 1.0]
    operator = muGrid.IsotropicStiffnessOperator3D(edges)
    engine = muGrid.FFTEngine([*moduli.shape], ghosts=operator)
    lam, mu = (engine.real_space_field(name, components=()) for name in ("lam", "mu"))
    lam.s[...] = moduli * NU / ((1 + NU) * (1 - 2 * NU))
    mu.s[...] = moduli / (2 * (1 + NU))
    engine.communicate_ghosts(lam)
    engine.communicate_ghosts(mu)
    u, b = (engine.real_space_field(name, components=(3,)) for name in ("u", "b"))
    element_kind = {"element": muGrid.FEMElement.q1, "grid_spacing": edges}
    if kind == "green":
        precondition = Preconditioners.make_reference_stiffness_preconditioner(
            engine, nb_components=3, lambda_ref=float(lam.s.mean()),
            mu_ref=float(mu.s.mean()), **element_kind,
        )  # fmt: skip
    else:
        precondition = Preconditioners.make_green_jacobi_preconditioner(
            engine, operator, lam, mu, 3, **element_kind
        )

    def apply(x, force):
        engine.communicate_ghosts(x)
        operator.apply(x, lam, mu, force)

    ready = time.process_time()
    tensor, iterations, converged = np.zeros((6, 6)), 6 * [0], 6 * [True]
    for load in range(6):
        strain = UNIT_STRAINS[load].ravel().tolist()
        operator.apply_macro_rhs(lam, mu, strain, b)
        b.s[...] *= -1
        u.set_zero()

        def count(step, _, load=load):
            iterations[load] = step

        try:
            Solvers.conjugate_gradients(
                engine.communicator, engine.real_space_collection, b, u, apply,
                precondition, rtol=tol, maxiter=MAXITER, callback=count,
            )  # fmt: skip
        except Solvers.ConvergenceError:
            converged[load] = False
        engine.communicate_ghosts(u)
        stress = operator.average_stress(u, lam, mu, strain)
        stress = np.array(stress).reshape(3, 3) / moduli.size
        tensor[load] = [stress[place] for place in element.VOIGT]
    return tensor, iterations, converged, ready


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], float(sys.argv[3]))))
