"""Files, folders and datasets: what is written, what is kept and what is left out."""

import csv
import json

import numpy as np
import pytest
from homogenize_helpers import schwarz

from mmdiff.cells import distance, mesh, surface
from mmdiff.cells.prepare import Options
from mmdiff.cells.symmetry import cell_to_octant, octant_to_cell
from mmdiff.data import store
from mmdiff.design.homogenize import batch, properties, solution
from mmdiff.design.homogenize.geometry import Geometry
from mmdiff.errors import DataError, InputError
from mmdiff.io import plots, write
from mmdiff.io.json import write_json
from mmdiff.io.read_vti import read_vti
from mmdiff.run import inputs, manifest


@pytest.fixture(autouse=True)
def no_spheres(monkeypatch):
    """Draw nothing: the report has its own tests."""
    monkeypatch.setattr(plots, "modulus_spheres", lambda *_: True)


@pytest.fixture
def solved(monkeypatch):
    """Return the labels of the cells that are solved, as they come."""
    labels, real = [], batch.prepare.prepare

    def prepare(array, name, options):
        labels.append(name)
        return real(array, name, options)

    monkeypatch.setattr(batch.prepare, "prepare", prepare)
    return labels


def run(source, tmp_path, **settings):
    return batch.homogenize(source, tmp_path / "out", batch.Settings(**settings))


def stored(folder):
    return json.loads((folder / "properties.json").read_text())


def test_results_are_kept_while_they_are_those_of_the_file(tmp_path, solved):
    path, out = tmp_path / "cell.npy", tmp_path / "out"
    out.mkdir()
    np.save(path, 255 * schwarz())
    settings = {"options": Options(scale=255.0)}
    [values], left_out = run(path, tmp_path, **settings)
    assert not left_out and stored(out) == values | {
        "conventions": properties.CONVENTIONS
    }
    assert values["file"] == "cell.npy" and values["input"]["scale"] == 255
    assert values["input"] | manifest.checksum(path) == values["input"]
    assert "cell.npy" in (out / "metrics.jsonl").read_text()
    [again], _ = run(path, tmp_path, **settings)
    assert again == stored(out) and len(solved) == 1
    # Another file of the same name, a page that was not written yet.
    np.save(path, 255 * (1 - schwarz()))
    [other], _ = run(path, tmp_path, **settings)
    assert other["volume"] == pytest.approx(1 - values["volume"])
    (out / "report.html").unlink()
    [last], _ = run(path, tmp_path, **settings)
    assert last["C"] == other["C"] and len(solved) == 3


def test_damaged_results_and_those_of_other_settings_are_made_again(
    tmp_path, solved, capsys
):
    path, out = tmp_path / "cell.npy", tmp_path / "out"
    out.mkdir()
    np.save(path, schwarz())
    write_json(out / "run.json", {"settings_sha256": "aa"})
    [first], _ = run(path, tmp_path)
    whole = (out / "properties.json").read_bytes()
    damages = [b"", b"{bro", b'{"file": "\xff"}', whole.replace(b'"C11"', b'"C10"')]
    for count, content in enumerate(damages, 2):
        (out / "properties.json").write_bytes(content)
        [again], _ = run(path, tmp_path)
        assert again["C"] == first["C"] and len(solved) == count
        said = " ".join(capsys.readouterr().out.split())
        assert "properties.json is damaged. It is made again." in said
    write_json(out / "run.json", {"settings_sha256": "ab"})
    run(path, tmp_path)
    assert len(solved) == count + 1
    assert "is of other settings or inputs." in capsys.readouterr().out


def test_many_cells_of_one_file(tmp_path, capsys, solved):
    path, out = tmp_path / "cells.npz", tmp_path / "out"
    cells = np.stack([schwarz(), 0 * schwarz(), 1 - schwarz()])
    np.savez_compressed(path, volume=np.zeros(3), cells=cells)
    with pytest.raises(InputError, match=r"cells.npz holds 3 cells \(shape \(3, 16,"):
        run(path, tmp_path)
    with pytest.raises(InputError, match=r"cells.npz\[1\] has no solid voxel"):
        run(path, tmp_path, index="1")
    out.mkdir()
    [one], _ = run(path, tmp_path, index="2")
    assert one["file"] == "cells.npz[2]" and one["input"]["array"] == "cells"
    (out / "properties.json").unlink()
    found, left_out = run(path, tmp_path, index="all")
    assert [values["file"] for values in found] == ["cells.npz[0]", "cells.npz[2]"]
    assert found[1]["C"] == one["C"] and stored(out / "2")["C"] == one["C"]
    [(label, reason)] = left_out
    assert label == "cells.npz[1]" and "no solid voxel" in reason
    assert f"left out: {reason}" in capsys.readouterr().out
    assert {p.name for p in out.iterdir() if p.is_dir()} == {"0", "2"}
    with (out / "properties.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [v["file"] for v in found] + [label]
    assert rows[2]["error"] == reason
    errors = [float(row["mesh_error_C11"]) for row in rows[:2]]
    assert errors == [v["refined"]["mesh_error"]["C11"] for v in found]
    # A sheet parts the void in two, neither closed; inside out it is the one wall.
    assert [row["void_pieces"] for row in rows[:2]] == ["2", "1"]
    assert rows[0]["trapped"] == rows[1]["trapped"] == "0.0"
    assert float(rows[0]["wall_mm"]) == pytest.approx(
        float(rows[0]["wall_voxels"]) * 10 / 16
    )
    page = (out / "index.html").read_text()
    assert "trapped %" in page and "C11 mesh %" in page
    assert "2/report.html" in (out / "index.html").read_text()


def test_a_surface_is_written_as_it_was_homogenized(tmp_path):
    path, out = tmp_path / "cell.npy", tmp_path / "out"
    out.mkdir()
    np.save(path, schwarz())
    chosen = Geometry(geometry="surface", refine="never", cell_size_mm=4.0)
    [values], _ = run(path, tmp_path, geometry=chosen, fields=("energy",))
    files = {f"surface.{kind}" for kind in ("stl", "3mf", "glb", "png", "npy", "npz")}
    assert files <= {file.name for file in out.iterdir()}
    stored_psi = np.load(out / "surface.npz")
    psi = surface.from_voxels(cell_to_octant(schwarz()))
    np.testing.assert_allclose(stored_psi["psi"], psi, atol=1e-6)
    assert stored_psi["uncertainty"][0] == values["uncertainty"]["C11"] > 0
    vertices, faces = mesh.field_surface(psi, 4.0)
    assert (out / "surface.stl").stat().st_size == 84 + 50 * len(faces)
    assert vertices.max() == 4
    tensor = np.loadtxt(out / "tensor.txt")
    assert tensor[0, 0] == pytest.approx(values["C11"], rel=1e-6)
    # Energy is that of the coarse grid, stiffer than the limit.
    energy, _ = read_vti(out / "fields.vti", key="energy_11")
    doubt = values["uncertainty"]["C11"]
    assert 0 < 2 * energy.mean() - tensor[0, 0] < 10 * doubt
    report = (out / "report.html").read_text()
    assert "surface, +-" in report and "surface.stl" in report


def test_cells_of_a_dataset_are_surfaces(tmp_path):
    root = tmp_path / "run/data.zarr"
    psi = surface.from_voxels(cell_to_octant(schwarz()))
    store.create(root, n=8, shards=1, shard_size=1, base={}, recipe={})
    store.write_shard(
        root,
        0,
        packed=distance.pack(psi)[None],
        constants=np.ones((1, 3)),
        volume=np.ones(1),
        records=[{"id": 0, "split": 0, "uncertainty": [0.1, 0.1, 0.1]}],
        rejected={},
    )
    (tmp_path / "out").mkdir()
    chosen = Geometry(geometry="surface", refine="never")
    [values], _ = run(root.parent, tmp_path, geometry=chosen)
    # Voxels are twice as fine as the samples.
    assert values["resolution"] == 16 and values["input"]["is"] == "octant"
    assert values["input"]["shape"] == [1, 8, 8, 8]
    stored_psi = np.load(tmp_path / "out/surface.npz")["psi"]
    np.testing.assert_allclose(stored_psi, psi, atol=distance.CLIP / distance.STEPS)
    assert values["volume"] == pytest.approx(surface.volume(psi), abs=2e-3)
    with pytest.raises(InputError, match="run holds one cell .*, so index=3 is none"):
        run(root.parent, tmp_path, index="3")
    assert values["input"]["content"] == inputs.digest(str(root))
    whole = stored(tmp_path / "out")
    assert run(root.parent, tmp_path, geometry=chosen)[0] == [whole]
    # Another dataset of the same name.
    other = {**whole, "input": {**whole["input"], "content": "of another"}}
    write_json(tmp_path / "out/properties.json", other)
    manifest.seal(tmp_path / "out")
    run(root.parent, tmp_path, geometry=chosen)
    assert stored(tmp_path / "out") == whole
    store.manifest_path(root, 0).write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        run(root, tmp_path)


def test_folders_without_a_usable_file_are_refused(tmp_path):
    folder = tmp_path / "cells"
    folder.mkdir()
    with pytest.raises(InputError, match="holds no voxel file"):
        run(folder, tmp_path)
    np.save(folder / "a.npy", np.zeros((16, 16, 16)))
    (folder / "b.npz").write_bytes(b"garbage")
    with pytest.raises(InputError, match="none of 2 cells could be .* a.npy has no so"):
        run(folder, tmp_path)


def test_names_of_files_lead_nowhere_else(tmp_path, monkeypatch):
    folder, out = tmp_path / "cells", tmp_path / "work" / "out"
    folder.mkdir()
    names = ["..", ".", "run.json", "log.txt", "metrics.jsonl", "config.json", ".lock"]
    names += ["properties.csv", "index.html", "good", "a b", "x\ny"]
    for name in names:
        np.save(folder / f"{name}.npy", schwarz())
    places = []

    def homogenize_cell(cell, log, settings):
        places.append(cell.folder)
        return {"file": cell.label}

    monkeypatch.setattr(batch, "homogenize_cell", homogenize_cell)
    monkeypatch.setattr(batch, "_write_summary", lambda *_: None)
    found, left_out = batch.homogenize(folder, out, batch.Settings())
    assert len(found) == len(names) and not left_out
    assert {place.parent for place in places} == {out} and len({*places}) == len(names)
    chosen = {place.name for place in places}
    assert {"good", "a b"} <= chosen and ".." not in chosen
    assert not chosen & {*batch.workdir.COMMON, batch.workdir.LOCK, batch.TABLE}


@pytest.mark.slow
def test_a_folder_and_all_symmetries(tmp_path, solved):
    cells, out = tmp_path / "cells", tmp_path / "out"
    cells.mkdir()
    out.mkdir()
    octant = cell_to_octant(schwarz()).copy()
    octant[:, 0, 0] = 1
    ortho = octant_to_cell(octant)
    np.save(cells / "cubic.npy", schwarz())
    write.write_vti(cells / "ortho.vti", {"density": ortho})
    shifted = np.roll(ortho, 3, axis=(0, 1, 2))  # no mirror in the middle any more
    np.savez_compressed(cells / "ortho.npz", cell=shifted)
    np.save(cells / "bad.npy", schwarz()[:3])
    settings = {"solver": solution.Solver(tol=1e-6)}
    found, [(bad, reason)] = run(cells, tmp_path, **settings)
    assert bad == "bad.npy" and "4 voxels or more" in reason
    # Two files of one stem keep their suffixes.
    names = {path.name for path in out.iterdir() if path.is_dir()}
    assert names == {"cubic", "ortho.vti", "ortho.npz"}
    index = (out / "index.html").read_text()
    assert all(f"{name}/report.html" in index for name in names)
    by_name = {values["file"]: values for values in found}
    assert {name: values["symmetry"] for name, values in by_name.items()} == {
        "cubic.npy": "cubic",
        "ortho.npz": "periodic",
        "ortho.vti": "orthotropic",
    }
    octant, whole = (np.array(by_name[f"ortho.{k}"]["C"]) for k in ("vti", "npz"))
    # The same cell, shifted: solved on the octant and whole, both to 1e-6.
    np.testing.assert_allclose(whole, octant, atol=2e-6)
    assert abs(octant[0, 0] - octant[1, 1]) > 1e-3
    # A file that is changed is the only one solved again, but for those left out.
    before = len(solved)
    np.save(cells / "cubic.npy", 1 - schwarz())
    run(cells, tmp_path, **settings)
    assert solved[before:] == ["bad.npy", "cubic.npy"]


@pytest.mark.slow
def test_loose_soft_and_unsolved_cells_are_noted(tmp_path, capsys):
    octant = np.zeros((8, 8, 8))
    octant[:, :, 2:4] = 1  # two slabs per cell, nothing across
    octant[7, 7, 7] = 1  # eight such voxels are one island in the middle
    np.save(tmp_path / "cell.npy", octant)
    (tmp_path / "out").mkdir()
    settings = {
        "options": Options(input_is="octant"),
        "solver": solution.Solver(tol=1e-7, maxiter=2),
    }
    [values], _ = run(tmp_path / "cell.npy", tmp_path, **settings)
    said = capsys.readouterr().out
    assert "cell.npy has 3 separate solid pieces across periodic boundaries" in said
    assert "the solid does not span the cell along z: stiffness is near zero" in said
    assert "after 2 steps (wanted 1e-7) for load" in said and "of 6; results" in said
    assert not values["load_bearing"] and not values["converged"]
    assert values["spans"] == {"x": True, "y": True, "z": False}
    assert values["singular_loads"] == ["33", "23", "13"]
    assert all(f"note: {note}" in said for note in values["notes"])
    html = (tmp_path / "out/report.html").read_text()
    assert "not load bearing, unconverged" in html and "after 2 steps (wanted" in html


def test_grays_are_shown_with_their_threshold(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "slices", lambda path, **given: shown.append(given))
    path = tmp_path / "scan.npy"
    gray = np.linspace(20, 220, 8**3).reshape(8, 8, 8)
    np.save(path, gray)
    how = Options(scale=220.0, threshold=0.6, binarize=True)
    run(path, tmp_path, options=how, geometry=Geometry(refine="never"))
    assert shown[0]["threshold"] == pytest.approx(132)
    np.testing.assert_array_equal(shown[0]["image"], gray)


def test_voxels_of_any_box_have_meshes_where_they_are_asked_for(tmp_path):
    path = tmp_path / "box.npy"
    box = np.zeros((8, 10, 12))
    box[2:6] = 1
    np.save(path, box)
    run(path, tmp_path, meshes=True, geometry=Geometry(refine="never"))
    for kind in ("3mf", "glb", "vti", "png"):
        assert (tmp_path / "out" / f"solid.{kind}").is_file()
    solid = pytest.importorskip("trimesh").load(tmp_path / "out" / "solid.stl")
    assert solid.is_watertight and solid.volume == pytest.approx(
        0.5 * 10 * 12.5 * 15, rel=0.01
    )
