"""Make a dataset on a Slurm cluster: an array job per round, each after the one before.

    python launch/slurm.py --config=configs/dataset.py:paper --workdir=out/data \
        --sbatch="--partition=gpu --gpus=1 --time=4:00:00"

The workdir must lie on a file system that all nodes share. Tasks are idempotent: after
failures, or when a time limit has struck, the same command submits what is missing.
The last job runs `mmdiff.main` in the same workdir, which writes labels, plots and the
card.
"""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

MOST = 1000  # tasks of one array; Slurm's own default limit is 1,001


def submit(argv: list[str]) -> int:
    """Submit all missing shards and the closing job; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sbatch", default="", help="options for every job")
    parser.add_argument("--dry_run", action="store_true", help="print, submit nothing")
    options, rest = parser.parse_known_args(argv)
    from mmdiff import main
    from mmdiff.errors import DataError, InputError
    from mmdiff.run import workdir
    from mmdiff.run.runner import with_flags

    settings = {}
    try:
        extra = _split(options.sbatch)
        job = main.parse(["launch/slurm.py", *rest])
        if job is None:
            return 0
        settings = job.settings
        if job.overwrite:
            raise InputError(
                "with --overwrite the closing job would delete the shards of the jobs "
                "before it. Leave it out, or choose another --workdir."
            )
        with workdir.opened(job.workdir):
            jobs = plan(settings, job.workdir, rest)
    except (InputError, DataError) as error:
        print(f"error: {with_flags(str(error), settings)}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 3
    after = ""
    for name, arguments, command in jobs:
        call = ["sbatch", "--parsable", f"--job-name={name}", *arguments]
        call += extra
        if after:
            call += [f"--dependency=afterok:{after}", "--kill-on-invalid-dep=yes"]
        call.append(f"--wrap={shlex.join(command)}")
        print(shlex.join(call))
        if options.dry_run:
            after = f"<{name}>"
            continue
        try:
            done = subprocess.run(call, capture_output=True, text=True, check=True)
        except FileNotFoundError:
            print(
                "error: there is no sbatch on this machine. Run this on a login node "
                "of a Slurm cluster, or pass --dry_run to see the jobs.",
                file=sys.stderr,
            )
            return 2
        except subprocess.CalledProcessError as error:
            print(
                f"error: Slurm refused the job: {error.stderr.strip()}. Correct "
                "--sbatch and run the same command again.",
                file=sys.stderr,
            )
            return 2
        after = done.stdout.strip().partition(";")[0]
    return 0


def _split(options: str) -> list[str]:
    from mmdiff.errors import InputError

    try:
        return shlex.split(options)
    except ValueError as error:
        raise InputError(
            f"--sbatch={options} cannot be read: {str(error).lower()}. Close what is "
            "open there."
        ) from error


def plan(settings, workdir: Path, rest: list[str]):
    """Return name, array options and command of every job, in order."""
    from mmdiff.data import recipe, shard, store
    from mmdiff.errors import InputError

    if settings["experiment"] != "dataset":
        raise InputError(
            f"launch/slurm.py makes datasets, not {settings['experiment']}. Pass "
            "--config=configs/dataset.py:paper."
        )
    made, _ = recipe.from_config(settings["config"])
    root = (workdir / "data.zarr").resolve()
    shard.create(made, root)
    missing = set(store.missing(root))
    jobs = []
    for number, shards in enumerate(made.rounds()):
        todo = sorted(missing & set(shards))
        # Task numbers are limited, too: they count from a base.
        for base in sorted({i - i % MOST for i in todo}):
            numbers = [s - base for s in todo if base <= s < base + MOST]
            array = f"--array={','.join(map(str, numbers))}"
            script = str(Path(__file__).resolve())
            command = [sys.executable, script, "--task", str(root), str(base)]
            jobs.append((f"mmdiff-round-{number}", [array], command))
    close = [sys.executable, "-m", "mmdiff.main", *rest]
    return [*jobs, ("mmdiff-close", [], close)]


def task(root: str, base: str) -> None:
    """Make the shard of this array task."""
    from mmdiff.data import pipeline
    from mmdiff.run import environment, workers

    workers.claim_core()
    environment.silence_xla()
    environment.enable_compilation_cache()
    pipeline.shard_unit(root, int(base) + int(os.environ["SLURM_ARRAY_TASK_ID"]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--task"]:
        task(*sys.argv[2:])
    else:
        sys.exit(submit(sys.argv[1:]))
