"""What is reported of a path and a family."""

import json

import numpy as np
import pytest

from mmdiff.design.interpolate import family, report, strip
from mmdiff.design.interpolate.family import Member
from mmdiff.io import plots, render
from mmdiff.io.report import write

SAMPLES = np.arange(8.0)


def _member(height, kind="dataset", theta=np.nan):
    """A box of so many of 8 spacings; from 8 on it meets the faces of the cell."""
    away = np.maximum(SAMPLES[:, None, None], np.maximum(SAMPLES[:, None], SAMPLES))
    volume = (height / 8) ** 3
    constants = volume * np.array([0.4, 0.16, 0.12])
    return Member(height - 0.5 - away, constants, 0.01 * constants, volume, kind, theta)


PATH = [
    _member(height, "path", theta)
    for height, theta in ((4, 0.0), (6, np.pi / 4), (8, np.pi / 2))
]
FAMILY = [_member(height) for height in (5, 6, 8)]
INFO = {"returned": [1.0, 0.99], "refused": 1, "widest_gap_begun": 0.7}


def test_rows_tell_each_cell_and_its_fit_to_the_next():
    found = report.report(PATH, FAMILY, {1: 0.75}, INFO)
    cells = found.values["cells"]
    assert [row["cell"] for row in cells] == [
        *("path 0", "path 1", "path 2", "family 0", "family 1", "family 2")
    ]
    # Pairs of the family are computed, where there is one.
    ratios = [row.get("C11 pair / series") for row in cells]
    assert ratios == [None, None, None, None, 0.75, None]
    assert cells[4]["face agreement"] == pytest.approx(36 / 64)
    assert cells[4]["contact"] == pytest.approx(36 / 64)
    assert report.table(cells)[4][-3:] == [56.25, 56.25, 0.75]
    np.testing.assert_allclose(found.arrays["family.npz"]["volume"][3:], [
        member.volume for member in FAMILY
    ])  # fmt: skip
    numbers = found.values["summary"]
    assert numbers["widest_gap"] == pytest.approx(1 - 27 / 64)
    assert numbers["least_pair_stiffness"] == 0.75
    assert numbers["refused"] == 1 and numbers["off_line_most"] > 0.01
    assert len(report.sentences(numbers)) == 3


def test_a_path_alone_has_its_pairs():
    found = report.report(PATH[::2], [], {0: 0.5}, INFO)
    numbers = found.values["summary"]
    assert found.values["cells"][0]["C11 pair / series"] == 0.5
    assert numbers["widest_gap"] is None and "off_line_mean" not in numbers
    assert len(report.sentences(numbers)) == 1


def test_a_family_of_one_has_no_neighbours():
    numbers = report.report([], FAMILY[:1], {}, {}).values["summary"]
    (text,) = report.sentences(numbers)
    assert text.startswith("family: 1 cells") and "faces" not in text
    (text,) = report.sentences(report.report([], FAMILY, {}, {}).values["summary"])
    assert "faces of neighbours agree in 56.25 % or more." in text


def test_a_strip_is_part_of_the_report(tmp_path, monkeypatch):
    picture = np.full((288, 288, 3), 200, np.uint8)  # the real one takes seconds
    monkeypatch.setattr(render, "render", lambda cell, **_: picture)
    monkeypatch.setattr(plots, "modulus_spheres", lambda *args: True)
    block = strip.graded(FAMILY, 2, 4)
    found = report.report(PATH, FAMILY, {}, {**INFO, "begun_with": 3}, 12.0, block)
    (view,) = found.views
    # Of the family alone, whose volumes are (5, 6, 8) / 8 to the third power.
    assert view.caption == "V 0.244 to 1.000"
    kinds = ("stl", "3mf", "glb", "npy", "png")
    assert [*view.files] == [f"graded.{kind}" for kind in kinds]
    write(tmp_path, found)
    assert np.load(tmp_path / "graded.npy").shape == (16, 8, 8)
    solid = pytest.importorskip("trimesh").load(tmp_path / "graded.stl")
    # Two cells of 12 mm; what is loose at the light end is left out.
    np.testing.assert_allclose(solid.bounds[1], [24, 12, 12], rtol=1e-5)
    conventions = json.loads((tmp_path / "family.json").read_text())["conventions"]
    assert "graded.stl" in conventions["graded"]
    assert "graded.stl" not in report.report(PATH, FAMILY, {}, INFO).files


def test_everything_is_written(tmp_path, monkeypatch):
    picture = np.full((288, 288, 3), 200, np.uint8)  # the real one takes seconds
    monkeypatch.setattr(render, "render", lambda cell, **_: picture)
    monkeypatch.setattr(plots, "modulus_spheres", lambda *args: True)
    write(tmp_path, report.report(PATH, FAMILY, {}, INFO))
    with np.load(tmp_path / "family.npz") as data:
        found = family.members_of(data)
    for one, other in zip(found, [*PATH, *FAMILY], strict=True):
        np.testing.assert_array_equal(one.octant, other.octant)
        np.testing.assert_array_equal(one.theta, other.theta)
        assert one.kind == other.kind
    written = json.loads((tmp_path / "family.json").read_text())
    assert len(written["cells"]) == 6 and written["summary"]["family"] == 3
    for name in ("family.csv", "strip.png", "index.html"):
        assert (tmp_path / name).stat().st_size
