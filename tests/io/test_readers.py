"""Voxel files of all kinds give their array back, or say what is wrong."""

import gzip

import numpy as np
import pytest
from scipy import io

from mmdiff.errors import InputError
from mmdiff.io import readers, writers


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
    array, info = readers.read(path, **options)
    np.testing.assert_array_equal(array, cell)  # axes x y z in every format
    names = {"npz": "cell", "vti": "density", "mat": "rho"}
    assert info["array"] == names.get(kind)
    assert info["format"] == kind and info["shape"] == [4, 5, 6] and not info["notes"]


def test_raw_files_of_images_run_x_first(tmp_path, cell):
    path = tmp_path / "cell.raw"
    path.write_bytes(cell.astype(">f4").tobytes(order="F"))
    array, _ = readers.read(path, shape=cell.shape, dtype=">f4", order="F")
    np.testing.assert_array_equal(array, cell)


def test_arrays_are_chosen_by_key_or_first(tmp_path, cell):
    path = tmp_path / "two.npz"
    np.savez(path, a=cell, b=2 * cell)
    array, info = readers.read(path)
    np.testing.assert_array_equal(array, cell)
    assert "took 'a', the first of a, b" in info["notes"][0]
    array, info = readers.read(path, key="b")
    np.testing.assert_array_equal(array, 2 * cell)
    assert not info["notes"]
    with pytest.raises(InputError, match=r"no array 'c'\. Its arrays: a, b\."):
        readers.read(path, key="c")


def test_axes_of_length_one_are_dropped_and_noted(tmp_path, cell):
    np.save(tmp_path / "c.npy", cell[None])
    array, info = readers.read(tmp_path / "c.npy")
    np.testing.assert_array_equal(array, cell)
    assert "(1, 4, 5, 6) taken as (4, 5, 6)" in info["notes"][0]


def test_find_lists_voxel_files_only(tmp_path, cell):
    for name in ("b.npy", "a.vti", "c.txt", "d.NPY"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "e.npy").mkdir()
    assert [p.name for p in readers.find(tmp_path)] == ["a.vti", "b.npy", "d.NPY"]


def test_refusals_name_the_file_and_the_way_out(tmp_path, cell):
    def refuses(name, match, **options):
        with pytest.raises(InputError, match=match):
            readers.read(tmp_path / name, **options)

    refuses("none.npy", "no input file .*none.npy.*--config.input")
    (tmp_path / "cell.stl").write_bytes(b"solid")
    refuses("cell.stl", r"cell.stl has an unknown format\. Known are \.npy")
    for kind in ("npy", "npz", "mat", "vti", "nrrd"):
        (tmp_path / f"bad.{kind}").write_bytes(b"NRRD nonsense")
        refuses(f"bad.{kind}", f"bad.{kind} is not a readable")
    np.save(tmp_path / "four.npy", np.zeros((2, 4, 4, 4)))
    refuses("four.npy", r"shape \(2, 4, 4, 4\); voxels need three axes")
    np.save(tmp_path / "none.npy", np.zeros((0, 4, 4)))
    refuses("none.npy", r"holds no values \(shape \(0, 4, 4\)\)")
    np.save(tmp_path / "words.npy", np.full((2, 2, 2), "a"))
    refuses("words.npy", "type <U1, not numbers")
    np.save(tmp_path / "complex.npy", np.zeros((2, 2, 2), complex))
    refuses("complex.npy", "complex numbers")
    np.savez(tmp_path / "flat.npz", x=np.zeros(3))
    refuses("flat.npz", r"no array of numbers with three axes \(it has: x \(3,\)\)")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    refuses("objects.npy", "not a readable NumPy file")


def test_raw_files_need_a_shape_that_fits(tmp_path, cell):
    path = tmp_path / "cell.raw"
    cell.tofile(path)
    with pytest.raises(InputError, match="carries no shape. Pass --config.raw.shape"):
        readers.read(path)
    with pytest.raises(InputError, match=r"has 480 bytes; .* of uint8 needs 120"):
        readers.read(path, shape=(4, 5, 6))
    with pytest.raises(InputError, match="not a NumPy type"):
        readers.read(path, shape=(4, 5, 6), dtype="voxel")
    with pytest.raises(InputError, match="raw.order=Z is unknown"):
        readers.read(path, shape=(4, 5, 6), dtype="f4", order="Z")


def test_matlab_7_3_is_named_with_the_way_out(tmp_path):
    path = tmp_path / "new.mat"
    # The header of a 7.3 file; what follows is HDF5.
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124)
    path.write_bytes(text + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match=r"MATLAB 7\.3 file.*'-v7'"):
        readers.read(path)
