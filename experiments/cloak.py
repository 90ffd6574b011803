"""Hide a hole: design the cells around it, take real ones, and check what they do."""

import itertools
import pathlib

from ml_collections import ConfigDict

from mmdiff.data import dataset
from mmdiff.design.cloak import case as cases
from mmdiff.design.cloak import report, resolved
from mmdiff.design.cloak.case import Case
from mmdiff.design.cloak.geometry import COLUMNS, LOADS, geometry
from mmdiff.design.cloak.model import make_model
from mmdiff.design.cloak.pool import REFERENCES, check_references, reference_pool
from mmdiff.errors import InputError
from mmdiff.io.report import write
from mmdiff.run import console, workdir


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Design every case that the config asks for, and write what came out."""
    columns = _names(config.columns, "columns", COLUMNS)
    references = _names(config.references, "references", REFERENCES, numbers=True)
    load_cases = _names(config.tests, "tests", LOADS)
    data = dataset.load_dataset(config.data)
    slabs = _slabs(config, data.n)
    check_references(data, references, config.reference_volume)
    state = folder / "state"
    state.mkdir(exist_ok=True)
    limits = {"steps": config.steps, "exchanges": config.exchanges}
    limits |= {"own_cells": config.own_cells, "processes": config.workers}
    options = {"most": config.pool, "volume": config.reference_volume, "folder": state}
    options |= {"processes": config.workers}
    pools = {name: reference_pool(data, name, **options) for name in references}
    shape, every = (config.num_cells,) * 3, config.elements
    found = []
    for column, name in itertools.product(columns, load_cases):
        loads = LOADS[name](tuple(every * n for n in shape))
        kind = {"mirrors": loads.mirrors, "swaps": loads.swaps, "elements": every}
        box = geometry(shape, column, **kind)
        model = make_model(box, loads)
        for reference, pool in pools.items():
            case = Case(column, reference, loads, box, pool)
            found.append(cases.solve(case, model, state, **limits))
    checks = {(c["reference"], c["cells"]): c for c in workdir.read_records(folder)}
    limits |= {"elements": config.slab_elements, "edge": config.check_elements}
    limits |= {"corrections": config.corrections}
    for name, count in itertools.product(references, slabs):
        if (name, count) not in checks:
            size = (count, count, 1)
            slab = columns[0], name, pools[name], size, state
            checks[name, count] = resolved.check_slab(*slab, **limits)
            workdir.append_record(folder, checks[name, count])
    done = report.report(
        found,
        [checks[key] for key in itertools.product(references, slabs)],
        cell_size_mm=config.cell_size_mm,
        stl_samples=config.stl_samples,
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


def _slabs(config, n: int) -> list[int]:
    """Return the cells along slabs; refuse elements for which there are no tensors."""
    if config.check_elements not in (n, 2 * n):
        raise InputError(
            f"check_elements={config.check_elements} is no grid on which tensors of "
            f"cells are known. Set `check_elements` to {n} or {2 * n}."
        )
    if config.stl_samples % 2:
        raise InputError(
            f"stl_samples={config.stl_samples} is odd, but half a cell has whole ones. "
            "Set `stl_samples` to an even number."
        )
    texts = [text.strip() for text in config.check_cells.split(",") if text.strip()]
    for text in texts:
        if not text.isdecimal() or int(text) < 5:
            raise InputError(
                f"check_cells={config.check_cells!r} holds {text!r}. Use whole numbers "
                "of 5 or more, joined by commas, or leave it empty."
            )
    return [int(text) for text in dict.fromkeys(texts)]


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
