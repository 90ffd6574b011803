"""PNG files decode to the pixels that went in."""

import io

import numpy as np
import pytest

from mmdiff.io.write import encode_png, write_png


@pytest.mark.parametrize("shape", [(5, 7, 3), (4, 9), (1, 1, 3)])
def test_png_round_trip(tmp_path, shape):
    reader = pytest.importorskip("matplotlib.image")
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    write_png(tmp_path / "a.png", image)
    read = np.round(255 * reader.imread(tmp_path / "a.png")).astype(np.uint8)
    np.testing.assert_array_equal(read, image)


def test_png_of_a_flat_picture_is_small():
    assert len(encode_png(np.full((256, 256, 3), 250, np.uint8))) < 1500


def test_png_starts_with_the_signature():
    assert io.BytesIO(encode_png(np.zeros((2, 2), np.uint8))).read(4) == b"\x89PNG"


@pytest.mark.parametrize(
    "image", [np.zeros((2, 2, 3)), np.zeros((2, 2, 4), np.uint8), np.zeros(3, np.uint8)]
)
def test_png_refuses_other_types_and_shapes(image):
    with pytest.raises(ValueError, match="must be a non-empty uint8 array"):
        encode_png(image)
