"""The command line: what it accepts, and its one line for every mistake."""

import subprocess
import sys

import pytest

from mmdiff import __version__, assets, main
from mmdiff.run import inputs

CONFIG = """
from ml_collections import ConfigDict, config_dict

VARIANTS = ("tiny", "small", "paper")


def get_config(variant="tiny"):
    config = ConfigDict()
    config.size = variant
    config.seed = 0
    config.target = ""
    config.vf = 0.3
    config.remat = False
    config.resize = config_dict.placeholder(int)
    config.widths = (16, 32)
    config.names = ["C11"]
    config.solver = ConfigDict({"tol": 1e-5})
    config.solver.maxiter = 500
    return config
"""
EXPERIMENT = """
from mmdiff.run import console, workdir


def run(config, folder):
    console.say(f"seed {config.seed}, tol {config.solver.tol}, size {config.size}")
    workdir.append_metrics(folder, {"vf": config.vf, "remat": config.remat})
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """Return a directory with one config and its experiment, and work in it."""
    for folder, text in (("configs", CONFIG), ("experiments", EXPERIMENT)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "toy.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main, "PACKAGE", tmp_path / "nowhere" / "mmdiff")
    return tmp_path


def settings(*args):
    job = main.parse(["mmdiff", "--config=configs/toy.py", *args])
    return job.settings["config"]


def test_values_of_every_type_can_be_set():
    found = settings(
        "--config.seed=7",
        "--config.vf=1",
        "--config.target=0.1,0.05,0.04",
        "--config.remat",
        "--config.resize=64",
        "--config.widths=(8, 16, 32)",
        "--config.solver.tol=-1e-3",
        "--config.solver.maxiter",
        "9",
    )
    assert found == {
        "size": "tiny",
        "seed": 7,
        "vf": 1.0,
        "target": "0.1,0.05,0.04",
        "remat": True,
        "resize": 64,
        "widths": [8, 16, 32],
        "names": ["C11"],
        "solver": {"tol": -1e-3, "maxiter": 9},
    }
    assert isinstance(found["vf"], float)


def test_overrides_may_come_before_the_config():
    args = ["mmdiff", "--noconfig.remat", "--config.seed=7", "--config=configs/toy.py"]
    job = main.parse([*args, "--workdir", "runs/a", "--overwrite"])
    assert job.settings["config"]["seed"] == 7
    assert dict(job.changed) == {"seed": 7}  # remat is off without it
    assert str(job.workdir) == "runs/a"
    assert (job.overwrite, job.debug) == (True, False)


def test_variant_reaches_the_config():
    job = main.parse(["mmdiff", "--config=configs/toy.py:paper"])
    assert job.settings == main.runner.flat({}) | {
        "experiment": "toy",
        "config": {**settings(), "size": "paper"},
    }
    assert job.label == "configs/toy.py:paper"


@pytest.mark.parametrize("end", ["", ":paper"])
def test_a_config_is_known_by_its_name(end):
    job = main.parse(["mmdiff", f"--config=toy{end}"])
    assert job.label == f"configs/toy.py{end}"
    assert job.settings["config"]["size"] == (end[1:] or "tiny")


def test_config_is_locked(project):
    config = main.load_config("configs/toy.py").config
    with pytest.raises(AttributeError):
        config.new_key = 1


def test_config_inside_the_package_is_found(project, monkeypatch):
    monkeypatch.setattr(main, "PACKAGE", project)
    monkeypatch.chdir("/")
    job = main.parse(["mmdiff", "--config=configs/toy.py"])
    assert job.settings["experiment"] == "toy"


HELP = "`--config=configs/toy.py --help` lists the keys."
MISTAKES = {
    "--config=configs/ty.py": (
        "no config file configs/ty.py. Did you mean configs/toy.py? "
        "There are: configs/toy.py."
    ),
    "--config=elsewhere/other.py": (
        "no config file elsewhere/other.py. There are: configs/toy.py."
    ),
    "--config=configs/toy.py:smal": (
        "configs/toy.py has no variant 'smal'. Did you mean small? "
        "Variants: tiny, small, paper."
    ),
    "--config.sed=1": (
        f"configs/toy.py has no key 'sed'. Did you mean --config.seed? {HELP}"
    ),
    "--config.solver.maxitr=1": (
        "configs/toy.py has no key 'solver.maxitr'. "
        f"Did you mean --config.solver.maxiter? {HELP}"
    ),
    "--config.qqq=1": f"configs/toy.py has no key 'qqq'. {HELP}",
    "--config.seed=abc": ("--config.seed=abc is not of type int. Its default is 0."),
    "--config.vf=half": "--config.vf=half is not of type float. Its default is 0.3.",
    "--config.remat=maybe": (
        "--config.remat=maybe is not of type bool. Its default is False."
    ),
    "--config.resize=1.5": (
        "--config.resize=1.5 is not of type int. Its default is None."
    ),
    "--config.widths=(1,'x')": (
        "--config.widths=(1, 'x') is not of type tuple of int. Its default is (16, 32)."
    ),
    "--config.solver=3": (
        "'solver' is a group of keys of configs/toy.py. Set them one by one: "
        "--config.solver.maxiter=value."
    ),
    "--config.names=C12": (
        "--config.names cannot be set on the command line: its value is a list. "
        "Set it in a copy of the config file."
    ),
    "--wokdir=a": (
        "unknown flag --wokdir. Did you mean --workdir? "
        "Keys of the config are set with --config.key=value."
    ),
    "--seed=3": (
        "unknown flag --seed. Keys of the config are set with --config.key=value."
    ),
    "--debug=7": "flag --debug=7 is neither true nor false. `--help` lists the flags.",
    "--workdir": "Missing value for flag --workdir. `--help` lists the flags.",
    "toy": (
        "unexpected argument 'toy'. Options look like --config=configs/generate.py or "
        "--config.key=value."
    ),
}


@pytest.mark.parametrize("argument", MISTAKES)
def test_mistakes_are_answered_with_one_line(project, capsys, argument):
    assert main.main(["mmdiff", "--config=configs/toy.py", argument]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"error: {MISTAKES[argument]}\n"
    assert captured.out == ""
    assert not (project / "out").exists()


RANGES = """

RANGES = {"seed": "[0, inf)", "solver.tol": "(0, 1)", "widths": "[1, inf)"}
"""


@pytest.mark.parametrize(
    "argument, message",
    [
        ("seed=-1", "seed=-1 is too small. Set --config.seed to 0 or more."),
        ("solver.tol=nan", "solver.tol=nan is not a finite number. Set --config.solv"),
        ("widths=(8,0)", "widths=(8, 0) is too small. Set --config.widths to 1 or mor"),
    ],
)
def test_numbers_out_of_range_are_refused(project, capsys, argument, message):
    (project / "configs" / "toy.py").write_text(CONFIG + RANGES)
    assert main.main(["mmdiff", "--config=configs/toy.py", f"--config.{argument}"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert not (project / "out").exists()


def test_broken_config_file(project, capsys):
    (project / "configs" / "toy.py").write_text("def get_config(:\n")
    assert main.main(["mmdiff", "--config=configs/toy.py"]) == 2
    assert capsys.readouterr().err == (
        "error: config configs/toy.py cannot be loaded (SyntaxError: invalid syntax "
        "(toy.py, line 1)). Correct the file.\n"
    )


def test_missing_experiment(project, capsys):
    path = project / "experiments" / "toy.py"
    path.unlink()
    assert main.main(["mmdiff", "--config=configs/toy.py"]) == 2
    assert capsys.readouterr().err == (
        f"error: configs/toy.py has nothing to run: there is no file {path}. Each "
        "config needs an experiment of the same name.\n"
    )


def test_debug_shows_where_a_mistake_was_found(capsys):
    args = ["mmdiff", "--config=configs/toy.py", "--config.sed=1", "--debug"]
    assert main.main(args) == 2
    assert capsys.readouterr().err.startswith("Traceback (most recent call last)")


def test_help_lists_flags_configs_and_keys(capsys):
    assert main.main(["mmdiff", "--help", "--config=configs/toy.py"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("usage: mmdiff [--config=NAME")
    assert "configs: configs/toy.py" in lines
    assert "  --config.solver.maxiter=500" in lines


# From here on in processes of their own, as users meet it.


def python(project, *args):
    command = [sys.executable, *args]
    return subprocess.run(command, cwd=project, capture_output=True, text=True)


def test_arguments_are_checked_without_jax(project):
    code = (
        "import sys\nfrom mmdiff.main import main\n"
        "codes = [main(['mmdiff', '--config=configs/toy.py', arg])"
        " for arg in ('--help', '--config.sed=1')]\n"
        "print(codes, *{'jax', 'numpy', 'flax'} & set(sys.modules))"
    )
    done = python(project, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[0, 2]"


def test_a_whole_run(project, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(project / "cache"))
    args = ("-m", "mmdiff.main", "--config=configs/toy.py:small", "--config.seed=5")
    done = python(project, *args, "--config.remat", "--workdir=runs/a")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[1] == "settings changed: remat=True, seed=5"
    assert lines[2] == "seed 5, tol 1e-05, size small"
    assert lines[-1] == "5 files in runs/a/ - open runs/a/index.html"
    metrics = (project / "runs/a/metrics.jsonl").read_text()
    assert metrics == '{"vf": 0.3, "remat": true}\n'
    wrong = python(project, *args, "--workdir=runs/a")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(
        "error: workdir runs/a holds another run: config.remat is True there and False "
        "here. Choose"
    )


def test_a_run_is_bound_to_the_files_that_its_config_names(project, tmp_path):
    path = project / "configs" / "toy.py"
    text = CONFIG.replace("config.seed = 0", 'config.seed, config.checkpoint = 0, ""')
    path.write_text(f'{text}\n\nINPUTS = ("size", "checkpoint")\n')
    command = ["mmdiff", "--config=configs/toy.py", f"--workdir={project}/out"]
    (tmp_path / "file").write_text("a")
    named = [*command, f"--config.size={tmp_path}/file"]
    first = main.parse(named).settings["inputs"]
    assert first["size"] and main.parse(named).settings["inputs"] == first
    (tmp_path / "file").write_text("b")
    assert main.parse(named).settings["inputs"]["size"] != first["size"]
    assert main.parse(command).settings["inputs"]["size"] is None
    # An empty key stands for what is shipped.
    assert first["checkpoint"] == inputs.digest(str(assets.weights_path()))


def test_version_is_that_of_the_project(capsys):
    assert __version__ == "0.1.0"
    assert main.main(["mmdiff", "--version"]) == 0
    assert capsys.readouterr().out == "mmdiff 0.1.0\n"
