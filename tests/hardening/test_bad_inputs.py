"""A table of bad inputs: one row an input, its exit code and a part of the sentence.

Every row runs the command line in this process. Those of `EARLY` are refused before
JAX is loaded and before the workdir exists; those of `LATE` by an experiment, before it
computes anything. FOLDER stands for a folder with the files of `files`.
"""

import gzip
import io
import os
import zipfile
import zlib

import numpy as np
import pytest

from mmdiff import assets, main
from mmdiff.run import environment

LONG = "9" * 4000
NOTHING = "is not a finite number"

# config, keys, exit code, a part of the sentence
EARLY = [
    # The command line itself.
    ("generate", "--workdir=", 2, "--workdir is empty. Name the directory"),
    ("generate", "--workdir= ", 2, "--workdir is empty"),
    ("generate", "--wokdir=a", 2, "Did you mean --workdir?"),
    ("generate", "--overwrite=7", 2, "is neither true nor false"),
    ("generate", "--distributed", 2, "runs in one process. Leave --distributed out"),
    ("generate", "stray", 2, "unexpected argument 'stray'"),
    ("generate", f"--{'x' * 3000}=1", 2, "unknown flag --xxx"),
    ("generate", "--config.vff=0.3", 2, "Did you mean --config.vf?"),
    ("generate", "--config.base=1", 2, "'base' is a group of keys"),
    ("generate", f"--config.{'k' * 3000}=1", 2, "has no key 'kkk"),
    ("generate", "--config.base.E.x=1", 2, "has no key 'base.E.x'"),
    ("generate", "--config.num_samples=many", 2, "is not of type int"),
    ("generate", "--config.num_samples=1.5", 2, "is not of type int"),
    ("generate", "--config.num_samples=", 2, "is not of type int"),
    ("generate", "--config.vf=half", 2, "is not of type float"),
    ("generate", "--config.drainable=maybe", 2, "is not of type bool"),
    ("generate", f"--config.seed={LONG}9999", 2, "seed="),
    ("optimize", "--config.weights=(1.0,'x')", 2, "is not of type tuple of float"),
    ("optimize", "--config.weights=1", 2, "weights=(1,) is not 3 numbers"),
    ("none", "", 2, "no config file configs/none.py"),
    ("generate.py:huge", "", 2, "has no variant 'huge'"),
    ("generat", "", 2, "Did you mean configs/generate.py?"),
    ("x" * 3000, "", 2, "no config file configs/xxx"),
    # Config files that are no config.
    ("FOLDER/configs/exits.py", "", 2, "cannot be loaded (SystemExit: 7). Correct"),
    ("FOLDER/configs/leaves.py", "", 2, "cannot be loaded (SystemExit). Correct"),
    ("FOLDER/configs/fails.py", "", 2, "(ZeroDivisionError: division by zero)"),
    ("FOLDER/configs/broken.py", "", 2, "(SyntaxError: "),
    ("FOLDER/configs/empty.py", "", 2, "(AttributeError: module"),
    ("FOLDER/configs/bytes.py", "", 2, "cannot be loaded (SyntaxError: "),
    ("FOLDER/configs/loud.py", "", 2, "(ValueError: aaa"),
    ("FOLDER/configs/text.txt", "", 2, "is no Python file. Give one that ends in .py"),
    ("FOLDER/configs", "", 2, "no config file"),
    ("FOLDER/configs/alone.py", "", 2, "has nothing to run: there is no file"),
    # generate
    ("generate", "--config.base.E=nan", 2, f"base.E=nan {NOTHING}"),
    ("generate", "--config.base.E=inf", 2, f"base.E=inf {NOTHING}"),
    ("generate", "--config.base.E=0", 2, "base.E=0.0 is too small"),
    ("generate", "--config.base.E=1e300", 2, "base.E=1e+300 is too large"),
    ("generate", "--config.base.nu=0.5", 2, "base.nu=0.5 is too large"),
    ("generate", "--config.cell_size_mm=nan", 2, f"cell_size_mm=nan {NOTHING}"),
    ("generate", "--config.cell_size_mm=inf", 2, f"cell_size_mm=inf {NOTHING}"),
    ("generate", "--config.cell_size_mm=0", 2, "more than 0 mm"),
    ("generate", "--config.cell_size_mm=1e300", 2, "cell_size_mm=1e+300 is too large"),
    ("generate", "--config.guidance=nan", 2, f"guidance=nan {NOTHING}"),
    ("generate", "--config.guidance=inf", 2, f"guidance=inf {NOTHING}"),
    ("generate", "--config.guidance=-1", 2, "guidance=-1.0 is too small"),
    ("generate", "--config.newton=-1", 2, "newton=-1 is too small"),
    ("generate", "--config.steps=1", 2, "steps=1 is too small"),
    ("generate", "--config.steps=1000000000", 2, "steps=1000000000 is too large"),
    ("generate", "--config.polish_steps=-1", 2, "polish_steps=-1 is too small"),
    ("generate", "--config.spare=-1", 2, "spare=-1 is too small"),
    ("generate", "--config.seed=-1", 2, "seed=-1 is too small"),
    ("generate", "--config.seed=99999999999", 2, "to 4294967295 or less"),
    ("generate", "--config.num_samples=0", 2, "num_samples=0 is too small"),
    ("generate", f"--config.num_samples=1{20 * '0'}", 2, "to 2147483647 or less"),
    ("generate", f"--config.num_samples={LONG}", 2, "to 2147483647 or less"),
    ("generate", "--config.num_samples=1000000000", 4, "needs about 400000 GB"),
    ("evaluate", "--config.num_samples=1000000000", 4, "--config.num_samples lower"),
    ("generate", "--config.num_best=0", 2, "num_best=0 is too small"),
    ("generate", "--config.resolution=1000000", 2, "resolution=1000000 is too large"),
    ("generate", "--config.min_wall_mm=nan", 2, f"min_wall_mm=nan {NOTHING}"),
    ("generate", "--config.time_limit_s=nan", 2, f"time_limit_s=nan {NOTHING}"),
    ("generate", "--config.workers=-1", 2, "workers=-1 is too small"),
    ("generate", "--config.solver.void=-1", 2, "solver.void=-1.0 is too small"),
    ("generate", "--config.solver.void=0", 2, "--config.solver.void to more than 0"),
    ("generate", "--config.solver.void=nan", 2, f"solver.void=nan {NOTHING}"),
    ("generate", "--config.solver.maxiter=0", 2, "solver.maxiter=0 is too small"),
    ("generate", f"--config.solver.maxiter={10**20}", 2, "to 2147483647 or less"),
    ("generate", "--config.solver.tol=nan", 2, f"solver.tol=nan {NOTHING}"),
    ("generate", "--config.solver.tol=1", 2, "solver.tol=1.0 is too large"),
    # evaluate
    ("evaluate", "--config.num_targets=0", 2, "num_targets=0 is too small"),
    ("evaluate", "--config.min_wall=0.5", 2, "min_wall=0.5 is too large"),
    ("evaluate", "--config.seed=-1", 2, "seed=-1 is too small"),
    # homogenize
    ("homogenize", "--config.scale=nan", 2, f"scale=nan {NOTHING}"),
    ("homogenize", "--config.threshold=1", 2, "threshold=1.0 is too large"),
    ("homogenize", "--config.threshold=nan", 2, f"threshold=nan {NOTHING}"),
    ("homogenize", "--config.resize=-1", 2, "resize=-1 is too small"),
    ("homogenize", "--config.resize=100000", 4, "--config.resize lower"),
    ("homogenize", "--config.mesh_voxels=100000", 2, "mesh_voxels=100000 is too large"),
    ("homogenize", "--config.raw.shape=(4,4)", 2, "raw.shape=(4, 4) is not 3 numbers"),
    ("homogenize", "--config.raw.shape=(4,4,-4)", 2, "--config.raw.shape to 0 or more"),
    ("homogenize", "--config.voxel=(1.0,1.0)", 2, "voxel=(1.0, 1.0) is not 3 numbers"),
    ("homogenize", "--config.base.nu=nan", 2, f"base.nu=nan {NOTHING}"),
    ("homogenize", "--config.base.k=-1", 2, "base.k=-1.0 is too small"),
    ("homogenize", "--config.base.rho=inf", 2, f"base.rho=inf {NOTHING}"),
    ("homogenize", "--config.solver.penal=0", 2, "solver.penal=0.0 is too small"),
    ("homogenize", "--config.solver.void=1", 2, "solver.void=1.0 is too large"),
    # optimize, extremes, interpolate, lattice
    ("optimize", "--config.weights=(1.0,2.0)", 2, "weights=(1.0, 2.0) is not 3 num"),
    ("optimize", "--config.vf=1", 2, "vf=1.0 is too large"),
    ("optimize", "--config.robust=0.5", 2, "robust=0.5 is too large"),
    ("optimize", "--config.isotropy=nan", 2, f"isotropy=nan {NOTHING}"),
    ("optimize", "--config.design_resolution=8", 2, "design_resolution=8 is too small"),
    ("optimize", "--config.design_resolution=100000", 4, "design_resolution lower"),
    ("optimize", "--config.num_starts=100000000", 4, "--config.num_starts lower"),
    ("optimize", "--config.store_every=0", 2, "store_every=0 is too small"),
    ("optimize", "--config.radius=nan", 2, f"radius=nan {NOTHING}"),
    ("extremes", "--config.vf.bulk=0", 2, "vf.bulk=0.0 is too small"),
    ("extremes", "--config.inversion_steps=100000", 2, "inversion_steps=100000 is too"),
    ("extremes", "--config.num_starts=100000000", 4, "--config.num_starts lower"),
    ("interpolate", "--config.tolerance=nan", 2, f"tolerance=nan {NOTHING}"),
    ("interpolate", "--config.floor=2", 2, "floor=2.0 is too large"),
    ("interpolate", "--config.num_cells=100000000", 4, "--config.num_cells lower"),
    ("lattice", "--config.repeat=(1000,1,1)", 2, "(1000, 1, 1) is too large"),
    ("lattice", "--config.thickness_mm=nan", 2, f"thickness_mm=nan {NOTHING}"),
    ("lattice", "--config.samples=4", 2, "samples=4 is too small"),
    # design, export
    ("design", "--config.vf=1", 2, "vf=1.0 is too large"),
    ("design", "--config.isotropy=nan", 2, f"isotropy=nan {NOTHING}"),
    ("design", "--config.num_starts=100000000", 4, "--config.num_starts lower"),
    ("export", "--config.tiles=(0,1,1)", 2, "tiles=(0, 1, 1) is too small"),
    ("export", "--config.tiles=(1,1)", 2, "tiles=(1, 1) is not 3 numbers"),
    ("export", "--config.grade=(0.1,0.2,0.3)", 2, "is not 2 numbers"),
    ("export", "--config.density=-1", 2, "density=-1.0 is too small"),
    ("export", "--config.density=nan", 2, f"density=nan {NOTHING}"),
    ("export", "--config.max_deviation_mm=0", 2, "max_deviation_mm=0.0 is too small"),
    ("export", "--config.max_triangles=-1", 2, "max_triangles=-1 is too small"),
    ("export", "--config.cell_size_mm=inf", 2, f"cell_size_mm=inf {NOTHING}"),
    # dataset
    ("dataset", "--config.tol=0.0", 2, "tol=0.0 is too small"),
    ("dataset", "--config.subset=-1", 2, "subset=-1 is too small"),
    ("dataset", "--config.n=100000", 4, "--config.n lower"),
    ("dataset", "--config.validation=1", 2, "validation=1.0 is too large"),
    ("dataset", "--config.volume_range=(0.1,)", 2, "volume_range=(0.1,) is not 2 num"),
    ("dataset", "--config.volume_range=(0.0,1.0)", 2, "volume_range=(0.0, 1.0) is too"),
    ("dataset", "--config.perturbed.times=0", 2, "perturbed.times=0 is too small"),
    ("dataset", "--config.similarity=nan", 2, f"similarity=nan {NOTHING}"),
    ("dataset", "--config.shard_size=1000000000", 4, "--config.shard_size lower"),
    # train, regressor
    ("train", "--config.steps=0", 2, "steps=0 is too small"),
    ("train", "--config.ema=2.0", 2, "ema=2.0 is too large"),
    ("train", "--config.ema=1", 2, "ema=1.0 is too large"),
    ("train", "--config.drop_rate=2.0", 2, "drop_rate=2.0 is too large"),
    ("train", "--config.power=-1.0", 2, "power=-1.0 is too small"),
    ("train", "--config.batch_size=0", 2, "--config.batch_size to 2 or more"),
    ("train", "--config.batch_size=-1", 2, "--config.batch_size to 2 or more"),
    ("train", "--config.batch_size=1000000000", 4, "--config.batch_size lower"),
    ("train", "--config.learning_rate=0", 2, "learning_rate=0.0 is too small"),
    ("train", "--config.learning_rate=nan", 2, f"learning_rate=nan {NOTHING}"),
    ("train", "--config.learning_rate=-1", 2, "learning_rate=-1.0 is too small"),
    ("train", "--config.balance=nan", 2, f"balance=nan {NOTHING}"),
    ("train", "--config.log_every=0", 2, "log_every=0 is too small"),
    ("train", "--config.checkpoint_every=0", 2, "checkpoint_every=0 is too small"),
    ("train", "--config.clip=0", 2, "clip=0.0 is too small"),
    ("train", "--config.model.patch=0", 2, "model.patch=0 is too small"),
    ("train", "--config.model.width=0", 2, "model.width=0 is too small"),
    ("train", "--config.model.width=1000000", 2, "model.width=1000000 is too large"),
    ("train", "--config.model.embedding=0", 2, "model.embedding=0 is too small"),
    ("train", "--config.model.blocks=-1", 2, "model.blocks=-1 is too small"),
    ("train", "--config.model.blocks=1000", 2, "model.blocks=1000 is too large"),
    ("train", "--config.model.heads=0", 2, "model.heads=0 is too small"),
    ("regressor", "--config.model.groups=0", 2, "model.groups=0 is too small"),
    (
        "regressor",
        "--config.model.multipliers=(0,)",
        2,
        "model.multipliers=(0,) is too",
    ),
    ("regressor", "--config.ema=nan", 2, f"ema=nan {NOTHING}"),
    # cloak, bench
    ("cloak", "--config.reference_volume=2.0", 2, "reference_volume=2.0 is too large"),
    ("cloak", "--config.num_cells=1", 2, "num_cells=1 is too small"),
    ("cloak", "--config.num_cells=100000", 4, "--config.num_cells lower"),
    ("cloak", "--config.cell_voxels=100000", 4, "--config.cell_voxels lower"),
    ("cloak", "--config.pool=0", 2, "pool=0 is too small"),
    ("bench", "--config.void=nan", 2, f"void=nan {NOTHING}"),
    ("bench", "--config.cubic=(0,)", 2, "cubic=(0,) is too small"),
    ("bench", "--config.periodic=(100000,)", 4, "--config.periodic lower"),
    ("bench", "--config.repeats=0", 2, "repeats=0 is too small"),
]

FILE = "--config.input=FOLDER/"
LIMITS = "--config.objective=bulk --config.constraints=FOLDER/"
LOAD = "--config.loads=1,0,0,0,0,0"
LATE = [
    ("generate", "--workdir=FOLDER/" + "w" * 300, 2, "File name too long"),
    ("generate", "--config.target=1,2", 2, "target"),
    ("generate", "--config.target=" + "1," * 3000, 2, "target"),
    ("generate", "--config.target=nan,0.1,0.1", 2, "target"),
    ("generate", "--config.target=FOLDER/pipe.txt", 2, "(not a regular file)"),
    ("generate", "--config.target=FOLDER/none.txt", 2, "(No such file or directory)"),
    ("generate", "--config.vf=nan", 2, "volume fraction nan is not between 0 and 1"),
    ("generate", "--config.targets=/dev/zero", 2, "(not a regular file)"),
    ("generate", "--config.targets=FOLDER/pipe.txt", 2, "(not a regular file)"),
    ("generate", "--config.targets=FOLDER", 2, "(not a regular file)"),
    ("generate", "--config.targets=FOLDER/semi.csv", 2, "separated by ';'"),
    ("generate", "--config.targets=FOLDER/wide.csv", 2, "(its text is not in UTF-8)"),
    ("generate", "--config.targets=FOLDER/bad.csv", 2, "2 more cannot be used: 3, 4."),
    ("generate", "--config.checkpoint=FOLDER/none.npz", 3, "no checkpoint at"),
    ("generate", "--config.checkpoint=/dev/zero", 3, "no checkpoint at /dev/zero"),
    ("evaluate", "--config.targets=FOLDER/pipe.txt", 2, "(not a regular file)"),
    ("evaluate", "--config.num_targets=99999", 2, "num_targets=99999, and"),
    ("optimize", "--config.objective=strength", 2, "objective 'strength' is unknown"),
    ("optimize", "--config.objective=os:", 2, "os has no ''. Its functions: "),
    ("optimize", "--config.objective=os:nothing", 2, "os has no 'nothing'"),
    ("optimize", "--config.objective=no.module:f", 2, "(ModuleNotFoundError: No mod"),
    ("optimize", "--config.objective=FOLDER/exits.py:f", 2, "(SystemExit: 7)"),
    ("optimize", "--config.objective=FOLDER/later.py:f", 2, "(SystemExit: 7)"),
    ("optimize", "--config.objective=FOLDER/later.py:g", 2, "(ZeroDivisionError"),
    ("optimize", "--config.objective=FOLDER/later.py:h", 2, "has no 'h'"),
    ("optimize", "--config.objective=FOLDER/later.py:text", 2, "is of type str, not a"),
    ("optimize", "--config.start=FOLDER/none.npy", 2, "none.npy"),
    ("design", "", 2, "objective='' and loads='': a design has one of them"),
    ("design", "--config.objective=target", 2, "is for configs/optimize.py"),
    ("design", "--config.objective=strength", 2, "objective 'strength' is unknown"),
    ("design", "--config.objective=FOLDER/later.py:g", 2, "(ZeroDivisionError"),
    ("design", "--config.objective=FOLDER/own.py:row", 2, "an array of shape (6,)"),
    ("design", "--config.objective=FOLDER/own.py:root", 2, "that are not finite"),
    ("design", "--config.objective=FOLDER/own.py:one", 2, "its gradient is zero"),
    ("design", "--config.objective=FOLDER/own.py:plain", 2, "fails on a 6x6 tensor"),
    ("design", LIMITS + "later.py:f", 2, "fail on a 6x6 tensor (SystemExit: 7)"),
    ("design", LIMITS + "own.py:matrix", 2, "an array of shape (6, 6)"),
    ("design", LIMITS + "own.py:root", 2, "that are not finite"),
    ("design", LIMITS + "none.py:f", 2, "cannot be imported (FileNotFoundError"),
    ("design", LIMITS + "own.py:gone", 2, "has no 'gone'. Its functions: row, "),
    ("design", "--config.loads=1,2", 2, "'1,2' is no load case of six finite numbers"),
    ("design", "--config.loads=0,0,0,0,0,0", 2, "some of them other than 0"),
    ("design", "--config.loads=nan,0,0,0,0,0", 2, "is no load case of six finite"),
    ("design", LOAD + " --config.load_kind=force", 2, "load_kind=force is unknown"),
    ("design", LOAD + " --config.load_weights=1,2", 2, "are not 1 positive numbers"),
    ("design", LOAD + " --config.objective=bulk", 2, "a design has one of them"),
    ("design", LOAD + " --config.start=generated", 2, "a design has none"),
    ("design", LOAD + " --config.start=FOLDER/none.npy", 2, "none.npy"),
    ("export", "", 2, "one of them is exported"),
    ("export", "--config.path=FOLDER/none.npy", 2, "no input file"),
    ("export", "--config.path=FOLDER/empty.npy", 2, "is not a readable NumPy file"),
    ("export", "--config.path=FOLDER/void.npy", 2, "has no solid voxel above 0.5"),
    ("export", "--config.path=FOLDER/many.npy", 2, "holds 2 cells and one is exported"),
    ("export", "--config.path=FOLDER/bomb.npz", 2, "bytes in a.npy, 4096 announced"),
    ("export", "--config.path=FOLDER/hole.npy", 4, "of memory, and"),
    (
        "export",
        "--config.path=FOLDER/void.npy --config.formats=step",
        2,
        "'step' is un",
    ),
    (
        "export",
        "--config.path=FOLDER/void.npy --config.surface=flat",
        2,
        "surface=flat",
    ),
    ("export", "--config.family=FOLDER", 2, "no family at"),
    ("export", "--config.family=FOLDER/bomb.npz", 2, "is no family of cells"),
    ("export", "--config.family=FOLDER/empty.npy", 2, "is no family of cells"),
    ("homogenize", "--config.input=", 2, "no input is given"),
    ("homogenize", "--config.input=/dev/zero", 2, "no input file /dev/zero"),
    ("homogenize", FILE + "none.npy", 2, "no input file"),
    ("homogenize", FILE + "configs", 2, "holds no voxel file"),
    ("homogenize", FILE + "empty.npy", 2, "is not a readable NumPy file"),
    ("homogenize", FILE + "text.npy", 2, "it does not begin as one does"),
    ("homogenize", FILE + "objects.npy", 2, "it holds Python objects"),
    ("homogenize", FILE + "short.npy", 2, "bytes of data, "),
    ("homogenize", FILE + "overflow.npy", 2, "73786976294838206464 announced"),
    ("homogenize", FILE + "spans.npy", 2, "holds values of type timedelta64"),
    ("homogenize", FILE + "nan.npy", 2, "values that are NaN or infinite"),
    ("homogenize", FILE + "void.npy", 2, "has no solid voxel above 0.5"),
    ("homogenize", FILE + "mask.npy", 2, "For a 0/255 mask pass --config.scale=255"),
    ("homogenize", FILE + "thin.npy", 2, "the solver needs 4 voxels or more"),
    ("homogenize", FILE + "many.npy", 2, "holds 2 cells"),
    ("homogenize", FILE + "many.npy --config.index=" + LONG, 2, "is no cell of many"),
    ("homogenize", FILE + "hole.npy", 4, "of memory, and"),
    ("homogenize", FILE + "bomb.npz", 2, "bytes in a.npy, 4096 announced"),
    ("homogenize", FILE + "names.npz", 2, "it has: aaa"),
    ("homogenize", FILE + "bomb.nrrd", 2, "more than the 4096 bytes of data"),
    ("homogenize", FILE + "zero.nrrd", 2, "sizes [0, 99999999999999999999, 16]"),
    ("homogenize", FILE + "far.nhdr", 2, "outside of its own folder"),
    ("homogenize", FILE + "device.nhdr", 2, "outside of its own folder"),
    ("homogenize", FILE + "bomb.vti", 2, "more than the 4096 bytes of data"),
    ("homogenize", FILE + "flat.vti", 2, "Extent [0, 16, 0, 16, 0, -1]"),
    ("homogenize", FILE + "bad.mat", 2, "is not a readable MATLAB file"),
    ("homogenize", FILE + "a.raw", 2, "carries no shape"),
    (
        "homogenize",
        FILE + "a.raw --config.raw.shape=(4,4,4) --config.raw.dtype=,,",
        2,
        "dtype=,, is not a NumPy type",
    ),
    (
        "homogenize",
        FILE + "a.raw --config.raw.shape=(4,4,4) --config.raw.dtype=V0",
        2,
        "dtype=V0 is not a type of numbers",
    ),
    (
        "homogenize",
        FILE + "a.raw --config.raw.shape=(2000000000,2000000000,2000000000)",
        2,
        "needs 8000000000000000000000000000",
    ),
    ("train", "--config.data=FOLDER/none", 3, "none"),
    ("train", "--config.schedule=sudden", 2, "no noise schedule 'sudden'"),
    ("train", "--config.model.kind=mlp", 2, "no network is called 'mlp'"),
    ("train", "--config.model.width=7", 2, "width"),
    ("train", "--config.model.patch=7", 2, "patch"),
    ("train", "--config.model.multipliers=()", 2, "--config.model.multipliers"),
    ("train", "--config.model.dtype=int8", 2, "no compute type 'int8'"),
    ("train", "--config.init=FOLDER/none.npz", 3, "no checkpoint at"),
    ("regressor", "--config.model.patch=7", 2, "patch"),
    ("regressor", "--config.model.blocks=(1,)", 2, "blocks"),
    ("lattice", "--config.names=cube", 2, "no lattice is called 'cube'"),
    ("interpolate", "--config.num_cells=1", 2, "num_cells=1 is too small"),
    ("cloak", "--config.columns=cone", 2, "cone"),
    ("dataset", "--config.volume_range=(0.9,0.1)", 2, "volume_range"),
]

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
    ),
}
LISTS = {
    "semi.csv": b"C11;C12;C44;V\n0.1;0.04;0.03;0.3\n",
    "wide.csv": "C11,V\n0.1,0.3\n".encode("utf-16"),
    "bad.csv": b"C11,V\nsoft,0.3\n0.1,2\nnan,0.3\n",
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with every bad file."""
    folder = tmp_path_factory.mktemp("bad")
    for place, texts in ((folder / "configs", CONFIGS), (folder, OBJECTIVES | LISTS)):
        place.mkdir(exist_ok=True)
        for name, text in texts.items():
            content = text if isinstance(text, bytes) else text.encode()
            (place / name).write_bytes(content)
    os.mkfifo(folder / "pipe.txt")
    _arrays(folder)
    return folder


def _command(config, keys, folder, workdir):
    path = config if "FOLDER" in config else f"configs/{config}"
    path = path if ".py" in path or "FOLDER" in path else f"{path}.py"
    arguments = [f"--config={path}", *filter(None, keys.split(" --"))]
    if " --" in keys:
        first, *more = keys.split(" --")
        arguments = [f"--config={path}", first, *(f"--{key}" for key in more)]
    arguments = ["mmdiff", f"--workdir={workdir}", *arguments]
    return [text.replace("FOLDER", str(folder)) for text in arguments]


def _answer(row, folder, workdir, capsys):
    """Run a row; check exit code and sentence, and return the sentence."""
    config, keys, code, part = row
    assert main.main(_command(config, keys, folder, workdir)) == code
    message = capsys.readouterr().err
    assert part in message
    assert message.startswith("error: ") and message.count("\n") == 1
    assert "Traceback" not in message and "internal error" not in message
    assert len(message) < 2100
    return message


def _ids(rows):
    return [f"{config}-{keys}"[:60].replace("/", "_") for config, keys, _, _ in rows]


@pytest.mark.parametrize("row", EARLY, ids=_ids(EARLY))
def test_refused_before_anything_is_loaded(row, folder, tmp_path, capsys, monkeypatch):
    def started(job):
        raise AssertionError("the run has begun")

    monkeypatch.setattr(main.runner, "execute", started)
    monkeypatch.setattr(main.memory, "available", lambda: 8_000_000_000)
    _answer(row, folder, tmp_path / "out", capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("row", LATE, ids=_ids(LATE))
def test_refused_before_anything_is_computed(
    row, folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(environment, "git_state", lambda: None)  # it takes a second
    _answer(row, folder, tmp_path / "out", capsys)


def test_the_table_is_long():
    assert len(EARLY) >= 100 and len(LATE) >= 50
    assert assets.weights_path().is_file()  # what rows of `LATE` fall back on
