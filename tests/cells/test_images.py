"""Masks, labels and grays; texts of phases; thresholds."""

import numpy as np
import pytest

from mmdiff.cells import images
from mmdiff.errors import InputError

RNG = np.random.default_rng(5)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1], "mask"),
        ([0, 255], "mask"),
        ([7], "mask"),
        ([0, 1, 2], "labels"),
        (range(16), "labels"),
        (range(30, 193), "grays"),
        (np.linspace(0, 1, 50), "grays"),
        (np.r_[np.zeros(60), np.ones(60), np.linspace(0, 1, 50)], "mask"),
    ],
)
def test_kinds_of_images(values, kind):
    assert images.kind_of(np.array(values)) == kind


def test_otsu_parts_two_classes():
    values = np.r_[RNG.normal(60, 8, 3000), RNG.normal(160, 12, 1000)]
    cut = images.otsu(values)
    assert 80 < cut < 130
    classes = values[values <= cut], values[values > cut]
    within = sum(part.var() * part.size for part in classes)
    for other in np.linspace(30, 190, 81):
        parts = values[values <= other], values[values > other]
        worse = sum(part.var() * part.size for part in parts if part.size)
        assert within <= worse * (1 + 1e-3)
    assert images.otsu(np.array([0.0, 0, 1])) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "text",
    [
        "0:void,1:210,0.3;2:70,0.33",
        "0:void;1:210,0.3;2:70,0.33",
        " 2 : 70, 0.33 ; 0: void, 1 :2.1e2,.3;",
    ],
)
def test_texts_of_phases(text):
    phases = images.parse_phases(text)
    assert phases == {0: (None, None), 1: (210, 0.3), 2: (70, 0.33)}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "names no solid"),
        ("0:void", "names no solid"),
        ("iron", "cannot be read at 'iron'"),
        ("1:210", "label 1 has '210'. Write label:E,nu"),
        ("1:210,0.3,4", "label 1 has"),
        ("1:210,0.3;1:70,0.3", "names label 1 twice"),
        ("1:-3,0.3", "E=-3 and nu=0.3. E must be positive"),
        ("1:3,0.5", "E=3 and nu=0.5"),
        ("1:nan,0.3", "E=nan"),
    ],
)
def test_texts_that_are_no_phases(text, match):
    with pytest.raises(InputError, match=match):
        images.parse_phases(text)


def test_moduli_of_labels():
    phases = images.parse_phases("0:void;5:210,0.25;2:70,0.33")
    labels = np.array([[0, 5], [2, 2]])
    solid, young, poisson = images.to_moduli(labels, phases, void=1e-3, nu=0.3)
    np.testing.assert_array_equal(solid, [[0, 1], [1, 1]])
    np.testing.assert_allclose(young, [[0.21, 210], [70, 70]])
    np.testing.assert_allclose(poisson, [[0.3, 0.25], [0.33, 0.33]])
