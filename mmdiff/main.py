"""The one entry point: `python -m mmdiff.main --config=configs/generate.py:tiny`.

Reads the flags, finds and loads the config file, applies every `--config.key=value`,
finds `experiments/<name>.py` beside configs/ and hands both to `mmdiff.run.runner`. All
of this happens before JAX is imported, so mistakes are answered at once. Only this
module, the configs, the experiments and launch/ know ConfigDict.
"""

import difflib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags, config_path

from mmdiff import __version__, assets, memory
from mmdiff.errors import InputError, MemoryLimitError, check_ranges, cut, described
from mmdiff.io.json import plain
from mmdiff.run import console, distributed, inputs, runner
from mmdiff.run.runner import first_line, flat, with_flags

DEFAULT_CONFIG = "configs/generate.py"
PACKAGE = Path(__file__).resolve().parent
OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]+)")


def main(argv: Sequence[str]) -> int:
    """Run one command line, program name first, and return its exit code."""
    try:
        job = parse(argv)
        if job is None:
            return 0
        return distributed.execute(job) if job.distributed else runner.execute(job)
    except (InputError, MemoryLimitError) as error:
        if "--debug" in argv:
            traceback.print_exc()
        console.error(str(error))
        return 2 if isinstance(error, InputError) else 4
    except KeyboardInterrupt:  # before or after the run itself: nothing to record
        return 130


def cli() -> None:
    """Run the command line of this process."""
    sys.exit(main(sys.argv))


def parse(argv: Sequence[str]) -> runner.Job | None:
    """Return the job of a command line; None when it only asked a question.

    Raises:
      InputError: an unknown flag, config file, variant or key, or a value of the wrong
        type.
    """
    # The config file defines which keys exist, so the plain flags are read first.
    known = _flags()
    try:
        rest = known(list(argv), known_only=True)
    except flags.Error as error:
        text = re.sub(r": \(.*", " is neither true nor false", first_line(error))
        raise InputError(f"{text}. `--help` lists the flags.") from error
    label = full_label(known["config"].value)
    if known["version"].value:
        print(f"mmdiff {__version__}")
        return None
    if known["help"].value:
        print(_help(known, label))
        return None
    _refuse_unknown(rest[1:], list(known))
    path, config, ranges, sizes, may_change, named = load_config(label)
    defaults = flat(config.to_dict())
    override(config, rest, label)
    values = config.to_dict()
    changed = {k: v for k, v in flat(values).items() if v != defaults.get(k)}
    settings = plain({"experiment": path.stem, "config": values})
    try:
        check_ranges(flat(values), ranges)
        check_sizes(flat(values), sizes)
    except (InputError, MemoryLimitError) as error:
        raise type(error)(with_flags(str(error), settings)) from error
    experiment = path.parent.parent / "experiments" / path.name
    if not experiment.is_file():
        raise InputError(
            f"{label} has nothing to run: there is no file {experiment}. Each config "
            "needs an experiment of the same name."
        )
    if known["distributed"].value and not _says(experiment, "DISTRIBUTED = True"):
        raise InputError(
            f"{label} runs in one process. Leave --distributed out; it is for "
            "configs/train.py."
        )
    if not known["workdir"].value.strip():
        raise InputError(
            "--workdir is empty. Name the directory that everything is written to, "
            "such as --workdir=out/first."
        )
    folder = Path(known["workdir"].value)
    if named:
        content = {key: _digest(key, flat(values)[key]) for key in named}
        settings["inputs"] = content
    return runner.Job(
        label=label,
        settings=settings,
        workdir=folder,
        run=lambda: _load(experiment, "experiment").run(config, folder),
        argv=tuple(argv),
        changed=changed,
        overwrite=known["overwrite"].value,
        distributed=known["distributed"].value,
        debug=known["debug"].value,
        may_change=frozenset(may_change),
    )


def _digest(key: str, value: str) -> str | None:
    """Return the digest of the files that a key of a config names, or ships with."""
    shipped = {"checkpoint": assets.weights_path, "data": assets.dataset_path}
    named = value or (str(shipped[key]()) if key in shipped else "")
    return inputs.digest(named, folders=key == "input")


def _says(experiment: Path, text: str) -> bool:
    """Tell whether a line of an experiment begins so; importing it takes seconds."""
    lines = experiment.read_text("utf-8").splitlines()
    return any(line.startswith(text) for line in lines)


class LoadedConfig(NamedTuple):
    """A config file and what it says of its keys."""

    path: Path
    config: ConfigDict  # locked
    ranges: dict[str, str]  # of numbers, see `errors.check_ranges`
    sizes: dict[str, tuple[int, int]]  # see `check_sizes`
    may_change: tuple[str, ...]  # keys that a run may have otherwise when it goes on
    inputs: tuple[str, ...]  # keys that name files, to whose content a run is bound


def full_label(label: str) -> str:
    """Return `configs/NAME.py[:variant]` for the NAME[:variant] of a known config."""
    name, colon, variant = label.partition(":")
    file = f"configs/{name}.py"
    return f"{file}{colon}{variant}" if file in _configs() else label


def load_config(label: str) -> LoadedConfig:
    """Return the config of `FILE.py[:variant]`.

    Relative files are looked for below the current directory, the clone and the
    installed package, in this order. (ml_collections' own loader takes a missing file
    for a config that only fails when it is first used.)

    Raises:
      InputError: no such file or variant, or the file fails.
    """
    name, _, variant = label.partition(":")
    path = _find_config(name)
    try:
        module = _load(path, "config")
        variants = getattr(module, "VARIANTS", ())
        if variant and not inspect.signature(module.get_config).parameters:
            raise InputError(f"{name} has no variants. Leave {cut(repr(variant))} out.")
        if variant and variants and variant not in variants:
            raise InputError(
                f"{name} has no variant {variant!r}.{_did_you_mean(variant, variants)} "
                f"Variants: {', '.join(variants)}."
            )
        config = module.get_config(*([variant] if variant else []))
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # it is the user's own code
        raise InputError(
            f"config {label} cannot be loaded ({described(error)}). Correct the file."
        ) from error
    known = {"RANGES": {}, "BYTES": {}, "MAY_CHANGE": (), "INPUTS": ()}
    found = (getattr(module, name, default) for name, default in known.items())
    return LoadedConfig(path, config.lock(), *found)


def check_sizes(values: Mapping[str, Any], sizes: Mapping[str, Any]) -> None:
    """Raise MemoryLimitError for the first number that asks for more than is free.

    Args:
      values: settings by name; of a tuple the largest number counts.
      sizes: by name bytes and a power of the number, the least that these take.
    """
    for name, (unit, power) in sizes.items():
        value = values[name]
        most = max(value, default=0) if isinstance(value, tuple) else value
        memory.require(unit * most**power, f"{name}={value}", f"Set `{name}` lower.")


def override(config: ConfigDict, args: Sequence[str], label: str) -> None:
    """Apply every `--config.key=value` of a command line to the config, in place.

    Args:
      config: the locked config of the file.
      args: the program name and the arguments without the plain flags.
      label: what messages call the config.
    """
    keys = [found[1] for found in map(OVERRIDE.match, args) if found]
    for key in keys:
        try:
            kind = config_path.get_type(key, config)
        except (AttributeError, LookupError, TypeError, ValueError):
            hint = _did_you_mean(key, flat(config.to_dict()), prefix="--config.")
            raise InputError(
                f"{label} has no key {cut(repr(key))}.{hint} "
                f"`--config={label} --help` lists the keys."
            ) from None
        if issubclass(kind, ConfigDict):
            first = next(iter(config_path.get_value(key, config)), "key")
            raise InputError(
                f"{key!r} is a group of keys of {label}. Set them one by one: "
                f"--config.{key}.{first}=value."
            )
        if kind in (type(None), list):
            raise InputError(
                f"--config.{key} cannot be set on the command line: its value is a "
                f"{kind.__name__}. Set it in a copy of the config file."
            )
    before = {key: config_path.get_value(key, config) for key in keys}
    parser = flags.FlagValues()
    parser.set_gnu_getopt(True)
    try:
        config_flags.DEFINE_config_dict(
            "config", config, flag_values=parser, sys_argv=list(args)
        )
        positional = parser(list(args))[1:]
    except flags.IllegalFlagValueError as error:
        found = re.match(r"flag --config\.([^=]+)=(.*?): ", first_line(error))
        if found is None or found[1] not in before:
            raise InputError(f"{first_line(error)}.") from error
        kind = config_path.get_type(found[1], config)
        message = _wrong_type(found[1], found[2], kind, before[found[1]])
        raise InputError(message) from error
    except (flags.Error, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{first_line(error)}. `--help` lists the flags.") from error
    for key, default in before.items():
        value = config_path.get_value(key, config)
        # ml_collections takes (1, "x") for (1, 2)
        if isinstance(default, tuple) and default:
            kinds = {type(item) for item in default}
            allowed = kinds | {int} if float in kinds else kinds
            if not {type(item) for item in value} <= allowed:
                raise InputError(_wrong_type(key, value, tuple, default))
    if positional:
        raise InputError(
            f"unexpected argument {cut(repr(positional[0]))}. Options look like "
            "--config=configs/generate.py or --config.key=value."
        )


def _flags() -> flags.FlagValues:
    """Return the flags that do not depend on the config."""
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    text = "what to run: a name or file of configs/, with a variant after a colon"
    flags.DEFINE_string("config", DEFAULT_CONFIG, text, flag_values=values)
    text = "directory for everything the run writes; the same one again resumes it"
    flags.DEFINE_string("workdir", "out", text, flag_values=values)
    text = "join the processes that Slurm, MPI, Kubernetes or a TPU pod has started"
    flags.DEFINE_boolean("distributed", False, text, flag_values=values)
    for name, text in (
        ("overwrite", "delete the earlier run in the workdir first"),
        ("debug", "print the traceback of an error as well"),
        ("version", "print the version"),
        ("help", "print this text with the keys of the config"),
    ):
        short = "h" if name == "help" else None
        flags.DEFINE_boolean(name, False, text, short_name=short, flag_values=values)
    return values


def _refuse_unknown(args: Sequence[str], known: Sequence[str]) -> None:
    """Raise InputError for a flag that is neither plain nor a config key."""
    for arg in args:
        found = re.match(r"--?([A-Za-z_][^=]*)", arg)
        if found and not OVERRIDE.match(arg):
            hint = _did_you_mean(found[1], known, prefix="--")
            raise InputError(
                f"unknown flag --{cut(found[1])}.{hint} Keys of the config are set "
                "with --config.key=value."
            )


def _help(values: flags.FlagValues, label: str) -> str:
    """Return the flags, the configs there are and the keys of the chosen one."""
    lines = [
        "usage: mmdiff [--config=NAME[:variant]] [--workdir=DIR] [--config.key=value]",
        "              [--overwrite] [--debug]    (or python -m mmdiff.main ...)",
        "",
    ]
    plain_flags = ("overwrite", "distributed", "debug", "version", "help")
    for name in ("config", "workdir", *plain_flags):
        default = values[name].default
        shown = f" (default: {default})" if default else ""
        lines.append(f"  --{name:11}  {values[name].help}{shown}")
    lines += ["", "configs: " + (", ".join(_configs()) or "none found")]
    config = load_config(label).config
    lines += ["", f"keys of {label} with their values:"]
    keys = flat(config.to_dict()).items()
    return "\n".join([*lines, *(f"  --config.{key}={value}" for key, value in keys)])


def _find_config(name: str) -> Path:
    """Return the path of a config file, or raise InputError with those that exist."""
    for root in _roots():
        if _is_file(root / name):
            if not name.endswith(".py"):
                raise InputError(
                    f"config {cut(name)} is no Python file. Give one that ends in .py, "
                    f"such as {DEFAULT_CONFIG}."
                )
            return (root / name).resolve()
    siblings = sorted(str(path) for path in Path(name).parent.glob("*.py"))
    names = list(dict.fromkeys([*_configs(), *siblings]))
    there = f" There are: {', '.join(names)}." if names else ""
    raise InputError(f"no config file {cut(name)}.{_did_you_mean(name, names)}{there}")


def _is_file(path: Path) -> bool:
    """Tell whether there is such a file; a name that no system takes is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _configs() -> list[str]:
    """Return the names of the config files that can be given to --config."""
    files = (path for root in _roots() for path in (root / "configs").glob("*.py"))
    return sorted({f"configs/{p.name}" for p in files if not p.name.startswith("_")})


def _roots() -> list[Path]:
    """Return where configs/ may lie: here, in the clone, in the installed package."""
    clone = [PACKAGE.parent] if (PACKAGE.parent / "pyproject.toml").is_file() else []
    return [Path.cwd(), *clone, PACKAGE]


def _load(path: Path, kind: str) -> ModuleType:
    """Import a Python file that belongs to no package."""
    name = f"mmdiff_{kind}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a .py file always has both
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def _wrong_type(key: str, value: object, kind: type, default: object) -> str:
    """Return the message for a value that does not fit its key."""
    name = kind.__name__
    if kind is tuple and default:
        name += " of " + " or ".join(sorted({type(item).__name__ for item in default}))
    return (
        f"--config.{key}={cut(value)} is not of type {name}. Its default is "
        f"{default!r}."
    )


def _did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Return ` Did you mean X?` where something similar is known, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {prefix}{close[0]}?" if close else ""


if __name__ == "__main__":
    cli()
