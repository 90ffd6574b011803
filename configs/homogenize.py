"""The elastic tensor of a voxel file, or of every file in a folder.

    python -m mmdiff.main --config=configs/homogenize.py --workdir=out/cell \
        --config.input=cell.npy

Reads .npy, .npz, .vti, .nrrd, .mat, .raw, stacks of .tif, .h5 (`key` is the path of the
dataset), closed surfaces (.stl, .3mf, .obj, .ply), and datasets of this package; values
0 (void) to 1 (solid), or labels of phases. Boxes of any edges from four voxels on. A
cell with mirror planes is solved on its octant. 64^3 voxels that are alike along all
axes take 15 CPU seconds, on the mesh twice as fine as well, with `geometry=surface` 24,
128^3 take 60, and 64^3 of any other cell 46 on the voxels alone; most of it is
compilation, which the next run finds done. tiny and small solve in float32 to 1e-5 and
1e-6, paper in float64 to 1e-8.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")
RANGES = {
    "scale": "(0, inf)",
    "threshold": "[0, 1)",
    "resize": "[0, inf)",
    "raw.shape": "[0, inf)^3",
    "voxel": "[0, inf)^3",
    "mesh_voxels": "[4, 1024]",
    "cell_size_mm": "(0, 1e6] mm",
    "base.E": "(0, 1e15]",
    "base.nu": "(-1, 0.5)",
    "base.k": "[0, inf)",
    "base.rho": "[0, inf)",
    "solver.void": "[0, 1)",
    "solver.penal": "[1, inf)",
    "solver.tol": "(0, 1)",
    "solver.maxiter": "[1, inf)",
}
# Bytes that a number takes at least: so many, times a power of it.
BYTES = {"resize": (8, 3)}
# Keys that name files: a run goes on with the same content.
INPUTS = ("input",)
# Files are compared one by one.
MAY_CHANGE = ("inputs.input",)


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # A voxel file, or a folder of them.
    config.input = ""
    # Name of the array in a file that holds several (.npz, .mat, .vti, .h5).
    config.key = ""
    # Which cell of an array with four axes, such as the cells.npz of generate.py or a
    # dataset: a number from 0, or "all".
    config.index = ""
    # "cell", or "octant" for the part [0, 1/2]^3 of a mirror-symmetric cell.
    config.input_is = "cell"
    # "auto" finds it; or "cubic", "orthotropic", "periodic" (always right, slower).
    config.symmetry = "auto"
    # "periodic" for cells. Windows of a material that does not repeat them: "mirrored"
    # (goes on by mirror images), "mixed" (normal displacements of a uniform strain and
    # no forces along the faces), "kinematic" (all displacements: an upper bound).
    config.boundary = "periodic"
    # Edges of a voxel along x, y and z, of which the ratios count; zeros for those that
    # the file tells, or cubes.
    config.voxel = (0.0, 0.0, 0.0)
    # Materials of labelled voxels, "label:E,nu" or "label:void" for each, such as
    # "0:void;1:210,0.3;2:70,0.33"; empty for densities of the base material.
    config.phases = ""
    # Value of solid in the file: 255 for 0/255 masks.
    config.scale = 1.0
    # Voxels above it are solid: for pieces, the 3D view and binarize.
    config.threshold = 0.5
    # Solve 0 and 1 instead of the densities between.
    config.binarize = False
    # Voxels along the longest edge of a closed surface (stl, 3mf, obj, ply).
    config.mesh_voxels = 64
    # Bring to this edge, in voxels of what the file holds; 0 for none.
    config.resize = 0
    # "nearest" or "linear" resampling, "pad" with void, "tile" to repeat the box.
    config.resize_method = "nearest"
    # "voxels", one element each, or "surface": the smoothed object, with an uncertainty
    # and as STL, 3MF and GLB; of mirror-symmetric cells of solid and void.
    config.geometry = "voxels"
    # Solve the voxels on a mesh twice as fine as well, which tells by how much one
    # element each is too stiff: "auto" does so for cells of solid and void up to 128^3
    # voxels where all axes are alike, 88^3 with other mirror planes and 44^3 without;
    # "always", "never".
    config.refine = "auto"
    # Edge of the printed cell along x: for walls, gaps and meshes.
    config.cell_size_mm = 10.0
    # Meshes of voxels, too: solid.stl, .3mf and .glb of what is above the threshold,
    # lightly smoothed, of the same volume. A surface has them anyway.
    config.meshes = False
    # What fields.vti holds beside the density; empty for nothing. All of a 64^3 cell
    # take 11 MB where it is cubic (2 loads) and 58 MB where not (6 loads). "stress" is
    # von Mises of the solid under unit macro stresses; its peaks go to properties.json.
    config.fields = "energy,strain,displacement,stress"

    # A .raw file, or one without a suffix, has no header: edges, NumPy type, "C" (z
    # fastest) or "F" (x fastest), and whether a byte holds eight voxels.
    config.raw = ConfigDict()
    config.raw.shape = (0, 0, 0)
    config.raw.dtype = "uint8"
    config.raw.order = "C"
    config.raw.bits = False

    # Base material; results are in the units of E.
    config.base = ConfigDict()
    config.base.E = 1.0
    config.base.nu = 0.3
    # Conductivity of the solid, thermal or electrical, for that of the cell; 0: none.
    config.base.k = 0.0
    # Mass density of the solid, for that of the cell in material.inp and .mac; 0: none.
    config.base.rho = 0.0

    config.solver = ConfigDict()
    config.solver.void = 1e-6
    config.solver.penal = 3.0
    config.solver.tol = {"tiny": 1e-5, "small": 1e-6, "paper": 1e-8}[variant]
    config.solver.maxiter = 500 if variant == "tiny" else 2000
    config.solver.dtype = "float64" if variant == "paper" else "float32"
    return config
