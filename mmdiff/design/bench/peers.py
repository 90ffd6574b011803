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

import itertools
import json
import os
import sys
import time
from typing import NamedTuple

# Before NumPy loads its BLAS.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np  # noqa: E402

from mmdiff.elasticity import NU  # noqa: E402
from mmdiff.fem import element  # noqa: E402

MAXITER = 5000


class Outcome(NamedTuple):
    """The result of a package for a cell.

    Attributes:
      tensor: (6, 6), Voigt order, engineering shear.
      iterations: per load.
      converged: per load.
      ready: CPU clock when the set-up was done and the first load began.
    """

    tensor: np.ndarray
    iterations: list[int]
    converged: list[bool]
    ready: float


def main(peer: str, path: str, tol: float) -> dict:
    """Return seconds, iterations and tensor of a peer on the moduli in a .npy file."""
    moduli = np.load(path)
    package, _, kind = peer.partition("-")
    run = {"scipy": with_matrix, "pyamg": with_matrix, "mugrid": with_mugrid}[package]
    _import(package)
    wall, start = time.perf_counter(), time.process_time()
    outcome = run(moduli, kind, tol)
    return {
        "status": "done" if all(outcome.converged) else "unconverged",
        "cpu_s": time.process_time() - start,
        "wall_s": time.perf_counter() - wall,
        "setup_s": outcome.ready - start,
        "iterations": max(outcome.iterations),
        "C": outcome.tensor.tolist(),
    }


def _import(package: str) -> None:
    """Import what a package needs, so that no import is timed."""
    if package == "mugrid":
        import muGrid.Preconditioners
        import muGrid.Solvers  # noqa: F401
    else:
        import scipy.sparse.linalg  # noqa: F401
    if package == "pyamg":
        import pyamg  # noqa: F401


def unit_strain(load: int) -> np.ndarray:
    """Return the symmetric (3, 3) strain of a load; engineering shear is 1."""
    i, j = element.VOIGT[load]
    strain = np.zeros((3, 3))
    strain[i, j] += 0.5
    strain[j, i] += 0.5
    return strain


def with_matrix(moduli: np.ndarray, kind: str, tol: float) -> Outcome:
    """Homogenize with an assembled matrix and SciPy's conjugate gradients.

    Args:
      moduli: (n, n, n) Young's moduli.
      kind: "jacobi", or "sa" for PyAMG's smoothed aggregation.
      tol: relative residual.
    """
    from scipy.sparse import linalg

    matrix, dof = _assemble(moduli)
    stiffness = element.stiffness(NU)
    corners = np.array(element.CORNERS, float)
    macro = np.array([unit_strain(i) @ corners.T for i in range(6)]).reshape(6, 24)
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
    x, iterations, converged = np.zeros_like(b), [], []
    for load in range(6):
        count = itertools.count()
        x[load], failed = linalg.cg(
            matrix, b[load], rtol=tol, atol=0.0, maxiter=MAXITER,
            M=precondition, callback=lambda _, count=count: next(count),
        )  # fmt: skip
        iterations.append(next(count))
        converged.append(not failed)
    # The energy form (m + x)^T K (m + x), with K m = -b.
    energy = moduli.sum() * macro @ stiffness @ macro.T
    energy += x @ (matrix @ x.T) - x @ b.T - b @ x.T
    return Outcome(energy / moduli.size, iterations, converged, ready)


def _assemble(moduli):
    """Return the periodic stiffness matrix and the dofs (n^3, 24) of the elements."""
    from scipy import sparse

    n = moduli.shape[0]
    node = np.arange(n**3).reshape(n, n, n)
    corner = np.stack(
        [np.roll(node, -np.array(c), (0, 1, 2)).ravel() for c in element.CORNERS]
    )
    # The three dofs of a node lie together; those of an element run as in `element`.
    dof = (3 * corner + np.arange(3)[:, None, None]).reshape(24, -1).T
    entries = moduli.reshape(-1, 1, 1) * element.stiffness(NU)
    rows = np.broadcast_to(dof[:, :, None], entries.shape).ravel()
    columns = np.broadcast_to(dof[:, None, :], entries.shape).ravel()
    return sparse.coo_matrix((entries.ravel(), (rows, columns))).tocsr(), dof


def with_mugrid(moduli: np.ndarray, kind: str, tol: float) -> Outcome:
    """Homogenize with muGrid's stiffness operator, preconditioners and solver.

    Its tensor is the mean stress, so its error is linear in the residual.

    Args:
      moduli: (n, n, n) Young's moduli.
      kind: "green" or "green-jacobi".
      tol: relative residual.
    """
    import muGrid
    from muGrid import Preconditioners, Solvers

    n, edges = moduli.shape[0], [1.0, 1.0, 1.0]
    operator = muGrid.IsotropicStiffnessOperator3D(edges)
    engine = muGrid.FFTEngine([n, n, n], ghosts=operator)
    lam, mu = (engine.real_space_field(name, components=()) for name in ("lam", "mu"))
    lam.s[...] = moduli * NU / ((1 + NU) * (1 - 2 * NU))
    mu.s[...] = moduli / (2 * (1 + NU))
    engine.communicate_ghosts(lam)
    engine.communicate_ghosts(mu)
    u, b = (engine.real_space_field(name, components=(3,)) for name in ("u", "b"))
    element_kind = {"element": muGrid.FEMElement.q1, "grid_spacing": edges}
    if kind == "green":
        precondition = Preconditioners.make_reference_stiffness_preconditioner(
            engine,
            nb_components=3,
            lambda_ref=float(lam.s.mean()),
            mu_ref=float(mu.s.mean()),
            **element_kind,
        )
    else:
        precondition = Preconditioners.make_green_jacobi_preconditioner(
            engine, operator, lam, mu, 3, **element_kind
        )

    def apply(x, force):
        engine.communicate_ghosts(x)
        operator.apply(x, lam, mu, force)

    ready = time.process_time()
    tensor, iterations, converged = np.zeros((6, 6)), [], []
    for load in range(6):
        strain = unit_strain(load).ravel().tolist()
        operator.apply_macro_rhs(lam, mu, strain, b)
        b.s[...] *= -1
        u.set_zero()
        seen = [0]

        def count(step, _, seen=seen):
            seen[0] = step

        try:
            Solvers.conjugate_gradients(
                engine.communicator, engine.real_space_collection, b, u, apply,
                precondition, rtol=tol, maxiter=MAXITER, callback=count,
            )  # fmt: skip
            converged.append(True)
        except Solvers.ConvergenceError:
            converged.append(False)
        iterations.append(seen[0])
        engine.communicate_ghosts(u)
        stress = operator.average_stress(u, lam, mu, strain)
        stress = np.array(stress).reshape(3, 3) / n**3
        tensor[load] = [stress[place] for place in element.VOIGT]
    return Outcome(tensor, iterations, converged, ready)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], float(sys.argv[3]))))
