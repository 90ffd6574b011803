"""Files read back by other programs' rules give what was written."""

import io
import json
import struct
import xml.etree.ElementTree as ElementTree
import zipfile
import zlib

import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.cells.mesh import field_surface, mesh_volume, voxel_surface
from mmdiff.cells.smooth_mesh import smooth_surface
from mmdiff.io import write
from mmdiff.io.read_vti import read_vti


def ball(n=16):
    x = (np.arange(n) + 0.5) / n - 0.5
    return (x**2 + (x**2)[:, None] + (x**2)[:, None, None]) < 0.16


def test_npy_is_a_uint8_mask(tmp_path):
    density = np.linspace(0, 1, 27).reshape(3, 3, 3)
    write.write_npy(tmp_path / "cell.npy", density)
    cell = np.load(tmp_path / "cell.npy")
    assert cell.dtype == np.uint8
    np.testing.assert_array_equal(cell, density > 0.5)


@pytest.mark.parametrize("surface", [voxel_surface, smooth_surface])
def test_stl_is_watertight_outward_and_true_to_volume(tmp_path, surface):
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("skimage")
    write.write_stl(tmp_path / "a.stl", *surface(ball(), cell_size_mm=10.0))
    mesh = trimesh.load_mesh(tmp_path / "a.stl")
    assert mesh.is_watertight and mesh.is_winding_consistent
    # Within 1 % of the voxels; a positive volume means outward normals.
    assert mesh.volume == pytest.approx(1000 * ball().mean(), rel=0.01)


def test_stl_bytes(tmp_path):
    vertices, faces = voxel_surface(np.ones((1, 1, 1)), cell_size_mm=2.0)
    path = write.write_stl(tmp_path / "a.stl", vertices, faces, comment="É" * 99)
    data = path.read_bytes()
    assert len(data) == 84 + 50 * 12
    assert struct.unpack("<I", data[80:84]) == (12,)
    normals = [struct.unpack("<3f", data[84 + 50 * i : 96 + 50 * i]) for i in range(12)]
    assert np.abs(normals).sum(axis=1).tolist() == [1.0] * 12


def field_of_a_ball(size):
    pytest.importorskip("skimage")
    x = np.arange(8) + 0.5
    return field_surface(5 - (x**2 + (x**2)[:, None] + (x**2)[:, None, None]) / 5, size)


@pytest.mark.parametrize(
    "surface", [lambda s: voxel_surface(ball(), s), field_of_a_ball]
)
def test_3mf_opens_in_the_reference_reader(tmp_path, surface):
    lib3mf = pytest.importorskip("lib3mf")
    mesh = surface(10.0)
    path = write.write_3mf(tmp_path / "a.3mf", *mesh, name='a "b" <c>')
    model = lib3mf.get_wrapper().CreateModel()
    reader = model.QueryReader("3mf")
    reader.SetStrictModeActive(True)
    reader.ReadFromFile(str(path))
    assert reader.GetWarningCount() == 0
    assert model.GetUnit() == lib3mf.ModelUnit.MilliMeter
    objects = model.GetMeshObjects()
    assert objects.MoveNext()
    read = objects.GetCurrentMeshObject()
    assert read.IsManifoldAndOriented()
    assert read.GetName() == 'a "b" <c>'
    assert read.GetTriangleCount() == len(mesh[1])
    points = np.array([list(v.Coordinates) for v in read.GetVertices()])
    # Six digits are written.
    np.testing.assert_allclose(points, mesh[0], rtol=1e-5)
    corners = np.array([list(t.Indices) for t in read.GetTriangleIndices()])
    assert mesh_volume(points, corners) == pytest.approx(mesh_volume(*mesh), rel=1e-4)


@pytest.mark.parametrize("kind", ["stl", "glb"])
def test_a_file_of_a_field_has_its_volume(tmp_path, kind):
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("skimage")
    x = np.cos(np.pi * (np.arange(8) + 0.5) / 8)
    mesh = field_surface(2 * (x + x[:, None] + x[:, None, None] - 0.3), 7.0)
    path = tmp_path / f"a.{kind}"
    getattr(write, f"write_{kind}")(path, *mesh)
    read = trimesh.load_mesh(path)
    assert read.is_watertight and read.is_winding_consistent
    assert len(read.faces) == len(mesh[1])
    unit = 1e-3 if kind == "glb" else 1.0
    np.testing.assert_allclose(read.extents, 7 * unit, rtol=1e-6)
    assert read.volume == pytest.approx(mesh_volume(*mesh) * unit**3, rel=1e-4)


def test_glb_is_in_metres_with_y_upwards(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    box = np.zeros((4, 4, 4))
    box[:1, :2] = 1  # 1 x 2 x 4 mm
    write.write_glb(tmp_path / "a.glb", *voxel_surface(box, 4.0), name="a box")
    scene = trimesh.load_scene(tmp_path / "a.glb")
    assert list(scene.graph.nodes_geometry) == ["a box"]
    np.testing.assert_allclose(
        scene.bounds, [[0, 0, -0.002], [0.001, 0.004, 0]], atol=1e-9
    )


def test_glb_of_nothing_is_well_formed(tmp_path):
    data = write.write_glb(tmp_path / "a.glb", *voxel_surface(np.zeros((2, 2, 2))))
    data = data.read_bytes()
    kind, version, total, size = struct.unpack("<4s3I", data[:16])
    assert (kind, version, total) == (b"glTF", 2, len(data))
    assert data[16:20] == b"JSON" and size % 4 == 0
    assert set(json.loads(data[20 : 20 + size])) == {"asset"}


def test_3mf_is_reproducible_and_well_formed(tmp_path):
    mesh = voxel_surface(ball(8))
    one = write.write_3mf(tmp_path / "a.3mf", *mesh).read_bytes()
    assert one == write.write_3mf(tmp_path / "b.3mf", *mesh).read_bytes()
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        assert archive.namelist()[0] == "[Content_Types].xml"
        for name in archive.namelist():
            ElementTree.fromstring(archive.read(name))


def vti(path):
    """Return the ImageData element and the arrays by name, as (points, parts)."""
    head, _, data = path.read_bytes().partition(b'<AppendedData encoding="raw">_')
    root = ElementTree.fromstring(head + b"</VTKFile>")
    assert root.get("header_type") == "UInt64"
    assert root.get("compressor") == "vtkZLibDataCompressor"
    arrays = {}
    for element in root.iterfind("ImageData/Piece/*/DataArray"):
        dtype = {"UInt8": "u1", "Float32": "<f4"}[element.get("type")]
        at = int(element.get("offset"))
        count, block, last = np.frombuffer(data, "<u8", 3, at).tolist()
        sizes = np.frombuffer(data, "<u8", count, at + 24).tolist()
        at += 24 + 8 * count
        raw = []
        for size in sizes:
            raw.append(zlib.decompress(data[at : at + size]))
            at += size
        # All blocks are of one size but the last, whose size 0 stands for a whole one.
        assert [len(r) for r in raw] == [block] * (count - 1) + [last or block]
        values = np.frombuffer(b"".join(raw), dtype)
        parts = int(element.get("NumberOfComponents"))
        arrays[element.get("Name")] = values.reshape(-1, parts)
    assert data[at:] == b"</AppendedData></VTKFile>\n"
    return root.find("ImageData"), arrays


def in_vtk_order(field):
    """Return a field as VTK stores it: x fastest, components of a place together."""
    parts = field.shape[3] if field.ndim == 4 else 1
    return (
        field.reshape(*field.shape[:3], parts).transpose(2, 1, 0, 3).reshape(-1, parts)
    )


def test_vti_holds_the_arrays_in_vtk_order(tmp_path):
    rng = np.random.default_rng(0)
    fields = {
        "solid": rng.integers(0, 2, (3, 4, 5)).astype(np.uint8),
        "energy <J>": rng.normal(size=(3, 4, 5)),
        "strain": rng.normal(size=(3, 4, 5, 6)).astype(np.float32),
    }
    points = {"u": rng.normal(size=(4, 5, 6, 3)).astype(np.float32)}
    text = "Voigt 11 22 33 23 13 12; é"
    voigt = ("11", "22", "33", "23", "13", "12")
    path = write.write_vti(
        tmp_path / "a.vti",
        fields,
        points=points,
        components={"strain": voigt, "u": "xyz"},
        spacing=(0.25, 0.5, 1.0),
        conventions=text,
    )
    image, arrays = vti(path)
    assert image.get("WholeExtent") == "0 3 0 4 0 5"
    assert image.get("Spacing") == "0.25 0.5 1"
    for owner, expected in (("CellData", fields), ("PointData", points)):
        elements = image.findall(f"Piece/{owner}/DataArray")
        assert [a.get("Name") for a in elements] == list(expected)
        for name, field in expected.items():
            np.testing.assert_array_equal(
                arrays[name], in_vtk_order(field).astype(arrays[name].dtype)
            )
    strain = image.find("Piece/CellData/DataArray[@Name='strain']")
    assert [strain.get(f"ComponentName{i}") for i in range(6)] == list(voigt)
    codes = image.find("FieldData/Array").text.split()
    assert bytes(int(c) for c in codes) == text.encode() + b"\0"


@pytest.mark.parametrize("edge", [64, 65])
def test_vti_of_several_blocks(tmp_path, edge):
    # 64^3 floats are exactly one block of 2^20 bytes, 65^3 are one and a part.
    field = np.arange(edge**3, dtype=np.float32).reshape((edge,) * 3)
    path = write.write_vti(tmp_path / "a.vti", {"a": field, "b": field[::-1]})
    _, arrays = vti(path)
    np.testing.assert_array_equal(arrays["a"], in_vtk_order(field))
    np.testing.assert_array_equal(arrays["b"], in_vtk_order(field[::-1]))
    back, _ = read_vti(path, key="b")
    np.testing.assert_array_equal(back, field[::-1])


@pytest.mark.parametrize(
    ("fields", "points"),
    [
        ({"a": np.zeros((2, 2, 2)), "b": np.zeros((2, 2, 3))}, None),
        ({"a": np.zeros((2, 2, 2))}, {"b": np.zeros((2, 2, 2))}),
        ({"a": np.zeros((2, 2))}, None),
        ({}, {"b": np.zeros((3, 3, 3))}),
    ],
)
def test_vti_refuses_fields_of_different_grids(tmp_path, fields, points):
    with pytest.raises(ValueError, match=r"must share one grid .*'[ab]': \("):
        write.write_vti(tmp_path / "a.vti", fields, points=points)


def test_npz_is_equal_arrays_by_name(tmp_path):
    path = write.write_npz(tmp_path / "a.npz", {"x": jnp.arange(3), "tol": 1e-5})
    with np.load(path) as found:
        assert found["x"].tolist() == [0, 1, 2] and found["tol"] == 1e-5


@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 1, 3)])
def test_png_round_trip(tmp_path, shape):
    reader = pytest.importorskip("matplotlib.image")
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    write.write_png(tmp_path / "a.png", image)
    read = np.round(255 * reader.imread(tmp_path / "a.png")).astype(np.uint8)
    np.testing.assert_array_equal(read, image)


def test_png_of_a_flat_picture_is_small(tmp_path):
    picture = np.full((256, 256, 3), 250, np.uint8)
    data = write.write_png(tmp_path / "a.png", picture).read_bytes()
    assert data[:4] == b"\x89PNG" and len(data) < 1500


@pytest.mark.parametrize(
    "image", [np.zeros((2, 2, 3)), np.zeros((2, 2, 4), np.uint8), np.zeros(3, np.uint8)]
)
def test_png_refuses_other_types_and_shapes(image, tmp_path):
    with pytest.raises(ValueError, match="must be a non-empty uint8 array"):
        write.write_png(tmp_path / "a.png", image)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write.write_bytes(tmp_path / "a.txt", b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="none"):
        write.write_bytes(tmp_path / "none" / "a.txt", b"")
