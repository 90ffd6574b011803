"""What is released: the wheel runs outside of a clone, and both archives are whole."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from mmdiff import __version__

ROOT = Path(__file__).resolve().parent.parent
MOST_BYTES = 100e6  # of an archive: what a package index takes without asking
CHEAP = (
    *("num_samples=1", "num_best=1", "steps=2", "newton=0", "polish_steps=0"),
    *("resolution=64", "workers=1"),
)

pytestmark = pytest.mark.slow


def _tracked(folder):
    listed = subprocess.run(
        ["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("files are compared with those of a clone")
    return listed.stdout.split()


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Build both archives; return the paths of the wheel and of the source archive."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def installed(archives, tmp_path_factory):
    """Install the wheel into a new environment; return its scripts and a folder."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False)
    paths = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    # Dependencies are those of this environment, whose own .pth files are not read.
    # pip is as well, so that it has not to be unpacked.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    scripts = Path(sysconfig.get_path("scripts", "venv", paths))
    command = [scripts / "python", "-m", "pip", "install", "-q", "--no-deps"]
    done = subprocess.run(
        [*command, "--no-index", "--ignore-installed", archives[0]],
        env=_environment(), cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (packages / "mmdiff" / "__init__.py").is_file()
    return scripts, folder


def _environment():
    """Return variables without the path to this clone."""
    return {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}


def _run(installed, *args):
    scripts, folder = installed
    return subprocess.run(
        [scripts / args[0], *args[1:]], cwd=folder, env=_environment(),
        capture_output=True, text=True,
    )  # fmt: skip


def test_archives_hold_what_they_should(archives):
    wheel, source = archives
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
    print(f"{source.name}: {source.stat().st_size / 1e6:.1f} MB")
    assert max(path.stat().st_size for path in archives) < MOST_BYTES
    assert wheel.name == f"mmdiff-{__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {
        f"mmdiff/{name}" if folder != "mmdiff" else name
        for folder in ("mmdiff", "configs", "experiments")
        for name in _tracked(folder)
    }
    assert inside and not inside - names
    rest = {name for name in names - inside if ".dist-info/" not in name}
    assert not {name for name in rest if not name.startswith("mmdiff/")}
    with tarfile.open(source) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("mmdiff", "configs", "experiments", "launch", "tests", "docs")
    assert not {name for folder in folders for name in _tracked(folder)} - members
    assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml"} <= members


def test_the_installed_package_is_not_the_clone(installed):
    done = _run(installed, "python", "-c", "import mmdiff; print(mmdiff.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(installed[1].resolve()), done.stderr


def test_it_says_its_version_and_knows_its_configs(installed):
    assert _run(installed, "mmdiff", "--version").stdout == f"mmdiff {__version__}\n"
    done = _run(installed, "mmdiff", "--config=generate:small", "--help")
    assert done.returncode == 0, done.stderr
    names = {Path(name).name for name in _tracked("configs")}
    (line,) = (s for s in done.stdout.splitlines() if s.startswith("configs: "))
    assert {name.strip() for name in line[9:].split(",")} == {
        f"configs/{name}" for name in names
    }
    assert "keys of configs/generate.py:small with their values:" in done.stdout


def test_it_makes_a_cell(installed):
    keys = [f"--config.{value}" for value in CHEAP]
    done = _run(installed, "mmdiff", "--config=generate", "--workdir=out", *keys)
    assert done.returncode == 0, done.stdout + done.stderr
    written = {path.name for path in (installed[1] / "out").iterdir()}
    assert {"index.html", "cell_00.stl", "cell_00.npy", "properties.json"} <= written
