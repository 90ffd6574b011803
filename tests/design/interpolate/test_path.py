"""Paths between two cells."""

import jax
import numpy as np

from mmdiff import elasticity
from mmdiff.design.interpolate import path
from mmdiff.design.interpolate.family import Member
from mmdiff.diffusion.conditions import fit_conditions
from mmdiff.models.noise_codec import NoiseCodec

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


def test_a_path_has_its_ends_and_what_was_not_refused(tmp_path):
    """Cells are their own noise, and fields become cells as they are."""
    ends = [
        Member(np.full((2, 2, 2), i, np.uint8), raw[:3], "end", i * np.pi / 2)
        for i, raw in enumerate(RAW)
    ]
    ends[0].octant[0] = 1
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
        octant = (field > 0).astype(np.uint8)
        return Member(octant, np.array(target.constants), "made"), reason

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
    # From half to all.
    volumes = [0.625, 0.75, 0.875]
    np.testing.assert_allclose([target.volume for target in asked], volumes)
    # Ends come back without guidance; a finished path is not made again.
    assert aims[:2] == [None, None] and len(aims) == 5
    np.testing.assert_allclose(np.concatenate(aims[2:]), volumes)
