"""Loads of a cloak."""

import numpy as np

from mmdiff.design.cloak import loads


def test_the_pull_is_a_tenth_of_the_modulus_on_every_element_face():
    pull = loads.pulled((8, 8, 4))
    np.testing.assert_allclose(pull.forces.sum((0, 2, 3, 4)), [0.1 * 8 * 4, 0, 0])
    assert pull.fixed[:, 0].all() and not pull.fixed[:, 1:].any()
