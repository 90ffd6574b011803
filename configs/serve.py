"""A local web page to design cells with: sliders, live cells, 3D, downloads, history.

    pip install 'mmdiff[viz,web]'
    python -m mmdiff.main --config=configs/serve.py --workdir=out/serve

prints an address to open, with a token in it, and runs until Ctrl-C. It answers to this
machine alone; from another one use `ssh -L 8765:127.0.0.1:8765 MACHINE`. What is made
lies in folders of the workdir and is there again after a restart: docs/serve.md.
"""

from ml_collections import ConfigDict

RANGES = {
    "port": "[0, 65535]",
    "workers": "[0, inf)",
    "upload_mb": "(0, 4096] MB",
    "memory_gb": "[0, inf) GB",
    "most_waiting": "[1, 100]",
}
# Keys that name files.
INPUTS = ("checkpoint",)
# The next run in the workdir may have all of them otherwise.
MAY_CHANGE = ("inputs.checkpoint", "checkpoint", *RANGES)


def get_config() -> ConfigDict:
    """Return the settings."""
    config = ConfigDict()
    # Of 127.0.0.1; 0 for any that is free.
    config.port = 8765
    # Weights to use; empty for the shipped model.
    config.checkpoint = ""
    # Processes that compute; 0 for one on each core.
    config.workers = 0
    # Largest file to homogenize, in megabytes.
    config.upload_mb = 64.0
    # What reading and homogenizing a file may take beyond what a worker has, in
    # gigabytes; 0 for any.
    config.memory_gb = 8.0
    # Jobs that wait while one is at work; more are refused.
    config.most_waiting = 8
    return config
