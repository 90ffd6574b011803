"""Copy a part of a dataset that ships, with its card and test targets.

    python docs/ship_dataset.py out/data mmdiff/assets/cells64 "two cores of ..."

The part is property-uniform: training cells, and of validation and of test cells a
tenth of them each, in few large shards; as many as asked for and as there is room for.
The card and the targets are those of the whole dataset, whose labels are spot-checked
(1.5 s a cell). With --partial a dataset that is still being made is taken as it is.
"""

import argparse
import pathlib
import shutil
import zlib

import numpy as np

from mmdiff.data import dataset, finish, report, spot_checks, store, tables
from mmdiff.errors import InputError
from mmdiff.io.json import write_csv
from mmdiff.run import console


def main(options: argparse.Namespace) -> None:
    """Write data.zarr, targets.csv and the card, and pictures for the documents."""
    root = options.source / "data.zarr"
    missing = store.missing(root)
    if missing and not options.partial:
        raise InputError(
            f"{len(missing)} shards of {root} are not finished. Finish it with "
            "configs/dataset.py, or take it as it is with --partial."
        )
    sizes = {"subset": options.cells, "num_targets": options.targets}
    contents, targets = finish.close_dataset(root, **sizes)
    count = copy_within(contents, options.destination, options.cells, options.megabytes)
    write_csv(options.destination / "targets.csv", targets)
    chosen = spot_checks.choose(np.flatnonzero(contents.kept), options.checks)
    with console.progress("spot checks", len(chosen)) as advance:
        checks = spot_checks.spot_check(contents.labels, chosen, on_cell=advance)
    text = report.card(
        contents,
        machine=options.machine,
        size_bytes=report.disk_usage(options.destination),
        checks=checks,
        extract=store.read_labels(options.destination / "data.zarr"),
    )
    (options.destination / "DATASET_CARD.md").write_text(text)
    if options.pictures:
        report.draw(options.pictures, contents)
    console.say(
        f"{count} of {contents.kept.sum()} cells and {len(targets)} targets in "
        f"{options.destination}, {wheel_bytes(options.destination) / 1e6:.1f} MB"
    )


def copy_within(
    contents: tables.Contents,
    destination: pathlib.Path,
    count: int,
    megabytes: float,
) -> int:
    """Copy as many cells as there is room for in a wheel; return how many."""
    root = destination / "data.zarr"
    while True:
        chosen = finish.extract(contents, count)
        if root.exists():
            shutil.rmtree(root)
        destination.mkdir(parents=True, exist_ok=True)
        dataset.compact(contents.labels, chosen, root)
        size = wheel_bytes(root) / 1e6
        if size <= megabytes:
            return len(chosen)
        count = int(0.99 * len(chosen) * megabytes / size)


def wheel_bytes(folder: pathlib.Path) -> int:
    """Return the bytes of a folder in a wheel, which packs each file by itself."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(len(zlib.compress(path.read_bytes())) for path in files)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("destination", type=pathlib.Path)
    parser.add_argument("machine", help="on which it was made, for the card")
    parser.add_argument("--cells", type=int, default=12000, help="at most")
    parser.add_argument("--megabytes", type=float, default=44.5, help="at most")
    parser.add_argument("--targets", type=int, default=1660)
    parser.add_argument("--checks", type=float, default=0.01, help="share of cells")
    parser.add_argument("--pictures", type=pathlib.Path, help="folder for them")
    parser.add_argument("--partial", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main(_options())
