"""The files that rows of `rows` name: damaged, huge, empty, of the wrong kind."""

import gzip
import io
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

CONFIGS = {
    "exits.py": "import sys\nsys.exit(7)\n",
    "leaves.py": "def get_config():\n    raise SystemExit\n",
    "fails.py": "1 / 0\n",
    "broken.py": "def get_config(:\n",
    "empty.py": "",
    "bytes.py": b"\xff\xfe\x00",
    "loud.py": "raise ValueError('a' * 100_000)\n",
    "text.txt": "seed = 3\n",
    "alone.py": (
        "from ml_collections import ConfigDict\n\n\n"
        "def get_config():\n    return ConfigDict()\n"
    ),
}
OBJECTIVES = {
    "own.py": (
        "import jax.numpy as jnp\nimport numpy as np\n\n\n"
        "def row(C):\n    return C[0]\n\n\n"
        "def root(C):\n    return jnp.sqrt(C[0, 3])\n\n\n"
        "def one(C):\n    return 1.0\n\n\n"
        "def plain(C):\n    return float(np.linalg.det(np.asarray(C)))\n\n\n"
        "def matrix(C):\n    return C\n"
    ),
    "exits.py": "import sys\nsys.exit(7)\n",
    "later.py": (
        "import sys\n\n\ndef f(C):\n    sys.exit(7)\n\n\n"
        "def g(C):\n    return 1 / 0\n\n\ntext = 'f'\n"
        "def whole(C):\n    return C\n\n\ndef still(C):\n    return 0 * C[0, 0]\n"
        "\n\ndef steep(C):\n    return (C[0, 3]) ** 0.5\n\n\ndef none(C):\n    pass\n"
        "\n\ndef two(C, D):\n    return C[0, 0]\n"
    ),
}
LISTS = {
    "semi.csv": b"C11;C12;C44;V\n0.1;0.04;0.03;0.3\n",
    "wide.csv": "C11,V\n0.1,0.3\n".encode("utf-16"),
    "bad.csv": b"C11,V\nsoft,0.3\n0.1,2\nnan,0.3\n",
    "none.csv": b"",
    "head.csv": b"C11,C12,C44,V\n",
    "odd.csv": b"mass,price\n1,2\n",
    "twice.csv": b"C11,C11,V\n0.1,0.1,0.3\n",
    "nine.csv": b"C11,C22,V\n0.1,0.1,0.3\n",
    "ragged.csv": b"C11,C12,C44,V\n0.1,0.04,0.03,0.3,7,8\n",
    "names.csv": b"name,C11,V\na,0.1,0.3\na,0.1,0.3\n",
    "zero.csv": b"C11,V\n0.1\x00,0.3\n",
    "five.txt": b"1 2 3 4 5\n",
    "soft.txt": np.array2string(-np.eye(6)).replace("[", "").replace("]", "").encode(),
    "skew.txt": b"1 0 0 0 0 0\n" * 6,
    "nan.txt": b"nan 0 0 0 0 0\n" * 6,
    "bytes.txt": bytes(range(256)),
    "weights.npz": b"PK\x03\x04 and nothing more",
    "text.npz": b"a text",
    "text.nrrd": b"a text",
    "text.vti": b"a text",
    "torn.vti": b"<VTKFile type='ImageData'><ImageData>",
    "grid.vti": b"<VTKFile type='UnstructuredGrid'></VTKFile>",
    "text.mat": b"a text",
    "text.tif": b"a text",
    "text.h5": b"a text",
    "text.stl": b"a text",
    "text.ply": b"a text",
    "text.obj": b"a text",
    "text.3mf": b"a text",
    "text.docx": b"a text",
}


def _npy(shape, data=b""):
    file = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + data


def _arrays(folder):
    ones, zeros = np.ones((8, 8, 8), np.uint8), bytes(4_000_000)
    np.save(folder / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.save(folder / "spans.npy", ones.astype("m8[s]"))
    np.save(folder / "nan.npy", np.full((8, 8, 8), np.nan, np.float32))
    np.save(folder / "void.npy", 0 * ones)
    np.save(folder / "mask.npy", 255 * ones)
    np.save(folder / "thin.npy", ones[:, :, :2])
    np.save(folder / "many.npy", np.stack([ones, ones]))
    np.save(folder / "full.npy", ones)
    np.save(folder / "minus.npy", -1.0 * ones)
    np.save(folder / "words.npy", np.full((8, 8, 8), "solid"))
    np.save(folder / "complex.npy", ones * 1j)
    np.save(folder / "flat.npy", ones[0])
    np.save(folder / "point.npy", np.float64(1.0))
    np.save(folder / "none.npz", ones[:0])
    np.save(folder / "hollow.npy", ones[:0])
    np.save(folder / "five.npy", np.ones((2, 1, 4, 4, 4)))
    bar = np.zeros((8, 8, 8), np.uint8)
    bar[:, 3:6, 2:6] = 1
    np.save(folder / "bar.npy", bar)
    np.save(folder / "box.npy", ones[:, :, :6])
    np.savez(folder / "two.npz", a=ones, b=ones)
    np.savez(folder / "hollow.npz")
    np.savez(folder / "names.npz", **{f"{'a' * 200}{i}": ones[0] for i in range(50)})
    contents = {
        "empty.npy": b"",
        "text.npy": b"a text",
        "short.npy": _npy((8, 8, 8), bytes(5)),
        "overflow.npy": _npy((2**32, 2**32, 4)),
        "a.raw": b"",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    with (folder / "hole.npy").open("wb") as file:
        file.write(_npy((2**40, 4)))
        file.truncate(2**43)
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", _npy((16, 16, 16), zeros))
    _volumes(folder, zeros)


def _volumes(folder, zeros):
    head = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: {}\nencoding: {}\n"
    small = head.format("16 16 16", "gzip").encode()
    (folder / "bomb.nrrd").write_bytes(small + b"\n" + gzip.compress(zeros))
    sizes = "0 99999999999999999999 16"
    (folder / "zero.nrrd").write_text(head.format(sizes, "raw") + "\n")
    for name, place in (("far", "../out.raw"), ("device", "/dev/zero")):
        text = head.format("2 2 2", "raw") + f"data file: {place}\n"
        (folder / f"{name}.nhdr").write_text(text)
    vti = (
        '<VTKFile type="ImageData" compressor="vtkZLibDataCompressor"><ImageData>'
        '<Piece Extent="{}"><CellData><DataArray type="UInt8" Name="a" '
        'format="appended" offset="0"/></CellData></Piece></ImageData>'
        '<AppendedData encoding="raw">_'
    )
    packed = zlib.compress(zeros)
    blocks = np.array([1, 4096, 0, len(packed)], "<u4").tobytes() + packed
    for name, extent in (("bomb", "0 16 0 16 0 16"), ("flat", "0 16 0 16 0 -1")):
        content = vti.format(extent).encode() + blocks + b"</AppendedData>"
        (folder / f"{name}.vti").write_bytes(content)
    text = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (folder / "bad.mat").write_bytes(text + bytes([14, 0, 0, 0, 99, 0, 0, 0]))


def write(folder: Path) -> Path:
    """Write every bad file into a folder, and return it."""
    for place, texts in ((folder / "configs", CONFIGS), (folder, OBJECTIVES | LISTS)):
        place.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            content = text if isinstance(text, bytes) else text.encode()
            (place / name).write_bytes(content)
    (folder / "hollow").mkdir(exist_ok=True)
    if not (folder / "pipe.txt").exists():
        os.mkfifo(folder / "pipe.txt")
    good = 1_000 * "0.11,0.045,0.04,0.3\n"
    (folder / "long.csv").write_text(f"C11,C12,C44,V\n{good}soft,0,0,0\n")
    _arrays(folder)
    return folder
