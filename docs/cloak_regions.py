"""How little a cloak can distort, by the region of constants that its cells may have.

    python docs/cloak_regions.py out/cloak/state plates

One load, the cylinder, a box of 40^3 cells; constants are designed without cells. The
regions are those of the run's pool, of all cells of the shipped dataset, which need not
fit the body, and boxes of the coordinates of `mmdiff.design.cloak.region`, in which no
cells are known. Results stand in docs/cloak.md.
"""

import sys

import numpy as np

from mmdiff.run import environment

environment.silence_xla()  # before JAX is imported

import mmdiff as mm
from mmdiff.design.cloak import model, region
from mmdiff.design.cloak.geometry import geometry, pulled

SHAPE = 40, 40, 40
BOXES = (0.2, 1.0), (0.3, 1.0), (0.2, 0.9)
STEPS = 120


def main(state: str, reference: str) -> None:
    """Print the distortion that each region leaves."""
    loads = pulled(SHAPE)
    box = geometry(SHAPE, "cylinder", mirrors=loads.mirrors, swaps=loads.swaps)
    with np.load(f"{state}/pool_{reference}.npz") as pool:
        fit = pool["constants"]
    body = model.make_model(box, loads)(fit[-1])
    print(f"coordinates of the body {region.coordinates(fit[-1:])[0].round(2)}")
    print(f"without a cloak {100 * body.before.max():.2f} %")
    places = np.random.default_rng(0).uniform(size=(400_000, 3)).astype(np.float32)
    regions = {"cells that fit": fit, "dataset": mm.load_dataset().constants}
    for low, high in BOXES:
        inside = region.constants_at(np.clip(places, low, high))
        regions[f"all coordinates from {low} to {high}"] = np.asarray(inside)
    start = np.tile(fit[-1], (box.num_classes, 1))
    for name, known in regions.items():
        found = model.design(body, start, region.make_excess(known), steps=STEPS)
        least = region.coordinates(known).min(0).round(2)
        left = 100 * body.distortion(found).max()
        print(f"{name}: least coordinates {least}, {left:.2f} %", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
