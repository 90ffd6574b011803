"""Any cell as files for print and CAE: tiled, graded, checked, in millimetres.

    python -m mmdiff.main --config=configs/export.py --workdir=out/print \
        --config.path=out/cells.npz --config.index=0 --config.tiles=3,3,3
    python -m mmdiff.main --config=configs/export.py --workdir=out/graded \
        --config.family=out/family --config.tiles=8,2,2 --config.grade=0.3,0.5

Reads what configs/homogenize.py reads, voxels and closed surfaces, and this package's
archives (cells.npz, surface.npz, density.npz) and datasets, which hold level-set
fields; a family is that of configs/interpolate.py. Writes meshes, voxels and materials
with a report of walls, drainage, mass and the mesh. tiny: 128 voxels along the edge of
a field, half a minute on one CPU core for a cell; small and paper: 256.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")
RANGES = {
    "scale": "(0, inf)",
    "threshold": "[0, 1)",
    "raw.shape": "[0, inf)^3",
    "mesh_voxels": "[4, 1024]",
    "cell_size_mm": "(0, 1e6] mm",
    "tiles": "[1, 256]^3",
    "grade": "[0, 1)^2",
    "resolution": "[16, 512]",
    "density": "[0, 100] g/cm3",
    "max_triangles": "[0, inf)",
    "max_deviation_mm": "(0, 1e6] mm",
    "min_wall_mm": "[0, inf) mm",
    "base.E": "(0, 1e15]",
    "base.nu": "(-1, 0.5)",
    "solver.void": "(0, 1)",
    "solver.tol": "(0, 1)",
    "solver.maxiter": "[1, inf)",
}
# Bytes that a number takes at least: so many, times a power of it.
BYTES = {"resolution": (8, 3)}
# Keys that name files: a run goes on with the same content only.
INPUTS = ("path", "family")


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # A voxel file, closed surface, archive of cells or dataset.
    config.path = ""
    # In its place, the workdir of configs/interpolate.py or its family.npz, for a block
    # that is graded through its chain, else its ladder.
    config.family = ""
    # Which cell of several, and name of the array where it is not to be the field.
    config.index = ""
    config.key = ""
    # As for configs/homogenize.py.
    config.input_is = "cell"
    config.scale = 1.0
    config.threshold = 0.5
    config.mesh_voxels = 64
    config.raw = ConfigDict()
    config.raw.shape = (0, 0, 0)
    config.raw.dtype = "uint8"
    config.raw.order = "C"
    config.raw.bits = False

    # What is meshed: "field", the level-set surface, of voxels that of a mirror-
    # symmetric cell; "smooth", voxels lightly smoothed, of the same volume; "voxels"
    # with their stairs; "auto": the field where the file holds one, else smooth.
    config.surface = "auto"
    # Voxels along the edge of a field: of voxel files, and of the mesh of a graded
    # block. That of a single field is as fine as the field.
    config.resolution = 128 if variant == "tiny" else 256

    # Edge of a cell along x, and cells along x, y and z.
    config.cell_size_mm = 10.0
    config.tiles = (1, 1, 1)
    # Of a family: the axis along which the solid share changes, and the shares at both
    # ends; zeros for those of the family.
    config.axis = "x"
    config.grade = (0.0, 0.0)

    # Some of stl, 3mf, glb (meshes), vti, npy (voxels), inp and mac (the effective
    # material for Abaqus or CalculiX and for Ansys, by finite elements).
    config.formats = "stl,3mf,glb,vti,npy"
    # Density of the solid in g/cm3, for mass and materials; 0 for none.
    config.density = 0.0
    # Most triangles of the mesh, 0 for all, and how far their reduction may move the
    # surface. What cannot be done within that is refused.
    config.max_triangles = 0
    config.max_deviation_mm = 0.05
    # Thinner walls are told.
    config.min_wall_mm = 0.4

    # Of the effective material: base material in MPa, and finite elements.
    config.base = ConfigDict()
    config.base.E = 1.0
    config.base.nu = 0.3
    config.solver = ConfigDict()
    config.solver.void = 1e-6
    config.solver.tol = 1e-5
    config.solver.maxiter = 500
    return config
