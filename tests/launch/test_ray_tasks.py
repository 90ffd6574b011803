"""Ray: a dataset survives a killed worker, byte for byte; mistakes are not repeated."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
from pathlib import Path

import pytest

from mmdiff.data import shard, store
from mmdiff.data.recipe import Optimized, Perturbed, Recipe

# Ray forks to start its processes, of which JAX warns where it is loaded already.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork")
ROOT = Path(__file__).resolve().parents[2]
# Two shards of optimized cells, one of plates, two of perturbed cells.
RECIPE = Recipe(
    n=8,
    shard_size=4,
    optimized=Optimized(8, 0, 0, 0, 0, 0, 0, 4, 0, steps=30, radius=1.2),
    perturbed=Perturbed(8, (), (), amplitude=(0.1, 0.4), length=(1.0, 2.0)),
)
# Shards one after the other in one process, on a core that it claims as a task does.
UNDISTURBED = """
import sys
from mmdiff.data import pipeline
from mmdiff.run import environment, workers
workers.claim_core()
environment.silence_xla()
environment.enable_compilation_cache()
for shard in range(int(sys.argv[2])):
    pipeline.shard_unit(sys.argv[1], shard)
"""


@pytest.fixture(scope="module")
def ray_tasks():
    path = ROOT / "launch" / "ray_tasks.py"
    spec = importlib.util.spec_from_file_location("ray_tasks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cluster():
    """Start Ray with two processes; yields its directory for temporary files."""
    ray = pytest.importorskip("ray")
    # Locks of cores that no other process knows. Paths of sockets are limited to 107
    # characters, and Ray's own part takes 80 of them.
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", folder)
            ray.init(
                "local",
                num_cpus=2,
                include_dashboard=False,
                configure_logging=False,
                log_to_driver=False,
            )
            yield Path(folder)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _command(folder, *options):
    config = [f"--config.{option}" for option in options]
    return ["--config=configs/dataset.py", f"--workdir={folder}", *config]


def _refused(ray_tasks, capsys, code, *words):
    """Return a function that runs a command, which must fail and say these words."""

    def run(*argv):
        assert ray_tasks.start(list(argv)) == code
        printed = capsys.readouterr().err
        assert printed.startswith("error: ") and printed.count("\n") == 1
        for word in words:
            assert word in printed

    return run


def test_without_ray(ray_tasks, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    run = _refused(ray_tasks, capsys, 2, "not installed", "pip install 'mmdiff[ray]'")
    run(*_command(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def stand_in(monkeypatch):
    """Put something in the place of Ray; returns it, and notes when it is shut down."""
    errors = {"WorkerCrashedError": ValueError, "OutOfMemoryError": KeyError}
    ray = types.SimpleNamespace(
        init=lambda address: None,
        shutdown=lambda: ray.events.append("shut down"),
        exceptions=types.SimpleNamespace(**errors),
        events=[],
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    return ray


@pytest.mark.usefixtures("stand_in")
def test_what_cannot_be_started(ray_tasks, tmp_path, capsys):
    run = _refused(ray_tasks, capsys, 2, "not generate", "--config=configs/dataset.py")
    run("--config=configs/generate.py", f"--workdir={tmp_path}")
    run = _refused(
        ray_tasks, capsys, 2, "n=10: octants", "multiple of 4", "--config.n=12"
    )
    run(*_command(tmp_path, "n=10"))
    run = _refused(ray_tasks, capsys, 2, "--overwrite", "choose another --workdir")
    run("--overwrite", *_command(tmp_path))
    shard.create(RECIPE, tmp_path / "data.zarr")
    run = _refused(ray_tasks, capsys, 3, "holds another dataset", "another --workdir")
    run(*_command(tmp_path))


def test_no_cluster_at_the_address(ray_tasks, stand_in, tmp_path, capsys):
    def init(address):
        raise ConnectionError(address)

    stand_in.init = init
    run = _refused(ray_tasks, capsys, 2, "no Ray cluster answers at auto", "ray start")
    run("--address=auto", *_command(tmp_path))


def test_the_run_that_closes_a_dataset(ray_tasks, stand_in, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(ray_tasks, "make", lambda *a, **k: calls.append((a, k)))
    monkeypatch.setattr(ray_tasks.subprocess, "call", lambda c: calls.append(c) or 5)
    command = _command(tmp_path, "shard_size=16")
    assert ray_tasks.start(["--gpus_per_task=0.5", *command]) == 5
    (arguments, options), last = calls
    root = (tmp_path / "data.zarr").resolve()
    assert arguments == (root, [range(0, 3), range(3, 4), range(4, 5), range(5, 7)])
    assert options == {"gpus": 0.5}
    assert store.missing(root) == list(range(7))
    assert last == [sys.executable, "-m", "mmdiff.main", *command]
    assert stand_in.events == ["shut down"]


def test_lost_workers(ray_tasks, stand_in, tmp_path, monkeypatch, capsys):
    def make(*_, **__):
        raise stand_in.exceptions.WorkerCrashedError

    monkeypatch.setattr(ray_tasks, "make", make)
    run = _refused(ray_tasks, capsys, 4, "worker processes were lost", "shard_size")
    run(*_command(tmp_path))
    assert stand_in.events == ["shut down"]


def _works_on_a_shard(process, folder):
    """Whether a process is a worker of our cluster, in a shard and past its imports."""
    if not (process / "cmdline").read_bytes().startswith(b"ray::shard_task"):
        return False
    links = [os.readlink(link) for link in (process / "fd").iterdir()]
    ours = any(link.startswith(f"{folder}/") for link in links)
    return ours and "/jaxlib/" in (process / "maps").read_text()


def _kill_one(folder, killed, stop):
    """Kill the first worker that is found at work on a shard, and note its number."""
    while not stop.wait(0.01) and not killed:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if _works_on_a_shard(process, folder):
                    time.sleep(0.3)  # amid the work, not at its start
                    if _works_on_a_shard(process, folder):
                        os.kill(int(process.name), signal.SIGKILL)
                        killed.append(int(process.name))
                        return
            except OSError:  # it has ended meanwhile
                continue


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
def test_a_killed_worker_changes_nothing(ray_tasks, cluster, tmp_path):
    roots = calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    for root in roots:
        shard.create(RECIPE, root)
    count = len(RECIPE.plan())
    call = [sys.executable, "-c", UNDISTURBED, str(calm), str(count)]
    subprocess.run(call, cwd=ROOT, env={**os.environ, "TMPDIR": str(cluster)},
                   check=True)  # fmt: skip
    killed, stop = [], threading.Event()
    thread = threading.Thread(target=_kill_one, args=(cluster, killed, stop))
    thread.start()
    try:
        assert ray_tasks.make(disturbed, RECIPE.rounds()) == count
    finally:
        stop.set()
        thread.join()
    assert len(killed) == 1
    assert not Path(f"/proc/{killed[0]}").exists()
    assert store.missing(disturbed) == [] and store.damaged(disturbed) == {}
    first, second = (store.dataset_hash(store.read_manifests(root)) for root in roots)
    assert first == second
    # Nothing is left to do.
    assert ray_tasks.make(disturbed, RECIPE.rounds()) == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a pipe counts the attempts")
def test_a_task_that_fails_is_not_tried_again(ray_tasks, cluster, tmp_path):
    import ray

    root = tmp_path / "data.zarr"
    shard.create(RECIPE, root)
    # Shard 3 reads the manifests before it: here one that is no JSON.
    pipe = store.manifest_path(root, 0)
    os.mkfifo(pipe)
    attempts, stop = [], threading.Event()

    def feed():
        # Long enough for a reader to have gone before the next look.
        while not stop.wait(0.5):
            try:
                writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads
                continue
            os.write(writer, b"{")
            os.close(writer)
            attempts.append(1)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        with pytest.raises(ray.exceptions.RayTaskError, match="is damaged"):
            ray_tasks.make(root, [range(3, 4)])
    finally:
        stop.set()
        thread.join()
    assert len(attempts) == 1


@pytest.mark.slow
def test_why_a_shard_failed(ray_tasks, cluster, tmp_path, monkeypatch, capsys):
    import ray

    monkeypatch.setattr(ray, "init", lambda address: None)  # it runs already
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    # No plate has just that volume: round 0 yields no cell.
    options = "n=8 shard_size=1 optimized.bulk_shear=0 optimized.poisson=0 "
    options += "optimized.plates=1 optimized.lattices=0 volume_range=(0.26,0.26001)"
    run = _refused(ray_tasks, capsys, 3, "has no accepted cell in the rounds before")
    run(*_command(tmp_path, *options.split()))
