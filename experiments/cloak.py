"""Hide a hole: design the cells around it, take real ones, and check what they do."""

import itertools
import pathlib

from ml_collections import ConfigDict

from mmdiff.data import dataset
from mmdiff.design.cloak import case as cases
from mmdiff.design.cloak import pool as pools
from mmdiff.design.cloak import report, resolved
from mmdiff.design.cloak.case import Case
from mmdiff.design.cloak.geometry import COLUMNS, LOADS, geometry
from mmdiff.design.cloak.model import make_model
from mmdiff.design.cloak.pool import REFERENCES
from mmdiff.errors import InputError
from mmdiff.fem.homogenize import VOID
from mmdiff.io.report import write
from mmdiff.run import console, workdir


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Design every case that the config asks for, and write what came out."""
    columns = _names(config.columns, "columns", COLUMNS)
    references = _names(config.references, "references", REFERENCES, numbers=True)
    load_cases = _names(config.tests, "tests", LOADS)
    data = dataset.load_dataset(config.data)
    _check_voxels(config, 2 * data.n)
    state = folder / "state"
    state.mkdir(exist_ok=True)
    limits = {"steps": config.steps, "exchanges": config.exchanges}
    options = {"most": config.pool, "volume": config.reference_volume, "folder": state}

    def make_pool(name, edge, void):
        return pools.reference_pool(data, name, edge=edge, void=void, **options)

    known = {name: make_pool(name, config.cell_voxels, VOID) for name in references}
    shape = (config.num_cells,) * 3
    found = []
    for column, name in itertools.product(columns, load_cases):
        loads = LOADS[name](shape)
        box = geometry(shape, column, mirrors=loads.mirrors, swaps=loads.swaps)
        model = make_model(box, loads)
        for reference, pool in known.items():
            case = Case(column, reference, loads, box, pool)
            found.append(cases.solve(case, model, state, **limits))
    checks = {line["reference"]: line for line in workdir.read_records(folder)}
    for name in references if config.check_cells else ():
        if name not in checks:
            pool = make_pool(name, config.check_voxels, resolved.VOID)
            slab = resolved.check_slab(columns[0], pool, config.check_cells, **limits)
            checks[name] = {"reference": name, **slab}
            workdir.append_record(folder, checks[name])
    done = report.report(
        found,
        [checks[name] for name in references if name in checks],
        cell_size_mm=config.cell_size_mm,
        stl_voxels=config.stl_voxels,
    )
    console.notes(write(folder, done))
    rows = [[row[key] for key in report.COLUMNS] for row in done.values["cases"]]
    console.table(rows, report.COLUMNS)
    worst = max(found, key=lambda case: case.percent("cells"))
    console.say(
        f"distortion of {len(found)} cases with real cells: at most "
        f"{worst.percent('cells'):.2f} % ({worst.name}), where it was "
        f"{worst.percent('before'):.2f} % without a cloak."
    )


def _check_voxels(config, edge: int) -> None:
    """Refuse cells that do not divide those of the dataset, of so many voxels."""
    dataset_edge = (edge, f"the {edge} voxels of a cell's edge")
    for key, (whole, what) in {
        "cell_voxels": dataset_edge,
        "check_voxels": dataset_edge,
        "stl_voxels": (config.cell_voxels, f"cell_voxels={config.cell_voxels}"),
    }.items():
        if whole % config[key] or config[key] % 2:
            raise InputError(
                f"{key}={config[key]} does not divide {what}. Set `{key}` to an even "
                "number that does."
            )


def _names(text: str, key: str, known, *, numbers: bool = False) -> list[str]:
    """Return the names in a list: those known, and numbers where they are allowed."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in known and not (numbers and name.isdecimal()):
            usual = [*known, *(["the number of a cell"] if numbers else [])]
            raise InputError(
                f"{key}={text!r} holds {name!r}. Use {', '.join(usual)}, or several "
                "joined by commas."
            )
    return names
