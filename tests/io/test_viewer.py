"""The viewer carries every voxel and asks the network for nothing."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.io.viewer import cells_of, pack, solid_of, view_module, viewer


def unpack_voxels(bits, shape):
    data = np.frombuffer(base64.b64decode(bits), np.uint8)
    return np.unpackbits(data, count=np.prod(shape)).reshape(shape)


def embedded(text):
    return json.loads(re.search(r'id="cells">(.*?)</script>', text, re.S)[1])


def test_a_bit_is_where_the_script_looks_for_it():
    cell = np.zeros((4, 4, 4))
    cell[1, 2, 3] = 1
    index = (1 * 4 + 2) * 4 + 3
    data = base64.b64decode(embedded(viewer([("a", cell, None)]))[0]["bits"])
    # bytes.charCodeAt(i >> 3) >> (7 - (i & 7)) & 1
    assert [i for i in range(64) if data[i >> 3] >> (7 - (i & 7)) & 1] == [index]


def test_the_fragment_holds_its_cells_and_cannot_be_broken_by_a_name():
    cells = [
        ("</script><b>&", np.eye(6)[:, :, None] * np.ones(6), None),
        ("b", np.random.default_rng(0).random((3, 4, 5)) > 0.5, None),
    ]
    text = viewer(cells)
    assert text.count("</script>") == 2
    data = embedded(text)
    assert [c["name"] for c in data] == ["</script><b>&", "b"]
    for item, (_, cell, _) in zip(data, cells, strict=True):
        np.testing.assert_array_equal(unpack_voxels(item["bits"], item["shape"]), cell)


def test_a_field_has_a_byte_for_each_sample_of_the_octant():
    psi = np.linspace(-3, 3, 64).reshape(4, 4, 4)
    item = embedded(viewer([("a", np.ones((16, 16, 16)), psi)]))[0]
    assert item["shape"] == [8, 8, 8] and "bits" not in item
    levels = np.frombuffer(base64.b64decode(item["field"]), np.uint8).reshape(4, 4, 4)
    # Half of the range is the surface; it ends two spacings away.
    distance = (levels / 127.5 - 1) * 2
    np.testing.assert_allclose(distance, psi.clip(-2, 2), atol=1 / 127)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_script_mirrors_the_field_of_the_octant():
    psi = np.random.default_rng(0).normal(size=(3, 3, 3))
    text = viewer([("a", np.ones((6, 6, 6)), psi)])
    function = re.search(r"function mirrored.*?\n}\n", text, re.S)[0]
    bits = embedded(text)[0]["field"]
    code = f"{function} console.log(mirrored(atob('{bits}'), 6).join(' '))"
    run = subprocess.run(
        ["node", "-e", code], capture_output=True, text=True, check=True
    )
    red, green = (
        np.array(run.stdout.split(), np.uint8).reshape(6, 6, 6, 2).transpose(3, 0, 1, 2)
    )
    levels = np.frombuffer(base64.b64decode(bits), np.uint8).reshape(3, 3, 3)
    np.testing.assert_array_equal(red, octant_to_cell(levels))
    np.testing.assert_array_equal(green, red)


def test_the_fragment_is_small_and_offline():
    text = viewer([("a", np.ones((2, 2, 2)), None)])
    assert len(text) < 16_000
    assert "@shader@" not in text and "#version 300 es" in text
    for word in ("http", "fetch(", "import(", "XMLHttp", "//cdn", "@import"):
        assert word not in text


def test_every_control_has_a_label_and_a_missing_webgl2_a_message():
    text = viewer([("a", np.ones((2, 2, 2)), None)])
    for name in ("which", "tiles", "axis", "cut", "level"):
        assert re.search(rf'<label>[^<]*<(select|input) id="{name}"', text), name
    assert "offers no WebGL2" in text and "<noscript>" in text
    assert 'aria-label="3D view' in text and 'tabindex="0"' in text


def test_cells_of_a_page_are_found_again():
    rng = np.random.default_rng(0)
    cell, psi = rng.random((3, 4, 5)) > 0.5, rng.normal(size=(4, 4, 4))
    text = f"<p>{viewer([('</script>', cell, None), ('b', np.ones((8, 8, 8)), psi)])}"
    first, second = cells_of(text)
    assert first["name"] == "</script>" and first == pack("</script>", cell, None)
    solid, is_octant = solid_of(first)
    np.testing.assert_array_equal(solid, cell)
    assert not is_octant
    solid, is_octant = solid_of(second)
    np.testing.assert_array_equal(solid, psi > 0)
    assert is_octant
    assert cells_of("<p>a page without cells</p>") == []


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_module_is_one(tmp_path):
    path = tmp_path / "view.mjs"
    path.write_text(f"{view_module()}console.log(typeof makeView)")
    run = subprocess.run(["node", path], capture_output=True, text=True, check=True)
    assert run.stdout == "function\n"
