"""Make a dataset with Ray: one task per shard, round after round.

    pip install -e '.[viz,ray]'
    python launch/ray_tasks.py --config=configs/dataset.py:paper --workdir=out/data \
        --address=auto --gpus_per_task=1

Without --address Ray starts on this machine alone. A task whose worker is lost is
tried again; one that fails by itself is not, as it would fail again. The workdir must
lie on a file system that all nodes share. At the end `mmdiff.main` runs in the same
workdir and writes labels, plots and the card.
"""

import argparse
import subprocess
import sys
from pathlib import Path

RETRIES = 3  # after a worker process was lost


def make(root: Path, rounds, *, gpus: float = 0.0) -> int:
    """Make all missing shards of a dataset; returns how many there were.

    Args:
      root: its `data.zarr` directory.
      rounds: shard numbers of each round.
      gpus: accelerators that a task occupies.

    Raises:
      ray.exceptions.RayError: a shard failed, or its worker was lost too often.
    """
    import ray

    from mmdiff.data import store

    # The function travels by value: a worker must not import JAX before it has a core.
    @ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False)
    def shard_task(root, shard):
        from mmdiff.data import pipeline
        from mmdiff.run import environment, workers

        workers.claim_core()
        environment.silence_xla()
        environment.enable_compilation_cache()
        return pipeline.shard_unit(root, shard)

    made, missing = 0, set(store.missing(root))
    for shards in rounds:
        waiting = [shard_task.remote(str(root), s) for s in shards if s in missing]
        while waiting:
            done, waiting = ray.wait(waiting)
            made += sum(ray.get(done))
            print(f"{made} of {len(missing)} shards", flush=True)
    return made


def start(argv: list[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", help="of a running Ray cluster, such as auto")
    parser.add_argument("--gpus_per_task", type=float, default=0.0)
    options, rest = parser.parse_known_args(argv)
    from mmdiff import main
    from mmdiff.data import recipe, shard
    from mmdiff.errors import DataError, InputError
    from mmdiff.run import workdir
    from mmdiff.run.runner import with_flags

    try:
        import ray
    except ImportError:
        print(
            "error: Ray is not installed. Run: pip install 'mmdiff[ray]'.",
            file=sys.stderr,
        )
        return 2
    settings = {}
    try:
        job = main.parse(["launch/ray_tasks.py", *rest])
        if job is None:
            return 0
        settings = job.settings
        if settings["experiment"] != "dataset":
            raise InputError(
                f"launch/ray_tasks.py makes datasets, not {settings['experiment']}. "
                "Pass --config=configs/dataset.py:paper."
            )
        if job.overwrite:
            raise InputError(
                "with --overwrite the closing run would delete the shards made before "
                "it. Leave it out, or choose another --workdir."
            )
        made, _ = recipe.from_config(settings["config"])
        root = (job.workdir / "data.zarr").resolve()
        with workdir.opened(job.workdir):
            shard.create(made, root)
        try:
            ray.init(address=options.address)
        except ConnectionError as error:
            raise InputError(
                f"no Ray cluster answers at {options.address}. Start one with `ray "
                "start --head`, or leave --address out to use this machine alone."
            ) from error
        try:
            make(root, made.rounds(), gpus=options.gpus_per_task)
        finally:
            ray.shutdown()
    except (InputError, DataError) as error:
        # Ray hands an exception over with its own traceback in the text.
        text = with_flags(str(getattr(error, "cause", error)), settings)
        print(f"error: {text}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 3
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
        print(
            "error: worker processes were lost again and again with the same shard, "
            "most often for want of memory. What is finished is kept: run the same "
            "command with fewer tasks per node or a smaller --config.shard_size.",
            file=sys.stderr,
        )
        return 4
    return subprocess.call([sys.executable, "-m", "mmdiff.main", *rest])


if __name__ == "__main__":
    sys.exit(start(sys.argv[1:]))
