"""Paths between two cells."""

import jax
import numpy as np

from mmdiff import elasticity
from mmdiff.cells import grey, surface
from mmdiff.design.interpolate import path
from mmdiff.design.interpolate.family import Member
from mmdiff.diffusion.conditions import fit_conditions
from mmdiff.models.noise_codec import NoiseCodec
from mmdiff.targets.target import of_constants

RAW = np.array([[0.1, 0.02, 0.03, 0.25], [0.3, 0.1, 0.07, 0.75]])


def test_properties_are_in_proportion_to_the_angle():
    middle = path.between([0.0, 2.0], [1.0, 4.0], np.pi / 4)
    np.testing.assert_allclose(middle, [0.5, 3.0])


def test_off_the_line_is_the_range_error_from_what_lies_between():
    ends = np.array([[0.1, 0.02, 0.03], [0.3, 0.1, 0.07]])
    middle = ends.mean(0) + np.array([0.01, 0, 0]) * elasticity.PAPER_RANGES
    theta = np.array([0, np.pi / 4, np.pi / 2])
    off = path.off_line(np.stack([ends[0], middle, ends[1]]), theta)
    np.testing.assert_allclose(off, [0, 0.01 / 3, 0], atol=1e-12)


def test_samples_become_cells_or_are_refused():
    solid = np.ones((8, 8, 8))
    solid[:3, :3, :3] = 0  # V 0.947
    sample = grey.to_sample(surface.from_voxels(solid))
    target = of_constants((0.3, 0.1, 0.1), 0.9)
    volumes = []

    def check(psi, target):
        volumes.append(surface.volume(psi))
        return None if volumes[-1] > 0.92 else "cell"

    def improve(cell, target):
        return f"better {cell}"

    finish = path.make_finish(check, improve, lambda cell: f"{cell} is thin")
    assert finish(sample, target) == ("better cell", "better cell is thin")
    assert path.make_finish(check)(sample, target) == ("cell", "")
    kept = path.make_finish(check, any_volume=True)
    assert kept(sample, target) == (None, "unconverged")
    np.testing.assert_allclose(volumes, [0.9, 0.9, 1 - 27 / 512], atol=1e-3)
    assert finish(-sample, target)[1] in ("disconnected", "not load bearing")
    assert len(volumes) == 3


def _slab(height, n=4):
    """Field of a slab of so many layers."""
    return np.broadcast_to(height - 0.5 - np.arange(float(n))[:, None, None], 3 * (n,))


def test_a_path_has_its_ends_and_what_was_not_refused(tmp_path):
    """Cells are their own noise, and fields become cells as they are."""
    ends = [
        Member(_slab(height), raw[:3], 0.1 * raw[:3], raw[3], "end", i * np.pi / 2)
        for i, (height, raw) in enumerate(zip((2, 3), RAW, strict=True))
    ]
    aims = []

    def decode(noise, cond, aim=None):
        aims.append(aim)
        return noise

    codec = NoiseCodec(lambda key, x0, cond: x0, decode)
    scaling = fit_conditions((*elasticity.NAMES, "V"), RAW)
    asked = []

    def finish(field, target):
        asked.append(target)
        reason = "disconnected" if len(asked) == 2 else ""
        theta = np.pi / 8 * len(asked)
        one, other = (grey.to_sample(end.psi) for end in ends)
        expected = np.cos(theta) * one + np.sin(theta) * other
        np.testing.assert_allclose(field, expected, atol=1e-6)
        made = np.array(target.constants)
        return Member(_slab(1), made, 0.2 * made, target.volume, "made"), reason

    options = {"key": jax.random.key(0), "count": 3, "file": tmp_path / "path.npz"}
    options["target_values"] = lambda target: np.array([target.volume])
    for _ in range(2):
        found, info = path.make_path(
            tuple(ends), (codec, scaling), finish, conditioned=True, **options
        )
        assert info == {"returned": [1.0, 1.0], "refused": 1}
        assert [member.kind for member in found] == ["end", "path", "path", "end"]
        theta = [member.theta for member in found]
        np.testing.assert_allclose(theta, np.pi / 8 * np.array([0, 1, 3, 4]))
        np.testing.assert_allclose(
            found[1].constants, path.between(*RAW, np.pi / 8)[:3]
        )
        np.testing.assert_allclose(found[1].uncertainty, 0.2 * found[1].constants)
        np.testing.assert_array_equal(found[1].psi, _slab(1))
    volumes = [0.375, 0.5, 0.625]
    np.testing.assert_allclose([target.volume for target in asked], volumes)
    # Ends come back without guidance; a finished path is not made again.
    assert aims[:2] == [None, None] and len(aims) == 5
    np.testing.assert_allclose(np.concatenate(aims[2:]), volumes)
