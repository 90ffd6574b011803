"""The shipped weights and cells, each with its card and SHA-256."""

import pathlib

_HERE = pathlib.Path(__file__).resolve().parent


def weights_path() -> pathlib.Path:
    """Return the default weights: cells of 64^3 voxels (octants of 32^3)."""
    return _HERE / "denoiser64.npz"


def dataset_path() -> pathlib.Path:
    """Return the shipped cells of 64^3 voxels, see `mmdiff.load_dataset`."""
    return _HERE / "cells64"


def regressor_path() -> pathlib.Path:
    """Return the weights of the property regressor for cells of 64^3 voxels."""
    return _HERE / "regressor64.npz"
