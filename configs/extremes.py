"""Extreme cells from generated starts, as in Fig. 4 of arXiv 2401.13570.

    python -m mmdiff.main --config=configs/extremes.py --workdir=out/extremes
    python -m mmdiff.main --config=configs/extremes.py:small --workdir=out/extremes16

Cells of the dataset near the edge of what is possible give properties; the diffusion
model draws cells for them; the surfaces of those, of designs from as many random
starts and of plate lattices are moved on; the best cell is inverted to its noise, and
noise nearby gives further cells. All of it for cells that drain and for any, with walls
and gaps of several least widths: what that costs the record is a table. tiny: 2 starts
of each kind on 64^3 elements. small: 16, half an hour on two CPU cores. paper: 64 on
128^3, for accelerators. The same command goes on where it was stopped.
"""

from ml_collections import ConfigDict

VARIANTS = ("tiny", "small", "paper")
RANGES = {
    "vf.poisson": "(0, 1)",
    "vf.shear": "(0, 1)",
    "vf.bulk": "(0, 1)",
    "vf.young": "(0, 1)",
    "isotropy": "(0, 1)",
    "min_E": "(0, 1)",
    "walls": "[0, 0.5)",
    "seed": "[0, 4294967295]",
    "num_edges": "[1, inf)",
    "num_edge_starts": "[0, inf)",
    "edge_band": "(0, inf)",
    "edge_isotropy": "(0, inf)",
    "edge_alike": "(0, 1]",
    "design_resolution": "[16, inf)",
    "num_starts": "[1, inf)",
    "workers": "[0, inf)",
    "per_start": "[1, inf)",
    "sampling_steps": "[1, 1000]",
    "newton": "[0, 100]",
    "num_plates": "[0, inf)",
    "steps": "[6, inf)",
    "refine_steps": "[0, inf)",
    "radius": "[1, inf)",
    "waves": "[1, inf)",
    "num_variants": "[0, inf)",
    "perturbations": "(0, 1]",
    "variant_steps": "[0, inf)",
    "num_kept": "[0, inf)",
    "alike": "(0, 1]",
    "loss": "[0, 1)",
    "inversion_steps": "[1, 1000]",
    "iterations": "[1, inf)",
    "cell_size_mm": "(0, 1e6] mm",
}
# Bytes that a number takes at least: so many, times a power of it.
BYTES = {
    "design_resolution": (20, 3),
    "num_starts": (400000, 1),
    "per_start": (400000, 1),
}
# Keys that name files: a run goes on with the same content only.
INPUTS = ("checkpoint", "data")


def get_config(variant: str = "tiny") -> ConfigDict:
    """Return the settings of a variant."""
    config = ConfigDict()
    # Some of "poisson" (least Poisson's ratio), "shear", "bulk" and "young" (largest
    # modulus of a nearly isotropic cell).
    config.quests = "poisson,shear,bulk,young"
    # Most volume fraction of solid of each.
    config.vf = ConfigDict()
    config.vf.poisson = 0.3
    config.vf.shear = 0.4
    config.vf.bulk = 0.5
    config.vf.young = 0.4
    # Half width of the band around 1 of the Zener ratio; of poisson it is free.
    config.isotropy = 0.01
    # Least Young's modulus along <100> over the solid's; of poisson alone.
    config.min_E = 0.01
    # What a printer asks: "open", void in one piece, "closed", pores allowed, or both;
    # and least widths of walls and gaps as shares of the edge. Each pair of these is a
    # quest of its own; the first is that of the variants.
    config.voids = "open" if variant == "tiny" else "open,closed"
    config.walls = (0.03,) if variant == "tiny" else (0.03, 0.0)

    # Dataset of the edge cells, and the model trained on it; empty for the shipped.
    config.data = ""
    config.checkpoint = ""
    config.seed = 0
    # Processes that work on starts side by side; 0 for one on every core. The cells do
    # not depend on it.
    config.workers = 0

    # Edge cells: how many, and how many of them are optimized themselves; how far from
    # the volume and from isotropy; the share of equal voxels from which two of them
    # count as one.
    config.num_edges = {"tiny": 1, "small": 4, "paper": 8}[variant]
    config.num_edge_starts = {"tiny": 0, "small": 4, "paper": 8}[variant]
    config.edge_band = 0.05
    config.edge_isotropy = 0.1
    config.edge_alike = 0.95

    # Elements along the edge in the design, and samples of the field of a cell: those
    # of the model's, or twice as many.
    config.design_resolution = 128 if variant == "paper" else 64
    # Generated starts, divided over the edge cells, and as many random ones. Samples
    # drawn for each start: those nearest to the asked properties are taken.
    config.num_starts = {"tiny": 2, "small": 16, "paper": 64}[variant]
    config.per_start = 1
    # Evaluations of the network per sample; Newton steps as for configs/generate.py.
    config.sampling_steps = 16
    config.newton = 0 if variant == "tiny" else 2
    # Plate lattices as starts, at most 5; isotropic mixtures first.
    config.num_plates = 1 if variant == "tiny" else 3

    # Design steps of random starts, at least one for each of the six stages of the
    # continuation; most steps of the surface of every start.
    config.steps = {"tiny": 20, "small": 40, "paper": 105}[variant]
    config.refine_steps = {"tiny": 10, "small": 30, "paper": 40}[variant]
    # Radius of the density filter in voxels; highest wave number of random starts.
    config.radius = 3.0 if variant == "paper" else 2.0
    config.waves = 4
    # Variants of the best cell: how many to sample, shares of new noise (taken in
    # turn), steps of their surfaces, how many different ones to keep, the share of
    # equal voxels from which two count as one, and the share of the best value that
    # those kept may lack.
    config.num_variants = {"tiny": 2, "small": 8, "paper": 32}[variant]
    config.perturbations = (0.1, 0.3, 0.5)
    config.variant_steps = {"tiny": 2, "small": 6, "paper": 20}[variant]
    config.num_kept = {"tiny": 2, "small": 4, "paper": 8}[variant]
    config.alike = 0.98
    config.loss = 0.05
    # Steps there and back, and evaluations of the network per step of the inversion.
    config.inversion_steps = 16
    config.iterations = 3

    # Homogenize the best cell of each quest once more, on grids of 128^3 and 256^3.
    config.recheck = variant != "tiny"

    # Edge of the printed cell.
    config.cell_size_mm = 10.0
    return config
