"""The import graph: arrows point down only, and each library has its one place."""

import ast
import graphlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = (
    ("typing", "errors", "assets", "programs"),
    ("memory", "places", "checksums"),
    ("apart",),
    ("elasticity", "linalg"),
    ("bounds", "anisotropy"),
    ("cells",),
    ("io",),
    ("fem", "diffusion", "targets", "run"),
    ("topopt", "models"),
    ("data",),
    ("train", "design"),
    ("main",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
ABOVE = ("configs", "experiments", "launch")
# Rooms of mmdiff/design that another one may use; the others stand alone.
ROOMS = {
    "generate": ("optimize", "extremes", "evaluate", "bench", "serve"),
    "optimize": ("extremes", "design"),
    "homogenize": ("lattice", "serve", "export"),
    "interpolate": ("export",),
}
MOST_MODULES = 16  # in a folder
# Library -> the files (or folders) that may import it, above and below.
HOMES = {
    "absl": ("mmdiff/main.py", *ABOVE),
    "ml_collections": ("mmdiff/main.py", *ABOVE),
    "flax": ("mmdiff/models", "mmdiff/train"),
    "orbax": ("mmdiff/train/checkpoint.py",),
    "tensorstore": ("mmdiff/data/store.py",),
    "ray": ("launch",),
    "trimesh": ("mmdiff/io/read_volumes.py",),
    "h5py": ("mmdiff/io/read_volumes.py",),
    "tifffile": ("mmdiff/io/read_volumes.py",),
    "fast_simplification": ("mmdiff/design/export/decimate.py",),
    "starlette": ("mmdiff/design/serve",),
    "uvicorn": ("mmdiff/design/serve/server.py",),
}
# Extras: a core installation is without them, so only functions may import them.
OPTIONAL = (
    *("skimage", "matplotlib", "tensorboardX", "ray", "trimesh", "lib3mf"),
    *("h5py", "tifffile", "starlette", "uvicorn", "fast_simplification"),
    *("pyamg", "muGrid"),  # timed beside our solver where they are installed
)
TEST_ONLY = ("lib3mf", "pytest", "nlopt", "skfem", "manifold3d")


def _imports(path, *, top_level=False):
    """Return the dotted names a file imports, those inside functions included."""
    tree = ast.parse(path.read_text("utf-8"))
    names = []
    for node in _outside_functions(tree) if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _outside_functions(node):
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _outside_functions(child)


def _files(*folders):
    return sorted(path for name in folders for path in (ROOT / name).rglob("*.py"))


def _name(path):
    return path.relative_to(ROOT).as_posix()


def _part(dotted):
    """Return the part of mmdiff that a dotted name belongs to, None for the root."""
    pieces = dotted.split(".")
    return pieces[1] if pieces[0] == "mmdiff" and pieces[1:] else None


PACKAGE = [path for path in _files("mmdiff") if path != ROOT / "mmdiff/__init__.py"]
ALL = [*_files("mmdiff", *ABOVE)]


def test_every_module_has_a_layer():
    parts = {path.relative_to(ROOT / "mmdiff").parts[0] for path in PACKAGE}
    assert {part.removesuffix(".py") for part in parts} <= RANK.keys()


@pytest.mark.parametrize("path", PACKAGE, ids=_name)
def test_imports_point_down(path):
    own, *rest = path.relative_to(ROOT / "mmdiff").with_suffix("").parts
    for dotted in _imports(path):
        other = _part(dotted)
        if other in (None, own, "__version__"):
            continue
        # Parts of one layer do not know each other.
        assert RANK[other] < RANK[own], f"{own} imports {other}: {dotted}"
        assert not (own == "models" and other == "fem")
        assert not (own == "diffusion" and other == "models")
    if own == "design" and len(rest) > 1:
        for dotted in _imports(path):
            room = dotted.removeprefix("mmdiff.design.").partition(".")[0]
            if dotted.startswith("mmdiff.design.") and room != rest[0]:
                users = ROOMS.get(room, ())
                assert rest[0] in users, f"design/{rest[0]} imports design/{room}"


def test_no_folder_holds_too_much():
    folders = {path.parent for path in PACKAGE}
    for folder in folders:
        modules = [path for path in folder.glob("*.py") if path.stem != "__init__"]
        assert len(modules) <= MOST_MODULES, f"{folder}: {len(modules)} modules"


def test_config_experiment_and_room_have_one_name():
    rooms = {path.name for path in (ROOT / "mmdiff/design").iterdir() if path.is_dir()}
    rooms.discard("__pycache__")
    names = {path.stem for path in _files("configs")}
    # train, regressor and dataset are of train/ and data/; bench times all of them.
    assert rooms <= names
    assert names - rooms <= {"train", "regressor", "dataset", "bench"}


def test_no_import_cycles():
    modules = {}
    for path in PACKAGE:
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts).removesuffix(".__init__")] = path
    graph = {}
    for module, path in modules.items():
        used = set()
        for dotted in _imports(path):
            # `from mmdiff.fem import solve` may name a module or something in one.
            found = {dotted, dotted.rpartition(".")[0]}
            used |= (found & modules.keys()) - {module}
        # Importing mmdiff.fem.solve runs mmdiff/fem/__init__.py, which may come back:
        # Python allows that as long as the modules themselves form no loop.
        graph[module] = {name for name in used if not module.startswith(f"{name}.")}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(order) == set(modules)


@pytest.mark.parametrize("path", ALL, ids=_name)
def test_each_library_has_its_place(path):
    name = _name(path)
    for dotted in _imports(path):
        assert not dotted.startswith("flax.nnx"), "flax.nnx breaks between versions"
        library = dotted.partition(".")[0]
        homes = HOMES.get(library, (name,))
        assert name.startswith(tuple(homes)), f"{name} may not import {library}"
        assert library not in TEST_ONLY, f"{library} is for tests only"
    for dotted in _imports(path, top_level=True):
        library = dotted.partition(".")[0]
        assert library not in OPTIONAL, (
            f"{library} is optional: import it in a function"
        )


@pytest.mark.parametrize("path", _files("configs"), ids=_name)
def test_configs_load_at_once(path):
    allowed = {*sys.stdlib_module_names, "ml_collections"}
    used = {dotted.partition(".")[0] for dotted in _imports(path)}
    assert used <= allowed, "configs are read before JAX: only ml_collections in them"


@pytest.mark.parametrize("path", _files(*ABOVE), ids=_name)
def test_upper_files_stand_alone(path):
    used = {dotted.partition(".")[0] for dotted in _imports(path)}
    assert not used & set(ABOVE), (
        "configs, experiments and launch do not import each other"
    )


@pytest.mark.parametrize("config", _files("configs"), ids=_name)
def test_every_config_has_an_experiment(config):
    assert (ROOT / "experiments" / config.name).is_file()


MOST_LINES, MOST_PARAMETERS = 90, 8  # of a function


def _functions(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", _files("mmdiff", "experiments", "launch"), ids=_name)
def test_functions_are_short(path):
    for node in _functions(path):
        assert node.end_lineno - node.lineno < MOST_LINES, node.name
        taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [argument.arg for argument in taken if argument.arg != "self"]
        assert len(names) <= MOST_PARAMETERS, f"{node.name}: {len(names)} parameters"


def test_experiments_are_short():
    for path in _files("experiments"):
        lines = len(path.read_text("utf-8").splitlines())
        assert lines <= 120, f"{path.name}: {lines} lines"


RUNNERS = ("main.py", "run/")


@pytest.mark.parametrize("path", PACKAGE, ids=_name)
def test_flags_are_named_by_the_runner_alone(path):
    if not _name(path).removeprefix("mmdiff/").startswith(RUNNERS):
        assert "--config" not in path.read_text("utf-8").replace("--config=configs", "")
