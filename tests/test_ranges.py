"""Every range that a config declares is kept by its defaults and by the command line.

In one process and without a run: each number is set just outside of its range.
"""

import importlib.util
import math
import re
from pathlib import Path

import pytest

from mmdiff import main
from mmdiff.errors import check_ranges
from mmdiff.run.runner import flat

CONFIGS = sorted((Path(__file__).resolve().parent.parent / "configs").glob("*.py"))


def _load(path):
    spec = importlib.util.spec_from_file_location(f"ranges_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULES = {path.stem: _load(path) for path in CONFIGS}
CASES = [
    pytest.param(name, key, interval, id=f"{name}-{key}")
    for name, module in MODULES.items()
    for key, interval in getattr(module, "RANGES", {}).items()
]


def _outside(interval, number):
    """Yield the numbers of the type of `number` that lie next to an interval."""
    opened, low, high, closed = re.match(r"([\[(])(.+), (.+)([\])])", interval).groups()
    for end, sign, is_open in ((low, -1, opened == "("), (high, 1, closed == ")")):
        end = float(end)
        if not math.isfinite(end):
            continue
        if isinstance(number, float):
            yield end if is_open else math.nextafter(end, sign * math.inf)
        elif is_open:
            yield math.ceil(end) if sign > 0 else math.floor(end)
        else:
            yield math.floor(end) + 1 if sign > 0 else math.ceil(end) - 1
    if isinstance(number, float):
        yield math.nan


@pytest.mark.parametrize("name, key, interval", CASES)
def test_numbers_just_outside_are_refused(name, key, interval, capsys, tmp_path):
    default = flat(MODULES[name].get_config().to_dict())[key]
    many = isinstance(default, tuple)
    values = list(_outside(interval, default[0] if many and default else default))
    assert values
    for value in values:
        if many and math.isnan(value):
            continue  # no literal of a tuple
        text = repr((value,) * max(len(default), 1) if many else value)
        arguments = [f"--config=configs/{name}.py", f"--config.{key}={text}"]
        out = f"--workdir={tmp_path / 'out'}"
        assert main.main(["mmdiff", out, *arguments]) == 2, arguments
        message = capsys.readouterr().err
        assert f"{key}=" in message and f"Set --config.{key} to " in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", MODULES)
def test_defaults_are_inside(name):
    module = MODULES[name]
    for variant in getattr(module, "VARIANTS", ("",)):
        config = module.get_config(*([variant] if variant else []))
        check_ranges(flat(config.to_dict()), getattr(module, "RANGES", {}))


@pytest.mark.parametrize("name", MODULES)
def test_keys_that_name_files_or_may_change_are_there(name):
    module = MODULES[name]
    known = flat(module.get_config().to_dict())
    named = getattr(module, "INPUTS", ())
    assert all(isinstance(known[key], str) for key in named)
    contents = {f"inputs.{key}" for key in named}
    assert {*getattr(module, "MAY_CHANGE", ())} <= known.keys() | contents
    # What reads files says which.
    assert {"checkpoint", "data", "input", "init", "targets"} & known.keys() <= {*named}


SIZES = [
    pytest.param(name, key, id=f"{name}-{key}")
    for name, module in MODULES.items()
    for key in getattr(module, "BYTES", {})
]


@pytest.mark.parametrize("name, key", SIZES)
def test_sizes_beyond_the_memory_are_refused(name, key, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(main.memory, "available", lambda: 20_000_000)
    interval, values = MODULES[name].RANGES[key], MODULES[name].BYTES[key]
    high = float(re.match(r"[\[(].+, (.+)[\])]", interval)[1])
    most = int(high) if math.isfinite(high) else 10**6
    assert values[0] * most ** values[1] > 20_000_000
    many = isinstance(flat(MODULES[name].get_config().to_dict())[key], tuple)
    arguments = [
        f"--config=configs/{name}.py",
        f"--config.{key}={(most,) if many else most}",
    ]
    assert main.main(["mmdiff", f"--workdir={tmp_path / 'out'}", *arguments]) == 4
    message = capsys.readouterr().err
    assert f"error: {key}=" in message and f"Set --config.{key} lower." in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", MODULES)
def test_defaults_fit_into_a_few_gigabytes(name, monkeypatch):
    monkeypatch.setattr(main.memory, "available", lambda: 8_000_000_000)
    variants = [f":{variant}" for variant in getattr(MODULES[name], "VARIANTS", ())]
    for variant in variants or [""]:
        main.parse(["mmdiff", f"--config=configs/{name}.py{variant}"])


@pytest.mark.parametrize("name", MODULES)
def test_every_number_has_a_range(name):
    found = flat(MODULES[name].get_config().to_dict())
    numbers = {
        key
        for key, value in found.items()
        if isinstance(value, int | float | tuple) and not isinstance(value, bool)
    }
    # One of three, and what every target is asked for anyway.
    special = {"generate": {"vf"}} | dict.fromkeys(
        ("optimize", "design"), {"resolution"}
    )
    assert numbers - special.get(name, set()) <= MODULES[name].RANGES.keys()
