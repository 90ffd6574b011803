"""The page sets what it may, in range, and never a file."""

import pytest
import serve_helpers

from mmdiff.design.serve import settings
from mmdiff.errors import InputError

KNOWN = serve_helpers.known()["generate"]


def test_what_is_given_changes_the_settings_of_the_config():
    given = {"target": "E=0.1", "num_best": 2, "base.E": 210000, "drainable": False}
    values = settings.of_request("generate", given, KNOWN)
    assert values["target"] == "E=0.1" and values["num_best"] == 2
    assert values["base"]["E"] == 210000.0 and values["drainable"] is False
    assert KNOWN.values["num_best"] == 4 and KNOWN.values["base"]["E"] == 1.0
    rest = set(values) - {"target", "num_best", "base", "drainable"}
    assert all(values[key] == KNOWN.values[key] for key in rest)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([1], "settings are a list, not an object"),
        ({"checkpoint": "/etc/passwd"}, "'checkpoint' is no setting of this page"),
        ({"targets": "list.csv"}, "'targets' is no setting of this page"),
        ({"base": 1}, "'base' is no setting of this page"),
        ({"vf": "0.3"}, "vf='0.3' is not of type float"),
        ({"vf": True}, "vf=True is not of type float"),
        ({"vf": 10**400}, "vf=1000.* is not of type float, or too large"),
        ({"num_best": 1.5}, "num_best=1.5 is not of type int"),
        ({"num_best": 0}, "num_best=0 is too small. Set `num_best` to 1 or more"),
        ({"num_best": 99}, "num_best=99 is too large"),
        ({"seed": -1}, "seed=-1 is too small"),
        ({"base.nu": float("nan")}, "base.nu=nan is not a finite number"),
        ({"base.nu": float("inf")}, "base.nu=inf is not a finite number"),
        ({"cell_size_mm": 0}, "cell_size_mm=0.0 is too small"),
        ({"target": "x" * 5000}, "is not of type str, or too large"),
        ({"drainable": "no"}, "drainable='no' is not of type bool"),
    ],
)
def test_anything_else_is_refused_with_the_value_seen(given, text):
    with pytest.raises(InputError, match=text):
        settings.of_request("generate", given, KNOWN)


@pytest.mark.parametrize("text", ["secret.txt", " ../../secret.txt\n"])
def test_no_target_is_read_from_a_file(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("0.2,0.05,0.06")
    values = settings.of_request("generate", {"target": text}, KNOWN)
    with pytest.raises(InputError, match="names a file. Paste the 36 numbers"):
        settings.target_of(values)


def test_a_target_has_its_volume_and_unit():
    given = {"target": "23100, 9450, 8400", "base.E": 210000.0, "vf": 0.4}
    asked = settings.target_of(settings.of_request("generate", given, KNOWN))
    assert asked.volume == 0.4
    assert asked.constants == pytest.approx((0.11, 0.045, 0.04))
