"""Model cards: what was measured, and nothing else."""

import numpy as np
import pytest
from train_helpers import OPTIMIZER, params

from mmdiff.train import cards
from mmdiff.train.loop import Result
from mmdiff.train.regression import Comparison
from mmdiff.train.state import create_state

RESULT = Result(create_state(params(), OPTIMIZER), "steps", 12.34, [])
TRAINING = {
    "seed": 7,
    "steps": 90,
    "planned": 100,
    "batch_size": 4,
    "cells": 11,
    "parameters": 1_234_000,
}
META = {
    "octant": 8,
    "base": {"E": 1.0, "nu": 0.3},
    "cond": {"names": ["C11", "V"], "low": [0.01, 0.1], "high": [1.0, 0.9]},
    "training": TRAINING,
}
ROWS = (
    {"step": 50, "validation": 0.3, "validation_t0.1": 0.1, "validation_t0.5": 0.5},
    {"step": 90, "validation": 0.2, "validation_t0.1": 0.0123456},
    {"step": 90, "loss": 0.4},
)


def _denoiser(rows=ROWS):
    return cards.denoiser_card(META, RESULT, rows, ema=0.99, half=True)


@pytest.fixture
def comparison():
    true = np.random.default_rng(0).random((6, 4))
    return Comparison(true, true + 0.01)


def test_training_is_that_of_the_header():
    words = " ".join(_denoiser().split())
    assert "(level-set fields of 8^3 samples of the octant)" in words
    assert "11 training cells, 90 steps of 4 samples, seed 7 - 1.23 million" in words
    assert "moving average (decay 0.99) as float16 - 12.3 training samples" in words
    assert '`{"E": 1.0, "nu": 0.3}`' in words
    assert "{" not in words.replace('{"E"', "")


def test_denoiser_states_the_last_validation_and_the_ranges():
    card = _denoiser()
    assert "| t | mean squared error |\n|---|---|\n| 0.1 | 0.01235 |\n\n" in card
    assert "| C11 | 0.01 | 1 |\n| V | 0.1 | 0.9 |\n\n## Rebuild" in card
    # No held-out cells, no table.
    assert "mean squared error" not in _denoiser(())


def test_regressor_states_the_scores_of_each_split(comparison):
    found = {"validation": comparison, "test": comparison}
    card = cards.regressor_card(META, RESULT, found, ema=0.9, half=False)
    header, rows = cards.score_table(found)
    assert [row[:2] for row in rows] == [["validation", "6"], ["test", "6"]]
    assert header[:3] == ["split", "cells", "R^2 K / K_HS"] and len(header) == 7
    expected = comparison.scores()
    assert rows[0][2] == f"{expected['R2 K / K_HS']:.4f}"
    assert rows[0][-1] == f"{100 * expected['range error']:.3f} %"
    assert "| " + " | ".join(rows[1]) + " |\n" in card
    words = " ".join(card.split())
    assert "seed 7; half of the fields shifted by half a period, half soft" in words
    assert "(decay 0.9) as float32" in words


def test_cards_begin_with_what_hubs_read(comparison):
    regressor = cards.regressor_card(
        META, RESULT, {"test": comparison}, ema=0.9, half=False
    )
    for card in (_denoiser(), regressor):
        head, _, rest = card.removeprefix("---\n").partition("---\n")
        assert "license: apache-2.0\n" in head and "library_name: mmdiff\n" in head
        assert rest.startswith("\n# Model card\n")
