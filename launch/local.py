"""Run `mmdiff.main` on this machine in a process of its own.

Runs that use several processes (`--config.workers`) start them by themselves.

    python launch/local.py --config=configs/generate.py --workdir=out
"""

import subprocess
import sys
from collections.abc import Iterable


def start(args: Iterable[str]) -> int:
    """Run `python -m mmdiff.main` with the given arguments; returns its exit code."""
    return subprocess.call([sys.executable, "-m", "mmdiff.main", *args])


if __name__ == "__main__":
    sys.exit(start(sys.argv[1:]))
