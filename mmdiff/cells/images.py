"""What the values of a voxel image are: a mask, labels of phases, or shades of gray.

Masks have two values, label images a few whole numbers, images of a scanner many. An
image of grays is no density: it has to be cut at a threshold, for which Otsu's is
suggested (IEEE Trans. Syst. Man Cybern. 9 (1979) 62), the one that leaves the least
variance within the two classes.
"""

import re
from typing import NamedTuple

import numpy as np

from mmdiff.errors import InputError
from mmdiff.typing import Float, Shaped

MOST_LABELS = 16  # whole numbers, above which an image has grays
BINS = 256
GRAY = 0.5  # share of voxels between the extremes that makes an image of grays

_ENTRY = re.compile(r"\s*(-?\d+)\s*:\s*([^:]*?)\s*[,;]?\s*(?=-?\d+\s*:|$)")


class Phase(NamedTuple):
    """Young's modulus and Poisson's ratio of a label; of void both are None."""

    young: float | None
    poisson: float | None


def kind_of(values: Shaped[np.ndarray, "..."]) -> str:
    """Return "mask", "labels" or "grays".

    Two values are a mask, up to `MOST_LABELS` whole numbers are labels, unless they are
    0 and 1 with anything between; the rest is an image of grays where more than half of
    its voxels lie strictly between its extremes, else a mask with soft edges.
    """
    found = np.unique(values)
    whole = np.all(found == np.round(found))
    if len(found) <= 2:
        return "mask"
    if whole and len(found) <= MOST_LABELS:
        return "labels"
    return "grays" if gray_share(values) > GRAY else "mask"


def gray_share(values: Shaped[np.ndarray, "..."]) -> float:
    """Return the share of voxels strictly between the least and the largest value."""
    low, high = values.min(), values.max()
    return float(((values > low) & (values < high)).mean())


def otsu(values: Shaped[np.ndarray, "..."]) -> float:
    """Return Otsu's threshold: values above it belong to the brighter class."""
    counts, ends = np.histogram(values, BINS)
    middles = (ends[:-1] + ends[1:]) / 2
    below = counts.cumsum()
    above = below[-1] - below
    sums = (counts * middles).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = sums / below - (sums[-1] - sums) / above
        between = np.nan_to_num(below * above * difference**2)
    # The middle of an empty stretch between the classes, whose splits are all alike.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float(ends[1 + best].mean())


def parse_phases(text: str) -> dict[int, Phase]:
    """Return the phases of a text such as "0:void, 1:210,0.3; 2:70,0.33".

    Each entry is a label, a colon, and Young's modulus and Poisson's ratio, or "void".

    Raises:
      InputError: an entry that is none, or a modulus out of range.

    Example:
      >>> parse_phases("0:void;1:210,0.3")[1]
      Phase(young=210.0, poisson=0.3)
    """
    advice = 'Write label:E,nu or label:void for each, such as "0:void;1:210,0.3".'
    phases: dict[int, Phase] = {}
    place = 0
    while place < len(text.rstrip(" ;,")):
        found = _ENTRY.match(text, place)
        if found is None:
            raise InputError(
                f"phases={text} cannot be read at {text[place:]!r}. {advice}"
            )
        label, values = int(found[1]), found[2].rstrip(" ,;")
        if label in phases:
            raise InputError(f"phases={text} names label {label} twice. {advice}")
        phases[label] = _phase(label, values, text, advice)
        place = found.end()
    if not phases or all(phase.young is None for phase in phases.values()):
        raise InputError(f"phases={text} names no solid. {advice}")
    return phases


def _phase(label, values, text, advice):
    if values == "void":
        return Phase(None, None)
    try:
        young, poisson = (float(value) for value in values.split(","))
    except ValueError:
        raise InputError(
            f"phases={text}: label {label} has {values!r}. {advice}"
        ) from None
    if not (0 < young < np.inf and -1 < poisson < 0.5):
        raise InputError(
            f"phases={text}: label {label} has E={young:g} and nu={poisson:g}. E must "
            "be positive and nu between -1 and 0.5, both excluded."
        )
    return Phase(young, poisson)


def check_labels(
    values: Shaped[np.ndarray, "..."], phases: dict[int, Phase], name: str
):
    """Raise InputError for a voxel whose label has no phase."""
    if not np.all(values == np.round(values)):  # not a number is none either
        raise InputError(
            f"{name} holds values that are no whole numbers, so no labels. Leave "
            "`phases` out, or save the labels."
        )
    known = np.array(sorted(phases))
    unknown = np.setdiff1d(np.unique(values), known)
    if unknown.size:
        raise InputError(
            f"{name} holds the label {unknown[0]:g}, which `phases` does not name; it "
            f"names {', '.join(map(str, known))}. Add {unknown[0]:g}:E,nu or "
            f"{unknown[0]:g}:void."
        )


def of_mask(high: float) -> str:
    """Return what to do with a mask whose solid has another value than 1."""
    # 255 is the usual one, and the smallest scale that helps otherwise.
    return f"For a 0/{high:g} mask pass `scale={high:g}`."


def advice(values: Shaped[np.ndarray, "..."]) -> str:
    """Return what to do with values that begin at zero or above and exceed one."""
    kind, high = kind_of(values), float(values.max())
    if kind == "mask":
        return of_mask(high)
    if kind == "labels":
        found = np.unique(values)
        labels = ", ".join(f"{v:g}" for v in found)
        example = ";".join(f"{v:g}:{'void' if v == 0 else '1,0.3'}" for v in found)
        return (
            f"These are the labels {labels}: give each its E and nu, as in "
            f'`phases="{example}"`, or save the one that is solid as a mask.'
        )
    return f"It is an image of grays. {threshold_advice(values, high)}"


def threshold_advice(values: Shaped[np.ndarray, "..."], scale: float) -> str:
    """Return how to cut an image of grays in two."""
    cut = otsu(values)
    return (
        f"`scale={scale:g}` `threshold={cut / scale:.4g}` `binarize=true` takes all "
        f"above {cut:.4g} for solid (Otsu's threshold), "
        f"{100 * float((values > cut).mean()):.0f} % of the voxels."
    )


def to_moduli(
    labels: Shaped[np.ndarray, "..."],
    phases: dict[int, Phase],
    *,
    void: float,
    nu: float,
) -> tuple[
    Float[np.ndarray, "..."], Float[np.ndarray, "..."], Float[np.ndarray, "..."]
]:
    """Return solid (1 or 0), Young's modulus and Poisson's ratio of labelled voxels.

    Void gets the share `void` of the largest modulus, and Poisson's ratio `nu`.
    """
    known = np.array(sorted(phases))
    most = max(phase.young for phase in phases.values() if phase.young is not None)
    table = [phases[label] for label in known.tolist()]
    solid = np.array([phase.young is not None for phase in table], float)
    young = np.array([void * most if p.young is None else p.young for p in table])
    poisson = np.array([nu if p.poisson is None else p.poisson for p in table])
    place = np.searchsorted(known, labels)
    return solid[place], young[place], poisson[place]
