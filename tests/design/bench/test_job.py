"""Stages of a generated cell: calls and CPU seconds go where they belong."""

import cProfile
import time

from design_helpers import smooth_field

from mmdiff.cells.mend import mend
from mmdiff.design.bench import job
from mmdiff.fem import accuracy


def test_stages_of_a_profile():
    psi = smooth_field(0.4)
    profile = cProfile.Profile(time.process_time)

    def work():
        for _ in range(4):
            mend(psi)
        accuracy.of_voxels(psi, 8)

    profile.runcall(work)
    rows = {row["stage"]: row for row in job.stages(profile, 2)}
    assert [*rows] == [*job.STAGES, "all else"]
    assert rows["mending"]["calls"] == 2 and rows["mending"]["cpu_s"] > 0
    assert rows["solves, binary cell"]["calls"] == 0.5
    assert rows["samples"] == {"stage": "samples", "cpu_s": 0.0, "calls": 0.0}
    total = sum(row["cpu_s"] for row in rows.values())
    whole = sum(entry[2] for entry in profile_stats(profile))
    # The clock of a process runs on while compilers of other threads do.
    assert abs(total - whole / 2) < 1e-6 and rows["all else"]["cpu_s"] > -0.01 * whole


def profile_stats(profile):
    """Return the entries of a profile: calls, own calls, own and whole seconds."""
    profile.create_stats()
    return profile.stats.values()
