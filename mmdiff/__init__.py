"""mmdiff: printable periodic unit cells with given elastic tensors, in JAX.

    import mmdiff as mm

    target = mm.target("E=0.1,nu=0.2", volume=0.3)
    cell, *others = mm.generate(target)
    mm.write_cell("out", "cell", cell, cell_size_mm=10)

The names below are loaded when they are first used, so that `import mmdiff` is instant
and the command line answers without loading JAX. The parts they stand on (`mmdiff.fem`,
`mmdiff.topopt`, `mmdiff.diffusion`, ...) are there to build on.

Importing mmdiff sets one flag of XLA, see `_keep_sums_exact`: import it before JAX
computes anything.
"""

import importlib
import os
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmdiff.data.dataset import Dataset, load_dataset
    from mmdiff.design.generate.cell import Cell
    from mmdiff.design.generate.pipeline import generate
    from mmdiff.design.generate.refine import PolishResult, polish
    from mmdiff.design.homogenize.characterize import characterize
    from mmdiff.design.optimize.design import Design, optimize
    from mmdiff.fem.conduction import conductivity
    from mmdiff.fem.homogenize import homogenize, make_homogenizer
    from mmdiff.fem.phases import homogenize_phases
    from mmdiff.io.cell_files import write_cell
    from mmdiff.io.read import read_cell
    from mmdiff.models.weights import Model, load_model
    from mmdiff.targets.feasibility import check_feasible
    from mmdiff.targets.orthotropic import OrthotropicTarget
    from mmdiff.targets.target import Target
    from mmdiff.targets.target import parse as target

__version__ = "0.1.0"

# Public name -> its module, and its name there where that is another.
_PUBLIC = {
    "Cell": "mmdiff.design.generate.cell",
    "Dataset": "mmdiff.data.dataset",
    "Design": "mmdiff.design.optimize.design",
    "Model": "mmdiff.models.weights",
    "OrthotropicTarget": "mmdiff.targets.orthotropic",
    "PolishResult": "mmdiff.design.generate.refine",
    "Target": "mmdiff.targets.target",
    "characterize": "mmdiff.design.homogenize.characterize",
    "check_feasible": "mmdiff.targets.feasibility",
    "conductivity": "mmdiff.fem.conduction",
    "generate": "mmdiff.design.generate.pipeline",
    "homogenize": "mmdiff.fem.homogenize",
    "homogenize_phases": "mmdiff.fem.phases",
    "load_dataset": "mmdiff.data.dataset",
    "load_model": "mmdiff.models.weights",
    "make_homogenizer": "mmdiff.fem.homogenize",
    "optimize": "mmdiff.design.optimize.design",
    "polish": "mmdiff.design.generate.refine",
    "read_cell": "mmdiff.io.read",
    "target": "mmdiff.targets.target:parse",
    "write_cell": "mmdiff.io.cell_files",
}
__all__ = [
    "Cell",
    "Dataset",
    "Design",
    "Model",
    "OrthotropicTarget",
    "PolishResult",
    "Target",
    "characterize",
    "check_feasible",
    "conductivity",
    "generate",
    "homogenize",
    "homogenize_phases",
    "load_dataset",
    "load_model",
    "make_homogenizer",
    "optimize",
    "polish",
    "read_cell",
    "target",
    "write_cell",
]


def __getattr__(name: str):
    """Load a public name on its first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mmdiff' has no attribute {name!r}")
    module, _, inner = _PUBLIC[name].partition(":")
    value = getattr(importlib.import_module(module), inner or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


_FLAG = "--xla_cpu_experimental_ynn_fusion_type"


def _keep_sums_exact() -> None:
    """Keep XLA from fusing sums into small matrix products, which it gets wrong.

    jaxlib 0.10 fuses a small matrix-vector product with the sum of its components into
    a CPU kernel that is wrong from vector 32,768 of a batch on (see
    tests/test_jax_correctness.py). XLA reads its flags when JAX first looks for
    devices; after that, all that is left is to say so.
    """
    from importlib import metadata

    try:
        version = metadata.version("jaxlib")
    except metadata.PackageNotFoundError:
        return
    flags = os.environ.get("XLA_FLAGS", "")
    if not version.startswith("0.10.") or _FLAG in flags:
        return
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge is not None and bridge.backends_are_initialized():
        if "cpu" in {device.platform for device in bridge.devices()}:
            warnings.warn(
                f"JAX ran before mmdiff was imported: with jaxlib {version} on a CPU, "
                "sums of small matrix products can be wrong. Import mmdiff first.",
                RuntimeWarning,
                stacklevel=3,
            )
        return
    os.environ["XLA_FLAGS"] = f"{flags} {_FLAG}=-LIBRARY_FUSION_TYPE_REDUCE".strip()


_keep_sums_exact()
