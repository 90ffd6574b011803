"""The viewer carries every voxel and asks the network for nothing."""

import base64
import json
import re

import numpy as np

from mmdiff.io.viewer import viewer


def unpack_voxels(bits, n):
    data = np.frombuffer(base64.b64decode(bits), np.uint8)
    return np.unpackbits(data, count=n**3).reshape(n, n, n)


def embedded(text):
    return json.loads(re.search(r'id="cells">(.*?)</script>', text, re.S)[1])


def test_a_bit_is_where_the_script_looks_for_it():
    cell = np.zeros((4, 4, 4))
    cell[1, 2, 3] = 1
    index = (1 * 4 + 2) * 4 + 3
    data = base64.b64decode(embedded(viewer([("a", cell)]))[0]["bits"])
    # bytes.charCodeAt(i >> 3) >> (7 - (i & 7)) & 1
    assert [i for i in range(64) if data[i >> 3] >> (7 - (i & 7)) & 1] == [index]


def test_the_fragment_holds_its_cells_and_cannot_be_broken_by_a_name():
    cells = [
        ("</script><b>&", np.eye(6)[:, :, None] * np.ones(6)),
        ("b", np.random.default_rng(0).random((3, 3, 3)) > 0.5),
    ]
    text = viewer(cells)
    assert text.count("</script>") == 2
    data = embedded(text)
    assert [c["name"] for c in data] == ["</script><b>&", "b"]
    for item, (_, cell) in zip(data, cells, strict=True):
        np.testing.assert_array_equal(unpack_voxels(item["bits"], item["n"]), cell)


def test_the_fragment_is_small_and_offline():
    text = viewer([("a", np.ones((2, 2, 2)))])
    assert len(text) < 14_000
    assert "@shader@" not in text and "#version 300 es" in text
    for word in ("http", "fetch(", "import(", "XMLHttp", "//cdn", "@import"):
        assert word not in text


def test_every_control_has_a_label_and_a_missing_webgl2_a_message():
    text = viewer([("a", np.ones((2, 2, 2)))])
    for name in ("which", "tiles", "axis", "cut", "level"):
        assert re.search(rf'<label>[^<]*<(select|input) id="{name}"', text), name
    assert "offers no WebGL2" in text and "<noscript>" in text
    assert 'aria-label="3D view' in text and 'tabindex="0"' in text
