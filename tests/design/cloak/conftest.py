"""A cloak of a few small cells that costs nothing."""

import dataclasses
import types

import numpy as np
import pytest
from design_helpers import smooth_field

from mmdiff.cells.symmetry import gather_independent
from mmdiff.design.cloak.case import Case
from mmdiff.design.cloak.geometry import geometry, pulled
from mmdiff.design.cloak.model import Model
from mmdiff.design.cloak.pool import BODY, SOLID, Pool

SHAPE = (8, 8, 2)


@pytest.fixture
def case():
    """A case to be found: surfaces from light to heavy, the body's cell last."""
    volume = np.linspace(0.4, 0.9, 8)
    fields = [smooth_field(v) for v in volume]
    fields = np.stack([np.full_like(fields[0], 2.0), *fields[1:], fields[0]])
    volume = np.array([1.0, *volume[1:], volume[0]])
    constants = volume[:, None] * np.array([0.4, 0.16, 0.12])
    number = np.array([SOLID, *range(1, 8), BODY])
    samples = gather_independent(fields).astype(np.float32)
    grids = np.stack([1.2 * constants, 1.05 * constants], 1)
    pool = Pool(samples, constants, grids, number, np.arange(9) == 3)
    box = geometry(SHAPE, "cylinder")
    return Case("cylinder", "4", pulled(SHAPE), box, pool)


@pytest.fixture
def make_model(case):
    """A model whose distortion is how far the mean C11 is from a third."""
    nodes = [n + 1 for n in SHAPE]

    def distortion(constants):
        return abs(np.mean(np.asarray(constants), 0)[:1] - 1 / 3)

    def slope(constants):
        off = float(np.mean(np.asarray(constants), 0)[0]) - 1 / 3
        gradient = np.zeros(constants.shape)
        gradient[:, 0] = np.sign(off) / len(constants)
        return abs(off), np.array([abs(off)]), gradient

    def response(field):
        info = types.SimpleNamespace(converged=np.array([True]))
        return np.full((1, 3, *nodes), np.mean(field)), info

    def make(reference):
        classes = np.tile(reference, (case.geometry.num_classes, 1))
        u0 = np.ones((1, 3, *nodes))
        return Model(response, u0, distortion, slope, distortion(classes))

    return make


@pytest.fixture
def found(case):
    """The case with a result."""
    rng = np.random.default_rng(0)
    names = {"before": 0.3, "designed": 0.02, "nearest": 0.04, "cells": 0.03}
    names |= {"finer": 0.05, "finer_before": 0.31}
    result = {name: np.array([value / 2, value]) for name, value in names.items()}
    result |= {name: rng.normal(size=(3, 9, 9, 3)) for name in ("u0", "u_before")}
    result["u_cells"] = result["u0"].copy()
    result |= {f"pool_{name}": part for name, part in case.pool._asdict().items()}
    result["pick"] = np.arange(case.geometry.num_classes) % 5
    result |= {"load": np.array(0), "seconds": np.array(1.0)}
    return dataclasses.replace(case, result=result)
