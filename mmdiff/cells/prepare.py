"""From an array of voxels to the density grid that is homogenized.

`prepare` checks shape and values, changes the edge where asked, and finds out how
little of the cell has to be solved: a mirror-symmetric cell is solved on its octant,
one with equal axes ("cubic") with two loads instead of six, any other one whole
("periodic"). Every refusal names the value seen and the option that helps.
"""

import dataclasses

import numpy as np

from mmdiff.cells.resample import (
    FILLING,
    RESAMPLING,
    check_edge,
    fill,
    good_edge,
    resample,
    tile_edge,
)
from mmdiff.cells.symmetry import cell_to_octant, is_cubic, octant_to_cell, symmetrize
from mmdiff.errors import InputError, check_ranges
from mmdiff.typing import Float

SYMMETRIES = ("auto", "cubic", "orthotropic", "periodic")
KINDS = ("cell", "octant")
# Densities of other codes are mirror images to single precision only.
ALIKE = 1e-6


@dataclasses.dataclass(frozen=True)
class Grid:
    """A cell ready for the solver.

    Attributes:
      density: (n, n, n) in [0, 1]: the octant, or the whole cell if periodic; float32
        or, from float64 files, float64.
      symmetry: "cubic", "orthotropic" or "periodic".
      notes: what the user should know about the way here.
    """

    density: Float[np.ndarray, "n n n"]
    symmetry: str
    notes: tuple[str, ...] = ()

    @property
    def cell(self) -> Float[np.ndarray, "m m m"]:
        """The whole cell."""
        if self.symmetry == "periodic":
            return self.density
        return octant_to_cell(self.density)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How an array of voxels becomes a density grid.

    Attributes:
      input_is: "cell", or "octant" for the part [0, 1/2]^3 of a mirror-symmetric cell.
      symmetry: one of `SYMMETRIES`.
      scale: value of solid; 255 for masks of 0 and 255.
      threshold: voxels above it count as solid (after scaling).
      binarize: replace densities by 0 and 1 at the threshold.
      resize: edge to reach, in voxels of the array; 0 for none.
      resize_method: how: "nearest" or "linear" resampling, "pad" with void, or "tile":
        repeat the box, which changes nothing of the material.
    """

    input_is: str = "cell"
    symmetry: str = "auto"
    scale: float = 1.0
    threshold: float = 0.5
    binarize: bool = False
    resize: int = 0
    resize_method: str = "nearest"

    def __post_init__(self):
        """Refuse unknown words, numbers out of range and edges that are not solved."""
        for key, known in (
            ("input_is", KINDS),
            ("symmetry", SYMMETRIES),
            ("resize_method", (*RESAMPLING, *FILLING)),
        ):
            if (value := getattr(self, key)) not in known:
                raise InputError(f"{key}={value} is unknown. Use {', '.join(known)}.")
        check_ranges(vars(self), {"scale": "(0, inf)", "threshold": "[0, 1)"})
        if self.resize_method in FILLING and not self.resize:
            raise InputError(
                f"resize_method={self.resize_method} needs the edge to reach. Pass "
                "`resize=64`."
            )
        if self.resize and (self.resize < 8 or self.resize % 4):
            raise InputError(
                f"resize={self.resize}: the edge must be a multiple of 4 and at least "
                f"8. Next good size: {good_edge(self.resize)}."
            )


def prepare(array: np.ndarray, name: str, options: Options = Options()) -> Grid:
    """Return the density grid of an array (nx, ny, nz) of any real type.

    Raises:
      InputError: wrong shape or values, nothing to homogenize, an edge the solver does
        not take, or a symmetry that the cell does not have.
    """
    input_is, threshold, resize = options.input_is, options.threshold, options.resize
    method, symmetry = options.resize_method, options.symmetry
    density = to_density(array, name, scale=options.scale)
    notes = []
    if not resize:
        check_shape(density.shape, name, input_is=input_is)
    check_phases(density, name, threshold, scale=options.scale)
    if method in FILLING:
        octant = input_is == "octant"
        density, note = fill(density, resize, method, name, octant=octant)
        notes.append(note)
        resize = 0
    elif resize and len(set(density.shape)) > 1:
        notes.append(
            f"{name}: shape {density.shape} is stretched to {resize}^3; lengths along "
            "the axes are no longer to scale."
        )
    density, found = find_symmetry(density, input_is)
    halved = input_is == "cell" and found != "periodic"
    if resize:
        # The octant is resampled, not the cell: so every mirror plane stays one.
        edge = resize // 2 if halved else resize
        density = resample(density, edge, method, periodic=found == "periodic")
    if options.binarize:
        density = (density > threshold).astype(density.dtype)
    if resize or options.binarize:
        check_phases(density, name, threshold)
    if found == "cubic":
        # Equal to rounding is not enough for the solver, which takes it at its word.
        density = symmetrize(density)
    used = _choose(found, symmetry, name, edge=density.shape[0], halved=halved)
    if used == "periodic" != found:
        density = octant_to_cell(density)
        if symmetry == "auto":
            n = density.shape[0]
            notes.append(
                f"{name}: mirror-symmetric, but half its edge of {n} is not a multiple "
                f"of 4, so the whole cell is solved. `resize={good_edge(n, 8)}` would "
                "be faster."
            )
    check_edge(density.shape[0], name)
    return Grid(density, used, tuple(notes))


def to_density(array: np.ndarray, name: str, *, scale: float = 1.0) -> np.ndarray:
    """Return an array divided by `scale`; InputError unless finite and in [0, 1]."""
    wide = array.dtype == np.float64
    values = np.asarray(array, np.float64 if wide else np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{name} holds {int(bad.sum())} values that are NaN or infinite, the first "
            f"at index {first}. Replace them by 0 for void or 1 for solid."
        )
    low, high = (float(v) for v in (values.min(), values.max()))
    values = values / values.dtype.type(scale)
    # One rounding step over 1 is no mistake of the user.
    if values.min() < -ALIKE or values.max() > 1 + ALIKE:
        scaled = f" (scale {scale:g})" if scale != 1 else ""
        if low > 0 and len(np.unique(array)) == 2:
            advice = f"For labels {low:g} and {high:g} save array == {high:g}."
        elif high > 1:
            # 255 is the usual mask, and the smallest scale that helps otherwise.
            advice = f"For a 0/{high:g} mask pass `scale={high:g}`."
        else:
            advice = "Shift and scale the values first."
        raise InputError(
            f"{name} holds values from {low:g} to {high:g}{scaled}; density must lie "
            f"in [0, 1]. {advice}"
        )
    return np.clip(values, 0, 1)


def check_shape(shape: tuple[int, ...], name: str, *, input_is: str = "cell") -> None:
    """Raise InputError unless the three edges are equal."""
    if len(set(shape)) == 1:
        return
    octant = "If this is one octant of a larger cell pass `input_is=octant`; to "
    edge = good_edge(max(shape))
    repeated = tile_edge(*shape)
    tile = (
        f" To repeat the box to a cube pass `resize={repeated}` `resize_method=tile`."
    )
    raise InputError(
        f"{name} has shape {tuple(shape)}; a cubic cell needs three equal edges. "
        f"{octant if input_is == 'cell' else 'To '}pad or resample pass "
        f"`resize={edge}` (`resize_method=pad` fills up with void, nearest and linear "
        "stretch)." + (tile if repeated <= max(2 * max(shape), 64) else "")
        # Worth naming while the solver can still take it.
    )


def check_phases(
    density: np.ndarray, name: str, threshold: float, *, scale: float = 1.0
) -> None:
    """Raise InputError when no voxel is above the threshold."""
    high = float(density.max())
    if high > threshold:
        return
    if high == 0:
        advice = "It is empty: choose another array with `key` or `index`"
    elif scale > 1:
        advice = f"Check `scale={scale:g}`, or choose `threshold`"
    else:
        advice = "Choose `threshold`"
    raise InputError(
        f"{name} has no solid voxel above {threshold:g} (max {high:.3g}). {advice}."
    )


def find_symmetry(
    density: Float[np.ndarray, "x y z"], input_is: str = "cell"
) -> tuple[Float[np.ndarray, "..."], str]:
    """Return the octant (or the cell where it has none) and the symmetry found."""
    if len(set(density.shape)) > 1:
        return density, "orthotropic" if input_is == "octant" else "periodic"
    if input_is == "cell":
        mirrored = density.shape[0] % 2 == 0 and all(
            abs(density - np.flip(density, axis)).max() <= ALIKE for axis in range(3)
        )
        if not mirrored:
            return density, "periodic"
        density = cell_to_octant(density)
    swaps = (density.swapaxes(0, 1), density.swapaxes(1, 2))
    same = is_cubic(density) or all(abs(density - s).max() <= ALIKE for s in swaps)
    return density, "cubic" if same else "orthotropic"


def _choose(found, asked, name, *, edge, halved):
    """Return the symmetry to solve with; InputError where the cell lacks it."""
    if asked == "auto":
        fits = edge >= 8 and edge % 4 == 0
        return "periodic" if halved and not fits else found
    order = SYMMETRIES[1:]
    if order.index(asked) < order.index(found):
        raise InputError(
            f"{name} is not {asked}: it is {found} (mirror planes and equal axes are "
            "checked). Pass `symmetry=auto`."
        )
    if asked != "periodic" and halved:
        check_edge(edge, name, factor=2)
    return asked
