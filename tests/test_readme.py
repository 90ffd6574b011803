"""The README keeps its word: its Python runs, the files it names exist."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from mmdiff.cells import symmetry

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _run(code):
    names = {}
    with (
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
    ):
        exec(code, names)
    return names


PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
(GENERATE,) = PYTHON.findall(TEXT)
(GRADIENT,) = PYTHON.findall((ROOT / "docs" / "guide.md").read_text())


@pytest.mark.slow
def test_five_lines_make_a_printable_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = _run(GENERATE)
    assert len(GENERATE.strip().splitlines()) <= 5
    cell = names["cell"]
    assert len(names["others"]) == 3 and cell.error < 1e-3
    assert cell.printability.pieces == 1 and cell.printability.trapped == 0
    stl = (tmp_path / "out/python/cell.stl").read_bytes()
    assert len(stl) > 1e5 and np.load("out/python/cell.npy").shape == (128,) * 3


@pytest.mark.slow
def test_the_gradient_of_a_function_of_the_tensor(capsys):
    names = _run(GRADIENT)
    gradient = np.asarray(names["gradient"])
    # More material is never softer. C11 and C12 come from one load along x, so that
    # single voxels may have either sign, but not their orbits.
    assert gradient.shape == (16, 16, 16)
    assert symmetry.symmetrize(gradient).min() > 0
    assert capsys.readouterr().out


def test_named_files_exist():
    configs = set(re.findall(r"`([a-z]+\.py)(?::\w+)?`", TEXT))
    missing = [name for name in configs if not (ROOT / "configs" / name).is_file()]
    assert configs and not missing
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", TEXT)
    assert pictures and all((ROOT / name).is_file() for name in pictures)
    links = re.findall(r"[^!]\[[^]]*\]\(([^)#]+)\)", TEXT)
    assert all((ROOT / name).exists() for name in links if "://" not in name)


def test_it_is_read_in_a_few_minutes():
    assert len(TEXT.splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_pages_lead_somewhere(page):
    text = page.read_text()
    assert "@@" not in text  # nothing is left to fill in
    links = re.findall(r"\[[^]]*\]\(([^)#]+)(?:#[^)]*)?\)", text)
    missing = [name for name in links if "://" not in name]
    assert not [name for name in missing if not (page.parent / name).exists()]
