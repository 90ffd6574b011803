"""What the page shows comes from files that are there, and from nowhere else."""

import base64
import io
import zipfile

import numpy as np
import pytest
import serve_helpers

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.serve import archive, results
from mmdiff.design.serve.state import State
from mmdiff.io import viewer


@pytest.fixture
def state(tmp_path):
    return State(tmp_path / "jobs", most_waiting=4)


def test_files_are_plain_files_of_the_folder(state, tmp_path):
    job = serve_helpers.make_finished(state)
    (tmp_path / "secret").write_text("secret")
    (job.folder / "link.txt").symlink_to(tmp_path / "secret")
    (job.folder / ".hidden").write_text("")
    (job.folder / "below").mkdir()
    names = list(results.files(job))
    assert names == sorted(names) and "cell_00.stl" in names
    assert not {"link.txt", ".hidden", "below", "job.json"} & set(names)
    state.remove(job)
    assert results.files(job) == {}


def test_a_finished_job_has_its_cells_with_their_surfaces(state):
    job = serve_helpers.make_finished(state, cells=2)
    found = results.detail(job)
    assert [cell["error"] for cell in found["cells"]] == [0.001, 0.001]
    assert [cell["view"]["shape"] for cell in found["cells"]] == 2 * [[16, 16, 16]]
    assert {"name": "cell_00.stl", "bytes": 300_000} in found["files"]


def test_damaged_results_show_no_cells(state):
    job = serve_helpers.make_finished(state)
    (job.folder / "properties.json").write_text('{"cells": [')
    assert results.detail(job)["cells"] == []


def test_a_plate_has_its_thickness_on_its_surface():
    solid = np.zeros((12, 12, 12), bool)
    solid[:3] = True  # of an octant: 6 voxels with its image
    levels, most = results.thickness_of(solid)
    assert most == 6 and (levels == 255).all()  # void takes what is nearest


def test_walls_of_a_field_are_those_of_the_whole_cell():
    x = (np.arange(8) + 0.5)[:, None, None] - 3 + np.zeros((8, 8, 8))
    packed = viewer.pack("plate", np.ones((16, 16, 16)), -x)
    found = results.walls(packed)
    assert found["shape"] == [16, 16, 16] and found["most"] == 6 / 16
    levels = np.frombuffer(base64.b64decode(found["levels"]), np.uint8)
    assert (levels == 255).all()
    bits = viewer.pack("same", octant_to_cell(-x > 0), None)
    assert results.walls(bits)["most"] == 6 / 16


def test_an_archive_holds_the_files_and_is_sent_in_parts(tmp_path):
    data = np.random.default_rng(0).bytes(700_000)
    (tmp_path / "a.stl").write_bytes(data)
    (tmp_path / "b.png").write_bytes(b"picture")
    paths = sorted(tmp_path.iterdir())
    parts = list(archive.stream("job", paths))
    assert max(map(len, parts)) < 2 * archive.BLOCK
    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as found:
        assert found.testzip() is None
        assert found.read("job/a.stl") == data
        assert found.read("job/b.png") == b"picture"
