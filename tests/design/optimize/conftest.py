"""Outcomes of an optimization whose numbers are known beforehand."""

import numpy as np
import pytest

from mmdiff.cells import surface
from mmdiff.design.bench import specimens
from mmdiff.design.optimize.ranking import Entry
from mmdiff.design.optimize.resumable import SHOWN, Outcome
from mmdiff.topopt.optimize import COLUMNS

PSI = surface.from_voxels(specimens.plates(8))
VOLUME = surface.volume(PSI)
CONSTANTS = np.array([0.30, 0.10, 0.09])  # Zener ratio 0.9


def _outcome(
    value=0.2, constants=CONSTANTS, *, converged=True, printable=True, steps=3
):
    refinement = np.full((4, 3), np.nan)
    refinement[:2] = [[0.9 * value, 0.0, VOLUME], [value, 0.0, VOLUME]]
    history = np.full((5, len(COLUMNS)), np.nan, np.float32)
    history[:steps] = np.linspace(0.1, 0.5, steps)[:, None]
    when = np.full(SHOWN, -1, np.int32)
    shown = [0, steps] if steps else [0]
    when[: len(shown)] = shown
    density = np.random.default_rng(0).uniform(size=PSI.shape).astype(np.float32)
    snapshots = np.zeros((SHOWN, *PSI.shape), np.uint8)
    snapshots[: len(shown)] = np.round(255 * density)
    return Outcome(
        start=density,
        density=density,
        psi=PSI,
        constants=constants,
        uncertainty=0.01 * abs(constants),
        volume=np.array(VOLUME),
        residual=np.array(3e-4),
        converged=np.array(converged),
        printable=np.array(printable),
        value=np.array(value),
        refinement=refinement,
        solutions=np.array(2, np.int32),
        history=history,
        snapshots=snapshots,
        when=when,
    )


@pytest.fixture(scope="session")
def outcome():
    """Maker of outcomes of a cell of plates."""
    return _outcome


@pytest.fixture(scope="session")
def nothing():
    """The outcome of a start that led to no cell."""
    empty = _outcome(-np.inf, np.full(3, np.nan), converged=False, printable=False)
    return empty._replace(
        refinement=np.full((4, 3), np.nan), psi=0 * PSI - 1, volume=np.array(0.0)
    )


@pytest.fixture(scope="session")
def entries(nothing):
    """Runs with and without flaws, the best of which cannot be printed."""
    return [
        Entry("", 0, "random", nothing, ("nothing left",)),
        Entry("", 1, "random", _outcome(0.3), ("too heavy",)),
        Entry("", 2, "random", _outcome(0.1)),
        Entry("", 3, "random", _outcome(0.2)),
        Entry("", 4, "random", _outcome(0.25, printable=False)),
    ]
