"""A minimal PNG encoder (8 bits, grey or RGB), so that pictures need no extra package.

PNG specification, third edition, sections 5 (chunks), 9.2 (filter type Up) and 11.
"""

import os
import pathlib
import zlib

import numpy as np

from mmdiff.io.write import write_bytes


def encode_png(image: np.ndarray) -> bytes:
    """Return the PNG file of an image.

    Args:
      image: uint8 (height, width) grey or (height, width, 3) RGB.

    Raises:
      ValueError: for any other type or shape.
    """
    image = np.asarray(image)
    colour = image.ndim == 3 and image.shape[2] == 3
    if image.dtype != np.uint8 or not (colour or image.ndim == 2) or not image.size:
        raise ValueError(
            "a picture must be a non-empty uint8 array (h, w) or (h, w, 3); got "
            f"{image.dtype} {image.shape}"
        )
    height, width = image.shape[:2]
    rows = image.reshape(height, -1)
    # Differences to the row above (modulo 256) compress far better than the values.
    filtered = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))
    lines = np.pad(filtered, ((0, 0), (1, 0)), constant_values=2)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    header += bytes([8, 2 if colour else 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(lines.tobytes(), 6)),
            (b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + kind + data + check


def write_png(path: str | os.PathLike, image: np.ndarray) -> pathlib.Path:
    """Write an image as PNG; see `encode_png`."""
    return write_bytes(path, encode_png(image))
