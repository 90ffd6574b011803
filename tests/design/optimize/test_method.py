"""The method of a run: settings of the loop, refusals, steps shared out."""

import pytest

from mmdiff.design.optimize.method import Method, share_out
from mmdiff.errors import InputError
from mmdiff.topopt.optimize import STAGES


def test_settings_of_the_loop():
    found = Method(radius=1.5, robust=0.1, nu=0.2).settings()
    assert found.stages == STAGES
    assert found.etas == (0.6, 0.5, 0.4) and found.nu == 0.2 and found.radius == 1.5
    assert Method().settings().etas == (0.5,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"design_resolution": 60}, "8 of at least 16. Next .*`design_resolution=64`"),
        ({"design_resolution": 8}, "Next good size: `design_resolution=16`"),
        ({"resolution": 100}, "resolution=100 is not one of .* `resolution=128`"),
        ({"symmetry": "tetragonal"}, "symmetry=tetragonal is unknown. Use cubic or"),
        ({"steps": 2}, "steps=2 is too small: the continuation has 6 stages. Set"),
        ({"radius": 0.5}, "radius=0.5 is not between 1 and 16 elements"),
    ],
    ids=str,
)
def test_refusals(values, message):
    with pytest.raises(InputError, match=message):
        Method(**values).settings()


@pytest.mark.parametrize("steps", [6, 7, 33, 105, 106, 500])
def test_steps_are_shared_out_exactly(steps):
    stages = share_out(STAGES, steps)
    counts = [stage.steps for stage in stages]
    assert sum(counts) == steps and min(counts) >= 1
    assert (stages == STAGES) == (steps == 105)  # as many as usual
    assert [s[:2] for s in stages] == [s[:2] for s in STAGES]
