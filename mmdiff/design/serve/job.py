"""One job of the page: what was asked, how far it is, and where its files lie.

Its folder is the workdir of a run; `job.json` beside the files of the run says what the
page knows of it, so that the history is there after a restart.
"""

import dataclasses
import json
import pathlib
from typing import Any

from mmdiff.io.json import write_json

QUEUED, RUNNING, FINISHED = "queued", "running", "finished"
FAILED, CANCELLED = "failed", "cancelled"
OVER = (FINISHED, FAILED, CANCELLED)
KINDS = ("generate", "homogenize")
NAME = "job.json"
# What only lasts as long as the job is at work.
_LIVE = ("folder", "stop", "progress", "cells", "samples")


@dataclasses.dataclass
class Job:
    """A job; `State` alone changes it.

    Attributes:
      id: number, from 1.
      kind: one of `KINDS`, the experiment that it runs.
      title: what the history shows.
      settings: of the experiment.
      given: of them what the page has set.
      folder: workdir of the run.
      created: local time.
      source: name of the file in the folder that is homogenized.
      state: one of the five words above.
      message: why it failed.
      seconds: how long it took.
      stop: whether it is to be ended.
      progress: "share" from 0 to 1, and "text".
      cells: what is known of each verified cell while it is at work.
      samples: C11, C12, C44 and volume of each sample that was checked.
    """

    id: int
    kind: str
    title: str
    settings: dict[str, Any]
    given: dict[str, Any]
    folder: pathlib.Path
    created: str
    source: str = ""
    state: str = QUEUED
    message: str = ""
    seconds: float | None = None
    stop: bool = False
    progress: dict[str, Any] = dataclasses.field(default_factory=dict)
    cells: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    samples: list[list[float]] = dataclasses.field(default_factory=list)

    @property
    def page(self) -> str:
        """Name of the page of the run."""
        return "report.html" if self.kind == "homogenize" else "index.html"

    def kept(self) -> dict[str, Any]:
        """Return what `job.json` holds."""
        values = vars(self)
        return {name: value for name, value in values.items() if name not in _LIVE}

    def line(self) -> dict[str, Any]:
        """Return what a list of jobs shows."""
        kept = self.kept()
        kept.pop("settings")
        return {**kept, "progress": self.progress}


def save(job: Job) -> None:
    """Write `job.json`."""
    job.folder.mkdir(parents=True, exist_ok=True)
    write_json(job.folder / NAME, job.kept())


def load(folder: pathlib.Path) -> Job | None:
    """Return the job of a folder, None where there is none, or not a whole one.

    A job that was at work when its server ended counts as cancelled.
    """
    try:
        job = Job(**json.loads((folder / NAME).read_text("utf-8")), folder=folder)
    except (OSError, ValueError, TypeError):
        return None
    if job.state not in OVER:
        job.state, job.message = CANCELLED, "The server was stopped."
    return job if job.kind in KINDS and folder.name == name_of(job.id) else None


def name_of(number: int) -> str:
    """Return the name of the folder of a job."""
    return f"{number:04d}"
