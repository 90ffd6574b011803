"""Model cards in Markdown; every number in them was measured in the run itself."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from mmdiff.cells.distance import CLIP
from mmdiff.io.json import card_head, markdown
from mmdiff.train.loop import Result
from mmdiff.train.record import last
from mmdiff.train.regression import QUANTITIES, Comparison

_DENOISER = """# Model card

Denoiser for cubic-symmetric unit cells (level-set fields of {octant}^3 samples of the
octant), conditioned on any subset of {names}.

{training}
## Error of the x0 estimate on held-out cells

Distances from the surface in units of {clip} spacings, clipped to [-1, 1];
self-conditioned, averaged parameters.

{errors}## Range of the conditions

Targets beyond these ranges are extrapolation.

{ranges}
## Rebuild

`mmdiff.models.weights.load_weights` returns `(params, meta)`; the network is
`make_network(**meta["model"])`. The SHA-256 of the file stands in `ema.npz.sha256`.
"""

_REGRESSOR = """# Model card

Regressor from cubic-symmetric unit cells (level-set fields of {octant}^3 samples of the
octant, in [-1, 1]) to C11, C12, C44 and K / K_HS, the bulk modulus over its
upper Hashin-Shtrikman bound. Of no use for cells unlike those it was trained on.

{training}
## Error on held-out families, by finite elements

The range error is that of arXiv 2401.13570, Eq. 3.

{scores}
## Rebuild

`mmdiff.models.regressor.load_regressor` returns `(params, meta)`, and
`make_regress(params, meta)` the function from fields to constants and K / K_HS. The
SHA-256 of the file stands in `regressor.npz.sha256`.
"""

_TRAINING = """## Training

- {cells} training cells, {steps} steps of
  {batch_size} samples, seed {seed}{augmented}
- {millions:.2f} million parameters; the file holds their moving
  average (decay {ema}) as {stored}
- {samples_per_s:.1f} training samples per second on
  {devices} {backend} device(s)
- base material and interpolation: `{base}`
"""
_AUGMENTED = "; half of the fields shifted\n  by half a period, half softened"


def denoiser_card(
    meta: Mapping[str, Any],
    result: Result,
    rows: Sequence[Mapping[str, Any]],
    *,
    ema: float,
    half: bool,
) -> str:
    """Return the card of a denoiser, from the header of its file and its metrics.

    `ema` is the decay of the average, `half` whether the file holds float16.
    """
    errors = [
        [name.removeprefix("validation_t"), f"{value:.4g}"]
        for name, value in last(rows, "validation").items()
        if name.startswith("validation_t")
    ]
    cond = meta["cond"]
    ranges = zip(cond["names"], cond["low"], cond["high"], strict=True)
    head = card_head(
        "mmdiff denoiser", "inverse-design", "diffusion", "jax", library_name="mmdiff"
    )
    return head + _DENOISER.format(
        octant=meta["octant"],
        clip=CLIP,
        names=", ".join(cond["names"]),
        training=_training(meta, result, ema=ema, half=half),
        errors=markdown(["t", "mean squared error"], errors) + "\n" if errors else "",
        ranges=markdown(
            ["condition", "low", "high"],
            [[name, f"{low:.6g}", f"{high:.6g}"] for name, low, high in ranges],
        ),
    )


def regressor_card(
    meta: Mapping[str, Any],
    result: Result,
    comparisons: Mapping[str, Comparison],
    *,
    ema: float,
    half: bool,
) -> str:
    """Return the card of a regressor, compared with finite elements by split."""
    head = card_head("mmdiff regressor", "homogenization", "jax", library_name="mmdiff")
    return head + _REGRESSOR.format(
        octant=meta["octant"],
        training=_training(meta, result, ema=ema, half=half, augmented=_AUGMENTED),
        scores=markdown(*score_table(comparisons)),
    )


def score_table(found: Mapping[str, Comparison]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a table of the scores by split."""
    header = ["split", "cells", *(f"R^2 {name}" for name in QUANTITIES), "range error"]
    rows = []
    for split, comparison in found.items():
        *r2, error = comparison.scores().values()
        scores = [*(f"{value:.4f}" for value in r2), f"{100 * error:.3f} %"]
        rows.append([split, str(len(comparison.true)), *scores])
    return header, rows


def _training(meta, result, *, ema, half, augmented="") -> str:
    return _TRAINING.format(
        **meta["training"],
        augmented=augmented,
        millions=meta["training"]["parameters"] / 1e6,
        ema=ema,
        stored="float16" if half else "float32",
        samples_per_s=result.samples_per_s,
        devices=jax.device_count(),
        backend=jax.default_backend(),
        base=json.dumps(meta["base"]),
    )
