"""The local web page: one server on loopback, one job at a time, workers that stay."""

import pathlib

from ml_collections import ConfigDict

from mmdiff import main
from mmdiff.design.serve import server
from mmdiff.design.serve.settings import Known
from mmdiff.models.weights import load_model


def run(config: ConfigDict, folder: pathlib.Path) -> str:
    """Serve the page until the process is interrupted; return why it is not finished.

    It never is: the same command serves again.
    """
    if config.checkpoint:
        load_model(config.checkpoint)  # refused here, not by each job
    known = {}
    for kind in ("generate", "homogenize"):
        loaded = main.load_config(f"configs/{kind}.py")
        known[kind] = Known(loaded.config.to_dict(), loaded.ranges)
    known["generate"].values["checkpoint"] = config.checkpoint
    limits = server.Limits(
        upload_bytes=int(1e6 * config.upload_mb),
        memory_bytes=int(1e9 * config.memory_gb),
        most_waiting=config.most_waiting,
    )
    server.serve(folder, known, port=config.port, workers=config.workers, limits=limits)
    return "the server was stopped"
