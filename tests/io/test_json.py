"""Plain values as text files: strict JSON, CSV and Markdown tables."""

import csv
import json

import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.io.json import markdown, write_csv, write_json


def test_json_is_strict_and_takes_arrays(tmp_path):
    data = {
        "n": np.int64(3),
        "x": np.float32(0.5),
        "bad": [np.nan, float("inf")],
        "c": jnp.arange(3),
        "ok": np.bool_(True),
        "path": tmp_path,
        1: "ä",
    }
    path = write_json(tmp_path / "a.json", data)
    read = json.loads(path.read_text("utf-8"), parse_constant=pytest.fail)
    assert read == {
        "n": 3,
        "x": 0.5,
        "bad": [None, None],
        "c": [0, 1, 2],
        "ok": True,
        "path": str(tmp_path),
        "1": "ä",
    }


def test_markdown_tables():
    text = markdown(["", "mean %"], [["all", "0.1"], ["some", ""]])
    assert text == "|  | mean % |\n|---|---|\n| all | 0.1 |\n| some |  |\n"
    assert markdown(["a"], []) == "| a |\n|---|\n"


def test_fields_are_no_formulas(tmp_path):
    texts = [
        "=cmd|' /C calc'!A0",
        "@SUM(A1)",
        "+1+2",
        "-2+3",
        " =1",
        "\t=1",
        "-0.5",
        "a",
    ]
    path = write_csv(tmp_path / "a.csv", [{"x": text} for text in texts])
    with path.open(newline="") as file:
        _, *rows = csv.reader(file)
    assert [row[0] for row in rows] == [
        *(f"'{text}" for text in texts[:6]),
        "-0.5",
        "a",
    ]


def test_csv_has_all_columns_in_order(tmp_path):
    rows = [{"name": "a, b", "x": np.float64(0.1)}, {"name": "c", "y": np.nan}]
    path = write_csv(tmp_path / "a.csv", rows)
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["name", "x", "y"],
            ["a, b", "0.1", ""],
            ["c", "", ""],
        ]


def test_names_are_no_formulas_of_a_spreadsheet(tmp_path):
    names = ["=cmd|' /C calc'!A0.npy", "@SUM(1)", "-2+3", "+x", "-0.5", "a=b.npy"]
    path = write_csv(tmp_path / "a.csv", [{"file": name, "C": -0.5} for name in names])
    with path.open(newline="") as file:
        found = [row["file"] for row in csv.DictReader(file)]
    assert found == [f"'{name}" for name in names[:4]] + names[4:]
    assert path.read_text().count(",-0.5\n") == len(names)
