"""Named lattices and minimal surfaces, homogenized as they are printed.

    python -m mmdiff.main --config=configs/lattice.py --workdir=out/gyroid \
        --config.names="gyroid sheet" --config.vf=0.2
    python -m mmdiff.main --config=configs/lattice.py --workdir=out/graded \
        --config.names="octet struts" --config.grade=0.1,0.4 --config.repeat=2,2,6

By volume or thickness: meshes, voxels, the tensor of the surface with its uncertainty
and material cards, as configs/homogenize.py writes them. tiny does one lattice, small
and paper all of them, with a table of their shares of the Hashin-Shtrikman bounds.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")
RANGES = {
    "vf": "(0, 1)",
    "thickness_mm": "[0, inf) mm",
    "cell_size_mm": "(0, 1e6] mm",
    "samples": "[8, 128]",
    "resolution": "[16, 256]",
    "grade": "[0, 1)",
    "repeat": "[1, 64]^3",
    "workers": "[0, inf)",
    "base.E": "(0, 1e15]",
    "base.nu": "(-1, 0.5)",
    "base.k": "[0, inf)",
    "base.rho": "[0, inf)",
    "solver.void": "(0, 1)",
    "solver.tol": "(0, 1)",
    "solver.maxiter": "[1, inf)",
}


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # One or several, separated by commas, or "all": P, IWP, Neovius, gyroid or diamond
    # sheet or network; sc, bcc, fcc, octet or Kelvin struts; sc, bcc or octet plates;
    # re-entrant.
    config.names = "gyroid sheet" if variant == "tiny" else "all"
    # Solid share. Of "all" those are left out that cannot have it.
    config.vf = 0.3
    # In place of the volume: diameter of struts, thickness of plates beside fillets,
    # least of a sheet; 0 for none.
    config.thickness_mm = 0.0
    # Edge of the printed cell.
    config.cell_size_mm = 10.0
    # Samples along half a cell: what is thinner than two of them is refused.
    config.samples = 32
    # Voxels along the edge in the .npy and .vti files.
    config.resolution = 128
    # Solid shares at both ends of a block of cells, such as 0.1,0.4; zeros for none.
    config.grade = (0.0, 0.0)
    # Cells of the block along x, y and z, and the axis along which it is graded.
    config.repeat = (1, 1, 4)
    config.axis = "z"
    # Processes; 0 for one on each core.
    config.workers = 0
    # What fields.vti holds beside the density, see configs/homogenize.py.
    config.fields = ""

    # Base material; results are in the units of E. Conductivity k and mass density rho
    # as in configs/homogenize.py.
    config.base = ConfigDict()
    config.base.E = 1.0
    config.base.nu = 0.3
    config.base.k = 0.0
    config.base.rho = 0.0

    config.solver = ConfigDict()
    config.solver.void = 1e-6
    config.solver.tol = 1e-5
    config.solver.maxiter = 500
    return config
