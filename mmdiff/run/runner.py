"""One run in one workdir: resume or refuse, record, and turn failures into exit codes.

Knows nothing of flags and ConfigDict: `mmdiff.main` hands over a `Job` of plain values
and a callable. Exit codes: 2 input, 3 dataset or checkpoint, 4 memory, 5 stopped in
good order before its end, 130 interrupted, 1 anything else. Every traceback goes to
log.txt; the terminal gets one line.
"""

import dataclasses
import errno
import functools
import re
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from mmdiff import places
from mmdiff.errors import DataError, InputError, MemoryLimitError, cut
from mmdiff.io.json import plain, write_json
from mmdiff.run import console, environment, manifest, origin
from mmdiff.run import workdir as workdirs

STOPPED = 5  # exit code of a run that is not finished, though nothing failed


@dataclasses.dataclass(frozen=True)
class Job:
    """What to run and where.

    The settings are what config.json holds, {"experiment": name, "config": {...},
    "inputs": {key: digest of the files it names, None where they are gone}}; two runs
    with equal ones are the same run, and one whose settings differ in `may_change`
    alone goes on from where it is. A finished run whose files are not those of its
    manifest is run again and mends them.
    """

    label: str  # the config as the user wrote it, such as configs/generate.py:tiny
    settings: Mapping[str, Any]
    workdir: Path
    # Does the work, with JAX ready; returns why it is not finished, should it not be.
    run: Callable[[], str | None]
    argv: tuple[str, ...] = ()
    changed: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # by the user
    overwrite: bool = False  # delete an earlier run first
    distributed: bool = False  # one of several processes, see `mmdiff.run.distributed`
    debug: bool = False  # print tracebacks as well
    # Keys of the config that a run may go on with, and "inputs.KEY" for content.
    may_change: frozenset[str] = frozenset()


def execute(job: Job) -> int:
    """Run a job in its locked workdir and return the exit code.

    Raises:
      InputError: the workdir cannot be used, or holds the results of other settings.
    """
    with workdirs.opened(job.workdir):
        settings, earlier = workdirs.read_state(job.workdir)
        flaws = {}
        if settings is None:
            _check_unknown(job, earlier)
        elif not job.overwrite:
            job = _with_gone_inputs(job, settings)
            earlier = {"found": [], **earlier}
            if earlier.get("exit_reason") == "finished":
                flaws = manifest.flaws(job.workdir)
            if _is_done(job, settings, earlier, flaws):
                return 0
        if job.overwrite or (settings is not None and _difference(settings, job)):
            if settings is not None or earlier:
                workdirs.clear(job.workdir, earlier)
            earlier, flaws = {}, {}
        spell = functools.partial(with_flags, settings=job.settings)
        log = console.logging_to(job.workdir / "log.txt", spell)
        with places.confined_to(job.workdir), log:
            return _run(job, earlier, flaws)


def explain(error: BaseException, job: Job) -> tuple[int, str]:
    """Return the exit code and the message for whatever a job raised."""
    text = with_flags(str(error), job.settings)
    what = cut(f"{type(error).__name__}: {first_line(error)}", 400)
    log = job.workdir / "log.txt"
    match error:
        case InputError():
            return 2, text
        case DataError():
            return 3, text
        case MemoryLimitError():
            return 4, text
        case KeyboardInterrupt():
            return 130, "interrupted. The same command resumes the run."
        case OSError() if _is_about_workdir(error, job.workdir):
            return 2, workdirs.unwritable(job.workdir, error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        return 4, f"ran out of memory ({what[:200]}). {_smaller(job.settings)}"
    return 1, f"internal error, {what}. The traceback is in {log}: please report it."


# Arguments of the library that configs know by another name.
_KEYS = {"volume": "vf", "volume_is": "vf_is", "min_young": "min_E", "base": "base.E"}
_ARGUMENT = re.compile(r"`(\w[\w.]*)(=[^`]*)?`")


def with_flags(text: str, settings: Mapping[str, Any]) -> str:
    """Return a message with the arguments it names in backticks as flags of a config.

    Example:
      >>> settings = {"config": {"resize": 0, "solver": {"tol": 1e-5}}}
      >>> with_flags("Pass `resize=64`, or `tol`.", settings)
      'Pass --config.resize=64, or --config.solver.tol.'
    """
    keys = flat(settings.get("config", {}))

    def flag(found: re.Match) -> str:
        for name in (found[1], _KEYS.get(found[1], "")):
            inner = [key for key in keys if key.endswith(f".{name}")]
            if name in keys or len(inner) == 1:
                key = name if name in keys else inner[0]
                return f"--config.{key}{found[2] or ''}"
        return found[0]

    return _ARGUMENT.sub(flag, text)


def command(name: str, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the command that runs configs/`name`.py with these nested values.

    Example:
      >>> command("generate", {"seed": 1, "base": {"E": 1.0}}, {"base": {"E": 1.0}})
      'python -m mmdiff.main --config=configs/generate.py --config.seed=1'
    """
    known = flat(defaults)
    changed = [
        f"--config.{key}={value}"
        for key, value in flat(values).items()
        if key not in known or value != known[key]
    ]
    words = ["python", "-m", "mmdiff.main", f"--config=configs/{name}.py"]
    return shlex.join([*words, *changed])


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as {"group.key": value}."""
    items: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            items |= flat(value, f"{prefix}{key}.")
        else:
            items[f"{prefix}{key}"] = value
    return items


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its type without one."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return next(iter(str(text).strip().splitlines()), type(error).__name__)


def _check_unknown(job: Job, earlier: Mapping[str, Any]) -> None:
    """Refuse a workdir with an earlier run in it, but no config.json of that."""
    folder = job.workdir
    left = [name for name in workdirs.TRACES if workdirs.is_filled(folder / name)]
    if not left or (job.overwrite and earlier):
        return
    # Without run.json nothing says what lay there before the run.
    way_out = "pass --overwrite to replace it" if earlier else "delete that one"
    raise InputError(
        f"workdir {folder} holds a run ({', '.join(left)}), but no config.json that "
        "can be read: which settings its results follow from is not known. "
        f"Choose another --workdir, or {way_out}."
    )


def _with_gone_inputs(job: Job, settings: Mapping[str, Any]) -> Job:
    """Return a job with the earlier digests of inputs whose files are gone since."""
    before = settings.get("inputs", {})
    inputs = {
        key: before.get(key) if value is None else value
        for key, value in job.settings.get("inputs", {}).items()
    }
    if not inputs:
        return job
    return dataclasses.replace(job, settings={**job.settings, "inputs": inputs})


def _is_done(
    job: Job,
    settings: Mapping[str, Any],
    earlier: Mapping[str, Any],
    flaws: Mapping[str, str],
) -> bool:
    """Say what an earlier run in the workdir means; True when nothing is left to do.

    Raises:
      InputError: the workdir holds results of other settings.
    """
    folder = job.workdir
    finished = earlier.get("exit_reason") == "finished"
    difference = _difference(settings, job)
    if difference:
        # One that failed before it wrote anything (a typo in the target) may be redone.
        if finished or workdirs.results(folder, earlier):
            raise InputError(
                f"workdir {folder} holds another run: {difference}. Choose another "
                "--workdir, or pass --overwrite to replace it."
            )
        return False
    further = _differing(settings, plain(job.settings)).keys() & job.may_change
    if not finished or further:
        if workdirs.results(folder, earlier):
            print(f"resuming the run in {folder}")
        return False
    if flaws:
        print(f"the run in {folder} is not whole: going on with it")
        for name, text in list(flaws.items())[:4]:
            print(f"  {name} {text}")
        if len(flaws) > 4:
            print(f"  and {len(flaws) - 4} more files")
        return False
    print(
        f"already done: {job.label} finished in {folder} (started "
        f"{earlier.get('started')}, took {earlier.get('wall_seconds', 0):.0f} s). "
        "Pass --overwrite to run it again."
    )
    if earlier.get("summary"):
        print(earlier["summary"])
    print(_last_line(folder))
    return True


def _run(job: Job, earlier: Mapping[str, Any], flaws: Mapping[str, str]) -> int:
    """Run a job, write the common files and return the exit code.

    The flaws are those of the files of an earlier run that was finished.
    """
    start, begun = time.monotonic(), time.time()
    folder = job.workdir
    run: dict[str, Any] = {
        "config_file": job.label,
        "command": list(job.argv),
        "started": datetime.now().astimezone().isoformat(" ", "seconds"),
        "attempt": earlier.get("attempt", 0) + 1,
        "exit_reason": "running",
        "seed": job.settings.get("config", {}).get("seed"),
        origin.KEY: _origin(job),
        # What lies in a directory before its first run.
        "found": earlier.get("found", [p.name for p in workdirs.results(folder, {})]),
    }
    clock = environment.CompileClock()
    code = 0
    if earlier:
        workdirs.sweep(folder)
    broken = {name: manifest.state(folder / name) for name in flaws}
    try:
        write_json(folder / "config.json", job.settings)
        write_json(folder / "run.json", run)
        (folder / "metrics.jsonl").touch()
        environment.silence_xla()  # before the first import of JAX
        run["compilation_cache"] = environment.enable_compilation_cache()
        run |= environment.environment()
        write_json(folder / "run.json", run)
        console.say(f"{job.label} on {environment.device_line()}, workdir {folder}")
        if job.changed:
            shown = ", ".join(f"{key}={value}" for key, value in job.changed.items())
            console.say(f"settings changed: {cut(shown, 400)}")
        with clock:
            stopped = job.run()
        run["summary"] = console.summary()
        _write_index(job, run, begun)
        _note_left(folder, flaws, broken)
        if not stopped:
            manifest.seal(folder, run["found"])
        run["exit_reason"] = stopped or "finished"
        code = STOPPED if stopped else 0
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        code, message = explain(error, job)
        run["exit_reason"] = cut(f"{type(error).__name__}: {first_line(error)}", 400)
        console.log("".join(traceback.format_exception(error)).rstrip())
        if job.debug:
            sys.excepthook(type(error), error, error.__traceback__)
        console.error(message)
    run["exit_code"] = code
    run["wall_seconds"] = round(time.monotonic() - start, 3)
    run["compile_seconds"] = round(clock.seconds, 3)
    run["peak_memory"] = environment.peak_memory()
    try:
        write_json(folder / "run.json", run)
    except OSError as error:  # the disk is full: that has been said already
        console.log(f"run.json: {error}")
    if code in (0, STOPPED):
        console.say(
            f"compile time: {clock.seconds:.1f} s of {run['wall_seconds']:.1f} s in all"
        )
        console.say(_last_line(folder))
    return code


def _note_left(folder: Path, flaws: Mapping[str, str], broken: Mapping) -> None:
    """Note which files are as broken as they were before a run that should mend them.

    Both by name: what was wrong, and the `manifest.state` then.
    """
    for name, text in flaws.items():
        if name != manifest.NAME and manifest.state(folder / name) == broken[name]:
            console.note(
                f"{name} {text} and is made by a whole run only. Pass --overwrite for "
                "that."
            )


def _is_about_workdir(error: OSError, folder: Path) -> bool:
    """Tell a full disk or a lost permission in the workdir from other OSErrors."""
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
        return error.errno in workdirs.FULL
    path = Path(str(error.filename or "/")).resolve()
    return path.is_relative_to(folder.resolve())


def _smaller(settings: Mapping[str, Any]) -> str:
    """Return what to try when memory runs out: half of the first batch-like key."""
    for key, value in flat(settings).items():
        if "batch" in key and isinstance(value, int) and value > 1:
            return f"Try --{key}={value // 2}."
    return "Try a smaller batch or resolution."


# Keys of configs that change how fast a run goes, not what comes out.
_NO_MATTER = {"workers"}
_CONTENT = "inputs."


def _difference(old: Mapping[str, Any], job: Job) -> str:
    """Return in words why a run cannot go on with other settings; empty if it can."""
    new = plain(job.settings)
    if old.get("experiment") != new["experiment"]:
        return f"it is of {old.get('experiment')}, this one is of {new['experiment']}"
    names = flat(new["config"])
    parts = []
    for key, (there, here) in _differing(old, new).items():
        text = f"config.{key} is {there!r} there and {here!r} here"
        if key.startswith(_CONTENT):
            name = key.removeprefix(_CONTENT)
            text = f"the content of config.{name}={names[name]} has changed since"
        parts += [] if key in job.may_change else [text]
    more = [f"{len(parts) - 4} more keys differ"] if len(parts) > 4 else []
    return "; ".join(parts[:4] + more)


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple]:
    """Return {key: (old value, new value)} of what matters and differs."""
    before, now = _matters(old), _matters(new)
    if "inputs" not in old:  # of an earlier version, which did not keep them
        now = {key: now[key] for key in now if not key.startswith(_CONTENT)}
    pairs = {
        key: (before.get(key, "absent"), now.get(key, "absent"))
        for key in sorted(before.keys() | now.keys())
    }
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _matters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return by key the settings and the digests of inputs that results follow from."""
    config = flat(settings.get("config", {}))
    inputs = settings.get("inputs", {}).items()
    kept = {key: value for key, value in config.items() if key not in _NO_MATTER}
    return kept | {_CONTENT + key: value for key, value in inputs}


def _origin(job: Job) -> str:
    """Return the digest of all settings and inputs that a run may not change."""
    values = _matters(plain(job.settings))
    kept = {key: value for key, value in values.items() if key not in job.may_change}
    return origin.digest({"experiment": job.settings["experiment"], **kept})


def _write_index(job: Job, run: Mapping[str, Any], begun: float) -> None:
    """Write index.html with links to all files, unless the experiment wrote its own."""
    page = job.workdir / "index.html"
    # One from before this run is the list of an earlier attempt. File times are coarse.
    if page.exists() and page.stat().st_mtime > begun - 1:
        return
    from mmdiff.io import page as pages
    from mmdiff.io.write import write_bytes

    known = {"command": " ".join(job.argv), "started": run["started"]}
    rows = [{"": name, "value": value} for name, value in known.items()]
    files = pages.list_files(job.workdir)
    text = pages.page(f"mmdiff {job.label}", tables={"Run": rows}, files=files)
    write_bytes(page, text.encode())


def _last_line(folder: Path) -> str:
    """Return the line that every run ends with."""
    count = workdirs.count_files(folder)
    return f"{count} files in {folder}/ - open {folder / 'index.html'}"
