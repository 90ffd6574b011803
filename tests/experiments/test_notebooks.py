"""The notebooks: stored clean, and run from top to bottom in a kernel."""

import ast
import base64
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmdiff import bounds, elasticity, main
from mmdiff.cells import surface
from mmdiff.cells.connectivity import periodic_pieces, winding_axes
from mmdiff.cells.mend import LIMIT
from mmdiff.cells.symmetry import cell_to_octant, octant_to_cell
from mmdiff.fem import accuracy

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "notebooks"
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))
DESIGN = "design_by_gradient.ipynb"

# In a process of its own: the sockets and event loops of Jupyter give warnings, which
# are errors here, and its kernel must not inherit what other tests have set.
EXECUTE = """
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read("notebook.ipynb", as_version=4)
try:
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
finally:
    nbformat.write(notebook, "executed.ipynb")
"""
REPORT = """
import json, sys
facts = {
    "python": sys.executable, "slope": float(slope), "difference": float(difference),
    "by_adam": by_adam.tolist(), "value": history["value"].tolist(),
    "volume": history["volume"].tolist(), "final": final.value, "size": size,
    "flaw": final.flaw, "wall": printed.wall, "gap": printed.gap,
}
with open("facts.json", "w") as file:
    json.dump(facts, file)
"""


# Of the others: what is reported, an expression of each number, and its limits.
OTHERS = {
    "generate_and_print.ipynb": {
        "error": ("cells[0].error", 0, 1e-3),
        "voxels": ("again.mean() / cell.volume", 0.995, 1.005),
        "wall": ("min(printed.wall, printed.gap) / size", LIMIT, 1),
        "pieces": ("printed.pieces", 1, 1),
    },
    "homogenize_your_image.ipynb": {
        # Drawn out along z; a tighter window is stiffer; more solid too.
        "ratio": ("young['orthotropic'][2] / young['orthotropic'][:2].mean()", 1.2, 3),
        "bound": ("(young['kinematic'] / young['orthotropic']).min()", 1, 2),
        "threshold": ("float(np.diff(along_z).max())", -1, 0),
    },
    "homogenizer_in_your_program.ipynb": {
        # A step of 0.02 is off by some thousandths of the largest entry.
        "hessian": (
            "abs(hessian[:, 0] - difference).max() / abs(hessian).max()",
            0,
            0.02,
        ),
        "batch": ("abs(tensors - alone).max()", 0, 1e-5),
        "sharded": ("abs(sharded - alone).max()", 0, 1e-5),
        "devices": ("len(sharded.sharding.device_set)", 2, 2),
        "ascent": ("values[-1] / values[0]", 1.05, 10),
        "volume": ("volumes.max() - volumes.min()", 0, 0.05),
    },
    "interpolate_and_grade.ipynb": {
        "code": ("code", 0, 0),
        # Isotropic in K or not, no mean of two fields beats the plates.
        "ends": ("constants[0, 0] - constants[1:, 0].max()", 0, 1),
        "volume": ("max(abs(e.volume - 0.3) for e in found)", 0, 1e-3),
        "faces": ("min(agreement)", 0.9, 1),
        "graded": ("strip[-16:].mean() - strip[:16].mean()", 0.03, 0.3),
    },
    "train_your_model.ipynb": {
        "code": ("code", 0, 0),
        "cells": ("len(data.constants)", 20, 48),
        "loss": ("losses[-1, 1] / losses[0, 1]", 0, 0.9),
    },
}


def read(name):
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def code_of(notebook):
    cells = notebook["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


def test_there_is_a_notebook():
    assert DESIGN in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_stored_without_results(name):
    notebook = read(name)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    # The hook in .pre-commit-config.yaml numbers the cells like that.
    ids = [cell["id"] for cell in notebook["cells"]]
    assert ids == [str(i) for i in range(len(ids))]
    for cell in notebook["cells"]:
        assert not cell["metadata"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    # Jupyter's own form, so that saving it changes nothing but what was edited.
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    assert (FOLDER / name).read_bytes() == text.encode()


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_short_and_lines_fit(name):
    notebook = read(name)
    for code in code_of(notebook):
        ast.parse(code)
        assert code.count("\n") < 30
    for cell in notebook["cells"]:
        lines = "".join(cell["source"]).split("\n")
        assert max(map(len, lines)) <= 88 and lines == [s.rstrip() for s in lines]


@pytest.mark.parametrize("name", NAMES)
def test_paths_are_relative_and_links_lead_somewhere(name):
    text = "\n".join("".join(cell["source"]) for cell in read(name)["cells"])
    assert not re.findall(r"(?:^|[\s\"'`(=])(?:/\w|~/|[A-Za-z]:[\\/]\w)", text)
    links = re.findall(r"\]\(([^)#]+)\)", text)
    missing = [s for s in links if "://" not in s and not (FOLDER / s).exists()]
    assert links and not missing
    configs = re.findall(r"--config=([\w/.]+)", text)
    assert all(main.full_label(config).endswith(".py") for config in configs)


def run(name, report, folder):
    """Run a notebook and a last cell; return what it has, and what that cell wrote."""
    for package in ("nbclient", "ipykernel", "matplotlib", "skimage"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the notebook is run with {package}")
    notebook = read(name)
    last = {"cell_type": "code", "id": "report", "metadata": {}, "outputs": []}
    notebook["cells"].append(last | {"execution_count": None, "source": report})
    (folder / "notebook.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    # Without settings of the user's; and pictures belong into the notebook.
    settings = {"IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"}
    env = os.environ | {name: str(folder / name) for name in settings}
    env.pop("MPLBACKEND", None)
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE],
        cwd=folder, env=env, timeout=600, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads((folder / "executed.ipynb").read_text(encoding="utf-8"))["cells"]
    return cells, json.loads((folder / "facts.json").read_text())


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Run the notebook; return the folder it ran in, its cells and what it found."""
    folder = tmp_path_factory.mktemp("notebook")
    return folder, *run(DESIGN, REPORT, folder)


def test_each_notebook_is_run():
    assert sorted([DESIGN, *OTHERS]) == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_others_run_and_find_what_they_say(name, tmp_path):
    limits = OTHERS[name]
    numbers = ", ".join(f"{key!r}: float({code})" for key, (code, *_) in limits.items())
    report = f"import json\n\njson.dump({{{numbers}}}, open('facts.json', 'w'))"
    cells, facts = run(name, report, tmp_path)
    for key, (_, low, high) in limits.items():
        assert low <= facts[key] <= high, f"{key}: {facts[key]}"
    assert cells[-1]["cell_type"] == "code" and not cells[-1]["outputs"]


@pytest.mark.slow
def test_the_gradient_agrees_with_a_central_difference(executed):
    _, _, facts = executed
    assert Path(facts["python"]).samefile(sys.executable)
    # Steps of 0.01 leave an error of 1e-3: C depends on the cube of the density.
    assert facts["slope"] == pytest.approx(facts["difference"], rel=3e-3)
    assert facts["slope"] > 1e-3


@pytest.mark.slow
def test_both_optimizers_climb_and_keep_the_volume(executed):
    _, _, facts = executed
    (first, _), *_, (last, volume) = facts["by_adam"]
    assert last > first / 4 and first < -20  # of a maximum below 0
    assert volume == pytest.approx(0.3, abs=0.01)  # by a penalty, that is about
    assert facts["value"][-1] > last
    # Constraints of MMA are met to the accuracy of one linearization.
    assert facts["volume"][-1] <= 0.3 * 1.002
    assert facts["final"] > facts["value"][-1] - 0.1  # a surface against nearly one


@pytest.mark.slow
def test_the_cell_is_auxetic_and_in_one_piece(executed):
    folder, _, facts = executed
    with np.load(folder / "auxetic.npz") as archive:
        cell, psi, volume = archive["cell"], archive["psi"], float(archive["volume"])
        constants, doubt = archive["constants"], archive["uncertainty"]
    assert cell.shape == (128, 128, 128) and set(np.unique(cell)) == {0, 1}
    # A voxel is solid where its centre is.
    assert cell.mean() == pytest.approx(volume, rel=3e-3)
    assert volume == pytest.approx(0.3, rel=2e-3)  # ascent.SLACK
    assert periodic_pieces(cell)[1] == 1 and all(winding_axes(cell))
    octant = cell_to_octant(cell)
    assert np.array_equal(octant_to_cell(octant), cell)
    assert np.array_equal(octant, surface.voxels(psi, 64))
    # Elements twice as large, and all six loads, where the notebook solved two.
    again = accuracy.estimate(psi, elements=16, symmetry="orthotropic")
    assert again.converged
    apart = abs(again.constants - constants.repeat(3))
    assert (apart < again.uncertainty + doubt.repeat(3)).all()
    found = elasticity.moduli(constants)
    assert found["nu"] == pytest.approx(-0.3, abs=0.05)
    bulk, *_ = bounds.hashin_shtrikman(volume)
    assert 0 < found["K"] < bulk and found["E"] > 0.04
    margins = elasticity.stability_margins(constants)
    assert all(margin > 0 for margin in margins.values())
    # What the notebook maximized.
    value = np.log(found["E"]) - 100 * (found["nu"] + 0.3) ** 2
    assert facts["final"] == pytest.approx(value, abs=1e-3)
    assert facts["flaw"] == ""
    assert min(facts["wall"], facts["gap"]) >= LIMIT * facts["size"]


@pytest.mark.slow
def test_the_surface_is_closed_and_has_the_volume(executed):
    trimesh = pytest.importorskip("trimesh")
    folder, _, facts = executed
    mesh = trimesh.load(folder / "auxetic.stl")
    with np.load(folder / "auxetic.npz") as archive:
        solid = archive["volume"] * facts["size"] ** 3
    assert mesh.is_watertight
    # The level of the field keeps the volume to about 1e-4.
    assert mesh.volume == pytest.approx(solid, rel=2e-3)
    assert mesh.extents.max() <= facts["size"] * (1 + 1e-6)


@pytest.mark.slow
def test_pictures_show_something(executed):
    from matplotlib import image

    _, cells, _ = executed
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    data = [output.get("data", {}).get("image/png") for output in outputs]
    pictures = [
        image.imread(io.BytesIO(base64.b64decode("".join(png)))) for png in data if png
    ]
    assert len(pictures) == 3
    # Curves, the designs on the way, the cell: ochre means surfaces seen inside.
    for picture in pictures:
        assert picture[..., :3].std() > 0.05
    red, _, blue = np.moveaxis(pictures[-1][..., :3], -1, 0)
    assert (red - blue > 0.2).mean() > 0.1
