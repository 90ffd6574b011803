"""Voxel files of all kinds give their array back, or say what is wrong."""

import contextlib
import gzip

import numpy as np
import pytest
from scipy import io

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.errors import InputError
from mmdiff.io import read
from mmdiff.io import write as writers


@pytest.fixture
def cell():
    return np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)


def nrrd_bytes(array, encoding="raw", extra=""):
    data = array.tobytes(order="F")
    data = gzip.compress(data) if encoding == "gzip" else data
    sizes = " ".join(map(str, array.shape))
    header = (
        f"NRRD0004\n# a comment\ntype: float\ndimension: 3\nsizes: {sizes}\n"
        f"encoding: {encoding}\nendian: little\n{extra}"
    )
    return header.encode() + b"\n" + data


def write(path, cell):
    match path.suffix:
        case ".npy":
            np.save(path, cell)
        case ".npz":
            np.savez_compressed(path, volume=np.float32(0.3), cell=cell)
        case ".vti":
            writers.write_vti(path, {"density": cell})
        case ".nrrd":
            path.write_bytes(nrrd_bytes(cell))
        case ".mat":
            io.savemat(path, {"rho": cell})
        case ".raw":
            cell.tofile(path)


@pytest.mark.parametrize("kind", ["npy", "npz", "vti", "nrrd", "mat", "raw"])
def test_each_kind_gives_the_array_back(tmp_path, cell, kind):
    path = tmp_path / f"cell.{kind}"
    write(path, cell)
    options = {"shape": cell.shape, "dtype": "float32"} if kind == "raw" else {}
    array, info = read.read(path, **options)
    np.testing.assert_array_equal(array, cell)  # axes x y z in every format
    names = {"npz": "cell", "vti": "density", "mat": "rho"}
    assert info["array"] == names.get(kind)
    assert info["format"] == kind and info["shape"] == [4, 5, 6] and not info["notes"]


def test_raw_files_of_images_run_x_first(tmp_path, cell):
    path = tmp_path / "cell.raw"
    path.write_bytes(cell.astype(">f4").tobytes(order="F"))
    array, _ = read.read(path, shape=cell.shape, dtype=">f4", order="F")
    np.testing.assert_array_equal(array, cell)


def test_arrays_are_chosen_by_key_or_first(tmp_path, cell):
    path = tmp_path / "two.npz"
    np.savez(path, a=cell, b=2 * cell)
    array, info = read.read(path)
    np.testing.assert_array_equal(array, cell)
    assert "took 'a', the first of a, b" in info["notes"][0]
    array, info = read.read(path, key="b")
    np.testing.assert_array_equal(array, 2 * cell)
    assert not info["notes"]
    with pytest.raises(InputError, match=r"no array 'c'\. Its arrays: a, b\."):
        read.read(path, key="c")


def test_axes_of_length_one_are_dropped_and_noted(tmp_path, cell):
    np.save(tmp_path / "c.npy", cell[None])
    array, info = read.read(tmp_path / "c.npy")
    np.testing.assert_array_equal(array, cell)
    assert "(1, 4, 5, 6) taken as (4, 5, 6)" in info["notes"][0]


def test_find_lists_voxel_files_only(tmp_path, cell):
    for name in ("b.npy", "a.vti", "c.txt", "d.NPY"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "e.npy").mkdir()
    assert [p.name for p in read.find(tmp_path)] == ["a.vti", "b.npy", "d.NPY"]


def test_refusals_name_the_file_and_the_way_out(tmp_path, cell):
    def refuses(name, match, **options):
        with pytest.raises(InputError, match=match):
            read.read(tmp_path / name, **options)

    refuses("none.npy", r"no input file .*none.npy\. Give a file of the kinds \.npy")
    (tmp_path / "cell.step").write_bytes(b"solid")
    refuses("cell.step", r"cell.step has an unknown format\. Known are \.npy")
    for kind in ("npy", "npz", "mat", "vti", "nrrd"):
        (tmp_path / f"bad.{kind}").write_bytes(b"NRRD nonsense")
        refuses(f"bad.{kind}", f"bad.{kind} is not a readable")
    np.save(tmp_path / "five.npy", np.zeros((2, 2, 4, 4, 4)))
    refuses("five.npy", r"shape \(2, 2, 4, 4, 4\); voxels need three axes, or four")
    np.save(tmp_path / "none.npy", np.zeros((0, 4, 4)))
    refuses("none.npy", r"holds no values \(shape \(0, 4, 4\)\)")
    np.save(tmp_path / "words.npy", np.full((2, 2, 2), "a"))
    refuses("words.npy", "type <U1, not numbers")
    np.save(tmp_path / "spans.npy", np.zeros((2, 2, 2), "m8[s]"))
    refuses("spans.npy", r"type timedelta64\[s\], not numbers")
    np.save(tmp_path / "complex.npy", np.zeros((2, 2, 2), complex))
    refuses("complex.npy", "complex numbers")
    np.savez(tmp_path / "flat.npz", x=np.zeros(3))
    refuses("flat.npz", r"no array of numbers with three axes, .* \(it has: x \(3,")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    refuses("objects.npy", r"not a readable NumPy file \(it holds Python objects\)")
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    refuses("objects.npz", "no array of numbers")
    refuses("objects.npz", "type object, not numbers", key="x")


def test_raw_files_need_a_shape_that_fits(tmp_path, cell):
    path = tmp_path / "cell.raw"
    cell.tofile(path)
    with pytest.raises(InputError, match="carries no shape. Pass `shape=64"):
        read.read(path, shape=(0, 0, 0))
    for shape in ((4, 5), (4, -5, -6)):
        with pytest.raises(InputError, match="is not three positive edges. Pass"):
            read.read(path, shape=shape)
    with pytest.raises(InputError, match=r"has 480 bytes; .* of uint8 needs 120"):
        read.read(path, shape=(4, 5, 6))
    with pytest.raises(InputError, match="order=Z is unknown"):
        read.read(path, shape=(4, 5, 6), dtype="f4", order="Z")
    for dtype in ("voxel", ",,", "f99", "(4,"):
        with pytest.raises(InputError, match="is not a NumPy type. Use uint8"):
            read.read(path, shape=(4, 5, 6), dtype=dtype)
    for dtype in ("V0", "O", "m8[s]", "S4"):
        with pytest.raises(InputError, match="is not a type of numbers. Use uint8"):
            read.read(path, shape=(4, 5, 6), dtype=dtype)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"has 0 bytes; .* needs 73786976294838206464"):
        read.read(path, shape=(2**32, 2**32, 4))


def test_matlab_7_3_is_named_with_the_way_out(tmp_path):
    path = tmp_path / "new.mat"
    # The header of a 7.3 file; what follows is HDF5.
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124)
    path.write_bytes(text + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match=r"MATLAB 7\.3 file.*'-v7'"):
        read.read(path)


def test_content_decides_between_array_and_archive(tmp_path, cell):
    np.savez(tmp_path / "a.npz", cell=cell)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", cell)
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    for name in ("a.npy", "b.npz"):
        array, _ = read.read(tmp_path / name)
        np.testing.assert_array_equal(array, cell)


def test_cells_along_a_fourth_axis(tmp_path, cell):
    cells = np.random.default_rng(1).random((5, 4, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "cells.npz", volume=np.zeros(5), cells=cells)
    array, info = read.read(tmp_path / "cells.npz")
    np.testing.assert_array_equal(array, cells)
    assert info["array"] == "cells" and info["shape"] == [5, 4, 4, 4]
    # MATLAB's way: the last axis counts.
    np.save(tmp_path / "last.npy", np.moveaxis(cells, 0, 3)[..., None])
    array, info = read.read(tmp_path / "last.npy")
    np.testing.assert_array_equal(array, cells)
    assert "taken as (4, 4, 4, 5)" in info["notes"][0]
    assert "taken as 5 cells along the last axis" in info["notes"][1]
    # An array of one cell goes before one of many.
    np.savez(tmp_path / "both.npz", many=cells, one=cell)
    array, info = read.read(tmp_path / "both.npz")
    assert info["array"] == "one"


def test_select_takes_one_or_all_cells(cell):
    cells = np.stack([cell, 2 * cell, 3 * cell])
    [(number, chosen)] = read.select(cells, "a.npz", "2")
    assert number == 2
    np.testing.assert_array_equal(chosen, 3 * cell)
    assert [number for number, _ in read.select(cells, "a.npz", "all")] == [0, 1, 2]
    for index in ("", "0", "all"):
        [(number, chosen)] = read.select(cell, "a.npy", index)
        assert number is None
        np.testing.assert_array_equal(chosen, cell)


def test_select_names_shape_and_option(cell):
    cells = np.stack([cell] * 3)

    def refuses(array, index, match):
        with pytest.raises(InputError, match=match):
            read.select(array, "a.npz", index)

    refuses(
        cells,
        "",
        r"^a.npz holds 3 cells \(shape \(3, 4, 5, 6\)\). Choose one with "
        r"`index=0` to `index=2`, or take every one with `index=all`.$",
    )
    for index in ("3", "-1", "1.0", "best"):
        refuses(cells, index, rf"index={index} is no cell of a.npz, which holds 3 ")
    refuses(cell, "1", "a.npz holds one cell .* Leave `index` empty")


def test_files_that_cannot_be_opened_are_named(tmp_path, cell, monkeypatch):
    def denied(*args, **options):
        raise PermissionError(13, "Permission denied")

    kinds = ("npy", "npz", "vti", "nrrd", "mat")
    for kind in kinds:
        write(tmp_path / f"cell.{kind}", cell)
    monkeypatch.setattr(read.pathlib.Path, "open", denied)
    monkeypatch.setattr(read.pathlib.Path, "read_bytes", denied)
    for kind in kinds:
        with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)"):
            read.read(tmp_path / f"cell.{kind}")


@pytest.mark.parametrize("kind", ["npy", "npz", "vti", "nrrd", "mat"])
def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path, cell, kind):
    rng = np.random.default_rng(0)
    path = tmp_path / f"cell.{kind}"
    write(path, cell)
    if kind == "nrrd":
        path.write_bytes(nrrd_bytes(cell, "gzip"))
    whole = path.read_bytes()
    # The last bytes of a VTI file are closing tags, which need not be there.
    for cut in rng.integers(0, 2 * len(whole) // 3, 60):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"cell\.\w+ "):
            read.read(path)
    for _ in range(200):
        bytes_ = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            bytes_[at] = rng.integers(256)
        path.write_bytes(bytes_)
        with contextlib.suppress(InputError):
            read.read(path)


def test_read_cell_gives_one_whole_cell_of_densities(tmp_path):
    path = tmp_path / "octants.npz"
    octants = 255 * np.random.default_rng(0).integers(0, 2, (2, 4, 4, 4), np.uint8)
    np.savez(path, octants=octants)
    octant = read.read_cell(path, index=1, scale=255)
    assert octant.dtype == np.float32
    np.testing.assert_array_equal(octant, octants[1] / 255)
    cell = read.read_cell(path, index="1", scale=255, input_is="octant")
    np.testing.assert_array_equal(cell, octant_to_cell(octant))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"index": ""}, "holds 2 cells"),
        ({"index": "all"}, "holds 2 cells. Choose one of them, as in `index=0`"),
        ({"index": 0, "input_is": "half"}, "input_is=half is unknown. Use cell, oct"),
        ({"index": 0, "scale": 0}, "scale=0 is too small"),
    ],
)
def test_read_cell_refuses(tmp_path, cell, options, match):
    np.save(tmp_path / "cells.npy", np.stack([cell, cell]))
    with pytest.raises(InputError, match=match):
        read.read_cell(tmp_path / "cells.npy", **options)
