"""Each part of the measure at work, in small numbers: see `measure`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hardening import flips, kills, runs, server, summary

from mmdiff.errors import DataError

MEASURE = Path(__file__).with_name("measure.py")


def _measure(out, *arguments):
    """Run the command; returns its rows by part and name, and what it wrote."""
    line = [sys.executable, str(MEASURE), *arguments, f"--out={out}"]
    line.append(f"--page={out / 'page.md'}")
    done = subprocess.run(line, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((out / "results.json").read_text()), (out / "page.md").read_text()


@pytest.mark.slow
def test_killed_runs_end_as_undisturbed_ones(tmp_path):
    found, page = _measure(tmp_path, "kills", "--count=2", "--only=homogenize")
    assert all(row["identical"] for row in found["kills"].values() if row["killed"])
    assert "| homogenize |" in page and "Not measured yet." in page
    # What was measured is not measured again.
    again, _ = _measure(tmp_path, "kills", "--count=2", "--only=homogenize")
    assert again == found


@pytest.mark.slow
def test_flipped_bits_are_noticed(tmp_path):
    names = "dataset, field", "digest of the denoiser", "products of homogenize"
    for name in names:
        found, _ = _measure(tmp_path, "flips", "--count=3", f"--kinds={name}")
    outcomes = [row["outcome"] for row in found["flips"].values()]
    assert len(outcomes) == 9 and set(outcomes) <= {"detected", "harmless"}


@pytest.mark.slow
def test_the_server_outlives_malformed_requests(tmp_path):
    found, page = _measure(tmp_path, "server", "--count=200")
    (row,) = found["server"].values()
    assert row["alive"] and row["code"] == 130 and not row["outside"]
    assert row["answers"]["polite 200"] == 4 and "no answer" not in row["answers"]
    assert row["tracebacks"] == 0 and "| 200 | 50 |" in page


@pytest.mark.slow
@pytest.mark.long
def test_a_long_list_is_completed_in_spite_of_kills(tmp_path):
    found, _ = _measure(tmp_path, "soak", "--count=20")
    (row,) = found["soak"].values()
    assert row["done"] == 20 and row["codes"][-1] == 0 and row["killed"]
    assert row["sample"] == 1 and not row["different"]


def test_outcomes_of_flips(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(8))

    def reader(answer):
        def read():
            if path.read_bytes() == bytes(8):
                return 1
            if isinstance(answer, Exception):
                raise answer
            return answer

        return flips.Kind([path], read)

    for answer, outcome in (
        (1, "harmless"),
        (2, "silently other"),
        (DataError("it is damaged"), "detected"),
        (KeyError("a"), "internal error"),
    ):
        kind, rng = reader(answer), np.random.default_rng(0)
        assert flips.trial(kind, flips.digest(kind.read()), rng)[0] == outcome
        assert path.read_bytes() == bytes(8)


def test_digests_tell_values_and_types_apart():
    values = [{"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 3]}, {"a": 1.0, "b": [1, 2]}]
    values += [np.zeros(3), np.zeros(3, "f4"), np.zeros((3, 1)), [[1], 2], [1, [2]]]
    assert len({flips.digest(value) for value in values}) == len(values)
    assert flips.digest({"b": [1, 2], "a": 1}) == flips.digest(values[0])


def test_a_bit_is_flipped():
    for seed in range(20):
        found = flips.flipped(bytes(9), np.random.default_rng(seed))
        assert sum(byte.bit_count() for byte in found) == 1 and len(found) == 9


def test_products_are_compared_without_times(tmp_path):
    for name, seconds, value in (("a", 1.5, 1), ("b", 2.5, 1), ("c", 1.5, 2)):
        folder = tmp_path / name
        folder.mkdir()
        text = json.dumps({"seconds": seconds, "value": value, "at": str(folder)})
        (folder / "found.json").write_text(text)
        (folder / "log.txt").write_text(name)
        np.save(folder / "a.npy", np.ones(value))
    one, other, third = (runs.products(tmp_path / name) for name in "abc")
    assert kills.different(one, other) == []
    assert kills.different(one, third) == ["a.npy", "found.json"]


def test_the_page_counts(tmp_path):
    row = {"experiment": "train", "signal": "SIGTERM", "codes": [5, 0]}
    rows = [{**row, "killed": True, "identical": same} for same in (True, False)]
    rows.append({**row, "killed": False, "identical": True})
    assert "| all | 0 | 2 | 2 | 1 |" in summary.kills(rows)
    rows = [{"kind": "state", "outcome": outcome} for outcome in flips.OUTCOMES]
    assert "| state | 4 | 1 | 1 | 1 | 1 |" in summary.flips(rows)
    rows = [{"config": "train", "flaw": f, "answer": "a"} for f in ("", "code 1")]
    assert "| all | 2 | 1 |" in summary.inputs(rows) and "code 1" in summary.inputs(
        rows
    )


def test_requests_are_of_their_number():
    one, other = (server.request(7, 80, "token") for _ in range(2))
    assert one == other != server.request(8, 80, "token")
