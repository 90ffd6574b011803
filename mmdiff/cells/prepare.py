"""From an array of voxels to the density grid that is homogenized.

`prepare` checks shape and values, changes the edge where asked, and finds out how
little of the cell has to be solved: a mirror-symmetric cell is solved on its octant,
one with equal axes ("cubic") with two loads instead of six, any other one whole
("periodic"). Cells are boxes of any edges. Every refusal names the value seen and the
option that helps.
"""

import dataclasses
import math

import numpy as np

from mmdiff import memory
from mmdiff.cells import images
from mmdiff.cells.images import Phase
from mmdiff.cells.symmetry import is_cubic, octant_to_cell, symmetrize
from mmdiff.cells.voxels import FILLING, RESAMPLING, fill, resample
from mmdiff.errors import InputError, check_ranges
from mmdiff.typing import Float, Shaped

SYMMETRIES = ("auto", "cubic", "orthotropic", "periodic")
BOUNDARIES = ("periodic", "mirrored", "mixed", "kinematic")
KINDS = ("cell", "octant")
# Densities of other codes are mirror images to single precision only.
ALIKE = 1e-6
LEAST = 4  # voxels along an axis of what is solved
# A voxel takes so many bytes at least: as a density, while a cubic cell is solved.
DENSITY_BYTES, SOLVED_BYTES = 8, 20
UNIT = (1.0, 1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Grid:
    """A cell or window ready for the solver.

    Attributes:
      density: (nx, ny, nz) in [0, 1]: the octant of a mirror-symmetric cell, the whole
        cell if periodic, or a window; float32 or, from float64 files, float64.
      symmetry: "cubic", "orthotropic" or "periodic", and "kinematic" or "mixed" of
        windows.
      notes: what the user should know about the way here.
      edges: of a voxel along x, y and z; those along x are 1.
      phases: by label, if the voxels have labels.
      labels: those of the voxels, else None.
    """

    density: Float[np.ndarray, "nx ny nz"]
    symmetry: str
    notes: tuple[str, ...] = ()
    edges: tuple[float, float, float] = UNIT
    phases: dict[int, Phase] | None = None
    labels: Shaped[np.ndarray, "nx ny nz"] | None = None

    @property
    def is_octant(self) -> bool:
        """Whether the cell consists of mirror images of the grid."""
        return self.symmetry in ("cubic", "orthotropic")

    @property
    def is_window(self) -> bool:
        """Whether the grid is cut out of a material that does not repeat it."""
        return self.symmetry in ("kinematic", "mixed")

    @property
    def cell(self) -> Float[np.ndarray, "mx my mz"]:
        """The whole cell."""
        return octant_to_cell(self.density) if self.is_octant else self.density


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How an array of voxels becomes a density grid.

    Attributes:
      input_is: "cell", or "octant" for the part [0, 1/2]^3 of a mirror-symmetric cell.
      symmetry: one of `SYMMETRIES`.
      boundary: "periodic" for cells; of a window cut out of a material "mirrored" to go
        on by mirror images, or "mixed" or "kinematic", see `fem.boundary`.
      scale: value of solid; 255 for masks of 0 and 255.
      threshold: voxels above it count as solid (after scaling).
      binarize: replace densities by 0 and 1 at the threshold.
      resize: edge to reach, in voxels of the array; 0 for none.
      resize_method: how: "nearest" or "linear" resampling, "pad" with void, or "tile":
        repeat the box, which changes nothing of the material.
      voxel: edges of a voxel along x, y and z, of which the ratios count; None for
        cubes.
      phases: materials of labelled voxels, see `images.parse_phases`; empty for
        densities.
    """

    input_is: str = "cell"
    symmetry: str = "auto"
    boundary: str = "periodic"
    scale: float = 1.0
    threshold: float = 0.5
    binarize: bool = False
    resize: int = 0
    resize_method: str = "nearest"
    voxel: tuple[float, float, float] | None = None
    phases: str = ""

    def __post_init__(self):
        """Refuse unknown words, numbers out of range and options that do not go."""
        for key, known in (
            ("input_is", KINDS),
            ("symmetry", SYMMETRIES),
            ("boundary", BOUNDARIES),
            ("resize_method", (*RESAMPLING, *FILLING)),
        ):
            if (value := getattr(self, key)) not in known:
                raise InputError(f"{key}={value} is unknown. Use {', '.join(known)}.")
        limits = {"scale": "(0, inf)", "threshold": "[0, 1)"}
        check_ranges(vars(self), limits)
        if self.voxel is not None and not _are_edges(self.voxel):
            raise InputError(
                f"voxel={self.voxel} is not three positive numbers. Give the edges of "
                "a voxel along x, y and z, such as `voxel=1,1,2.5`."
            )
        if self.resize_method in FILLING and not self.resize:
            raise InputError(
                f"resize_method={self.resize_method} needs the edge to reach. Pass "
                "`resize=64`."
            )
        if self.resize and self.resize < LEAST:
            raise InputError(
                f"resize={self.resize} is too small. Set `resize` to {LEAST} or more."
            )
        if self.boundary != "periodic" and self.input_is == "octant":
            raise InputError(
                f"boundary={self.boundary} is for windows of a material, and "
                "input_is=octant for cells. Leave one of them out."
            )
        if self.phases and (
            self.binarize or self.scale != 1 or self.resize_method == "linear"
        ):
            raise InputError(
                "`phases` are for labels, which are neither scaled nor averaged nor "
                "binarized. Leave `scale`, `binarize` and `resize_method=linear` out."
            )


def _are_edges(values) -> bool:
    try:
        edges = [float(value) for value in values]
    except (TypeError, ValueError):
        return False
    return len(edges) == 3 and all(0 < edge < np.inf for edge in edges)


def prepare(array: np.ndarray, name: str, options: Options = Options()) -> Grid:
    """Return the density grid of an array (nx, ny, nz) of any real type.

    Raises:
      InputError: wrong shape or values, nothing to homogenize, fewer voxels than the
        solver takes, or a symmetry that the cell does not have.
      MemoryLimitError: more voxels than fit into the memory.
    """
    array = _checked(array, name)
    for shape, size in (
        (array.shape, DENSITY_BYTES),
        (3 * (options.resize,) if options.resize else array.shape, SOLVED_BYTES),
    ):
        memory.require(
            size * math.prod(shape),
            f"homogenizing {name} with {' x '.join(map(str, shape))} voxels",
            "Give fewer voxels, or lower `resize`.",
        )
    if not options.phases:
        density, notes = _densities(array, name, options)
        return _grid(density, name, options, notes)
    phases = images.parse_phases(options.phases)
    images.check_labels(array, phases, name)
    # Places in the list of labels are brought to the grid as densities are, so that
    # what is filled up is of the first label.
    order = sorted(phases, key=lambda label: (phases[label].young is not None, label))
    if options.resize_method == "pad" and phases[order[0]].young is not None:
        raise InputError(
            f"{name} cannot be padded: `phases` name no void. Add one, such as "
            f"{min(order) - 1}:void."
        )
    known, ranks = np.array(order), np.argsort(order)
    places = ranks[np.searchsorted(known[ranks], array)] / max(len(known) - 1, 1)
    grid = _grid(places.astype(np.float32), name, options, ())
    labels = known[np.rint(grid.density * max(len(known) - 1, 1)).astype(int)]
    solid, _, _ = images.to_moduli(labels, phases, void=0.0, nu=0.0)
    check_phases(solid, name, options.threshold)
    density = solid.astype(np.float32)
    return dataclasses.replace(grid, density=density, phases=phases, labels=labels)


def _checked(array, name) -> np.ndarray:
    """Return an array of real numbers with three axes; InputError for any other."""
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{name} holds values of type {array.dtype}, not real numbers. Give the "
            "voxels as an array of numbers."
        )
    if array.ndim != 3 or not array.size:
        raise InputError(
            f"{name} has shape {array.shape}; a cell has three axes. Give one cell as "
            "an array (nx, ny, nz)."
        )
    return array


def _densities(array, name, options):
    """Return densities, and what to say of an image of grays."""
    density = to_density(array, name, scale=options.scale)
    check_phases(density, name, options.threshold, scale=options.scale)
    if options.binarize or images.kind_of(array) != "grays":
        return density, ()
    share = images.gray_share(array)
    note = (
        f"{name}: {100 * share:.0f} % of the voxels are gray and are taken as "
        "densities between void and solid. If it is an image of solid and void, "
        f"{images.threshold_advice(np.asarray(array), options.scale)}"
    )
    return density, (note,)


def _grid(density, name, options, notes) -> Grid:
    """Bring densities to the edge asked for, and find out how to solve them."""
    threshold, resize, method = options.threshold, options.resize, options.resize_method
    notes, input_is = list(notes), options.input_is
    edges = _relative(options.voxel or UNIT)
    size = density.shape
    if method in FILLING:
        density, note = fill(density, resize, method, name, octant=input_is == "octant")
        notes.append(note)
        resize = 0
    elif resize:
        edges = tuple(
            edge * n / resize for edge, n in zip(edges, density.shape, strict=True)
        )
        edges = _relative(edges)
    before = density.mean(dtype=np.float64)
    if options.boundary == "periodic":
        density, found = find_symmetry(density, input_is, edges=edges)
    else:
        mirrored = options.boundary == "mirrored"
        found = "orthotropic" if mirrored else options.boundary
        notes.append(_window_note(name, options.boundary))
    halved = input_is == "cell" and found in ("cubic", "orthotropic")
    halved &= options.boundary == "periodic"
    if resize:
        # The octant is resampled, not the cell: so every mirror plane stays one.
        edge = (resize + 1) // 2 if halved else resize
        density = resample(density, edge, method, periodic=found == "periodic")
        after = None if options.phases else density.mean(dtype=np.float64)
        notes.append(_resampled_note(name, size, edge * (1 + halved), before, after))
    if options.binarize:
        density = (density > threshold).astype(density.dtype)
    if (resize or options.binarize) and not options.phases:
        check_phases(density, name, threshold)
    if found == "cubic":
        # Equal to rounding is not enough for the solver, which takes it at its word.
        density = symmetrize(density)
    used = found
    if options.boundary == "periodic":
        used = _choose(found, options.symmetry, name, density.shape, halved=halved)
    if used == "periodic" != found:
        density = octant_to_cell(density)
    check_shape(density.shape, name)
    if found == "periodic" and looks_like_octant(density):
        notes.append(
            f"{name}: its axes are alike but it has no mirror planes. If it is one "
            "octant of a larger cell pass `input_is=octant`."
        )
    return Grid(density, used, tuple(notes), edges)


def looks_like_octant(voxels: Shaped[np.ndarray, "x y z"]) -> bool:
    """Whether axes are alike but the middles of the axes are no mirror planes."""
    return (
        len(set(voxels.shape)) == 1
        and not all(np.array_equal(voxels, np.flip(voxels, a)) for a in range(3))
        and is_cubic(voxels)
    )


def _relative(edges):
    """Return edges in units of the first, to five digits: files round them."""
    return tuple(float(f"{float(edge) / float(edges[0]):.5g}") for edge in edges)


def _window_note(name, boundary):
    how = {
        "mirrored": "goes on by its mirror images",
        "mixed": "has the normal displacements of a uniform strain on its faces and no "
        "forces along them under normal strains: its tensor lies between those of "
        "uniform forces and of uniform displacements",
        "kinematic": "has the displacements of a uniform strain on all its faces: its "
        "tensor is an upper bound",
    }[boundary]
    return f"{name}: a window of a material, which {how}."


def _resampled_note(name, shape, edge, before, after):
    advice = "Leave `resize` out to solve the voxels as they are."
    text = f"{name}: resampled from {' x '.join(map(str, shape))} to {edge}^3 voxels"
    if after is None:  # of labels
        return f"{text}. {advice}"
    percent = 100 * (after / before - 1)
    return (
        f"{text}: volume {before:.4f} -> {after:.4f} ({percent:+.1f} %), and with it "
        f"stiffness by about {2 * percent:+.1f} %. {advice}"
    )


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
    scaled_values = values / values.dtype.type(scale)
    # One rounding step over 1 is no mistake of the user.
    if scaled_values.min() < -ALIKE or scaled_values.max() > 1 + ALIKE:
        scaled = f" (scale {scale:g})" if scale != 1 else ""
        if low > 0 and len(np.unique(array)) == 2:
            advice = f"For labels {low:g} and {high:g} save array == {high:g}."
        else:
            advice = "Shift and scale the values first."
            if high > 1:
                advice = images.advice(values) if low >= 0 else images.of_mask(high)
        raise InputError(
            f"{name} holds values from {low:g} to {high:g}{scaled}; density must lie "
            f"in [0, 1]. {advice}"
        )
    return np.clip(scaled_values, 0, 1)


def check_shape(shape: tuple[int, ...], name: str) -> None:
    """Raise InputError for fewer voxels along an axis than the solver takes."""
    if min(shape) < LEAST:
        raise InputError(
            f"{name} has shape {tuple(shape)}; the solver needs {LEAST} voxels or more "
            "along each axis. Pass "
            f"`resize={2 * max(max(shape), LEAST)}` `resize_method=nearest` to divide "
            "its voxels."
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
    density: Float[np.ndarray, "x y z"],
    input_is: str = "cell",
    *,
    edges: tuple[float, float, float] = UNIT,
) -> tuple[Float[np.ndarray, "..."], str]:
    """Return the octant (or the cell where it has none) and the symmetry found."""
    if input_is == "cell":
        mirrored = all(n % 2 == 0 and n >= 2 * LEAST for n in density.shape) and all(
            abs(density - np.flip(density, axis)).max() <= ALIKE for axis in range(3)
        )
        if not mirrored:
            return density, "periodic"
        density = density[tuple(slice(n // 2) for n in density.shape)]
    if len(set(density.shape)) > 1 or len(set(edges)) > 1:
        return density, "orthotropic"
    swaps = (density.swapaxes(0, 1), density.swapaxes(1, 2))
    same = is_cubic(density) or all(abs(density - s).max() <= ALIKE for s in swaps)
    return density, "cubic" if same else "orthotropic"


def _choose(found, asked, name, shape, *, halved):
    """Return the symmetry to solve with; InputError where the cell lacks it."""
    if asked == "auto":
        return "periodic" if halved and min(shape) < LEAST else found
    order = SYMMETRIES[1:]
    if order.index(asked) < order.index(found):
        raise InputError(
            f"{name} is not {asked}: it is {found} (mirror planes and equal axes are "
            "checked). Pass `symmetry=auto`."
        )
    return asked
