"""The picture of extreme cells: every start is in it, more is always up."""

import dataclasses

import numpy as np
import pytest
from design_helpers import dataset_of, wave

from mmdiff import elasticity
from mmdiff.bounds import hashin_shtrikman
from mmdiff.cells import surface
from mmdiff.cells.mend import Printing
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.extremes import figures
from mmdiff.design.extremes.quest import Extreme, Shape, make_quest

pytest.importorskip("matplotlib")
BULK, POISSON, YOUNG = (
    make_quest(name, 0.5, isotropy=0.05, floor=0.01)
    for name in ("bulk", "poisson", "young")
)
VOLUMES = (0.1, 0.46, 0.5, 0.9)
OCTANTS = [threshold_to_volume(wave(), volume) for volume in VOLUMES]
FIELDS = [surface.from_voxels(octant) for octant in OCTANTS]
CONSTANTS = [elasticity.isotropic(0.5 * volume) for volume in VOLUMES]
DATA = dataset_of(FIELDS, CONSTANTS, VOLUMES)


def _start(quest, kind, young, flaws=()):
    before = Shape(FIELDS[1], elasticity.isotropic(0.1))
    after = Shape(FIELDS[2], elasticity.isotropic(young))
    return Extreme(quest.name, kind, 0, "", before, after, flaws)


def _records():
    nothing = Shape(FIELDS[1], np.full(3, np.nan))
    young = {"generated": 0.24, "random": 0.23, "variant": 0.25}
    return [
        Extreme(quest.name, "generated", 1, "", nothing)
        if kind is None
        else _start(quest, kind, young[kind])
        for quest in (BULK, POISSON, YOUNG)
        for kind in (*young, None)
    ]


@pytest.fixture
def drawn(monkeypatch):
    """Keep the figure instead of saving it."""
    kept = []

    def keep(path, figure):
        kept.append(figure)
        return True

    monkeypatch.setattr(figures.plots, "save_figure", keep)
    return kept


def test_every_start_and_the_bound_are_inside(drawn):
    flawed = _start(BULK, "random", 0.9, ("too heavy",))
    assert figures.bounds("bounds.png", [BULK], [*_records(), flawed], DATA)
    (axis,) = drawn[0].axes
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    lines = {line.get_label(): line.get_xydata() for line in axis.lines}
    for kind, young in {"generated": 0.24, "random": 0.23, "variant": 0.25}.items():
        value = elasticity.moduli(elasticity.isotropic(young))["K"]
        np.testing.assert_allclose(lines[f"{kind}, after"], [[0.5, value]], rtol=0.02)
        assert low < value < high
    # The dataset is drawn where it falls into the panel, and does not widen it.
    assert len(lines["dataset"]) == 4 and 0.1 < left < 0.46 and 0.5 < right < 0.9
    assert len(lines["generated, before"]) == 2 and "random, before" not in lines
    grid, bound = lines["Hashin-Shtrikman bound"].T
    np.testing.assert_allclose(bound, hashin_shtrikman(grid)[0])
    assert high > hashin_shtrikman(0.5)[0]
    assert axis.get_title().endswith("closed, any walls")


def test_less_is_up_where_less_is_better(drawn):
    figures.bounds("bounds.png", [BULK, POISSON, YOUNG], _records(), DATA)
    first, second, *_ = drawn[0].axes
    assert first.get_ylim()[0] < first.get_ylim()[1]
    assert second.get_ylim()[0] > second.get_ylim()[1]
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert len(labels) == len(set(labels)) and "generated, before" in labels


def test_quests_of_an_aim_have_panels_of_their_own(drawn):
    strict = dataclasses.replace(BULK, printing=Printing(0.03, 0.03))
    one = _start(strict, "random", 0.2)
    figures.bounds("bounds.png", [BULK, strict], [*_records(), one], DATA)
    second = drawn[0].axes[1]
    assert second.get_title().endswith("open, walls 3 %")
    lines = {line.get_label(): line.get_xydata() for line in second.lines}
    value = elasticity.moduli(elasticity.isotropic(0.2))["K"]
    np.testing.assert_allclose(lines["random, after"], [[0.5, value]], rtol=0.02)
    assert "generated, after" not in lines


def test_without_matplotlib_nothing_is_written(tmp_path, no_matplotlib):
    assert not figures.bounds(tmp_path / "bounds.png", [BULK], _records(), DATA)
    assert not list(tmp_path.iterdir())
