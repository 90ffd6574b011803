"""Pasted tensors: the closest cubic one, and what is said of others."""

import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.errors import InputError
from mmdiff.targets import tensor_text

CONSTANTS = np.array([0.11, 0.045, 0.04])


def _message(tensor):
    with pytest.raises(InputError) as error:
        tensor_text.to_cubic(tensor)
    return str(error.value)


def test_cubic_tensors_pass_with_their_rounding():
    tensor = elasticity.cubic_to_voigt(CONSTANTS)
    np.testing.assert_allclose(tensor_text.to_cubic(tensor), CONSTANTS, rtol=1e-12)
    noisy = tensor + 1e-4 * np.sin(np.arange(36.0)).reshape(6, 6)
    np.testing.assert_allclose(tensor_text.to_cubic(noisy), CONSTANTS, atol=1e-4)
    assert not tensor_text.to_cubic(np.zeros((6, 6))).any()


def test_the_message_names_what_differs_most():
    tensor = elasticity.cubic_to_voigt(CONSTANTS)
    tensor[0, 0], tensor[1, 1], tensor[0, 5] = 0.10, 0.13, 0.01
    off = 100 * elasticity.cubic_distance(tensor)
    assert _message(tensor) == (
        f"target tensor differs from cubic symmetry by {off:.2g} % (C11 0.1, C22 0.13)"
        ", and from any with mirrors across x, y and z. Cells have these; using the "
        "closest cubic tensor 0.113/0.045/0.04: pass `project_cubic=True` to accept."
    )


def test_couplings_and_lost_symmetry_are_no_cubic_tensor():
    tensor = elasticity.cubic_to_voigt(CONSTANTS)
    tensor[0, 3] = tensor[3, 0] = 0.02
    assert "(C14 0.02, not 0)" in _message(tensor)
    tensor = elasticity.cubic_to_voigt(CONSTANTS)
    tensor[1, 0] = 0.06
    assert "(C12 0.045, C21 0.06)" in _message(tensor)


def test_which_tensors_are_orthotropic():
    tensor = elasticity.cubic_to_voigt(CONSTANTS)
    assert not tensor_text.is_orthotropic(tensor)
    tensor[2, 2] = 0.09
    assert tensor_text.is_orthotropic(tensor)
    assert tensor_text.is_orthotropic(tensor + 1e-5)
    tensor[0, 4] = tensor[4, 0] = 0.01
    assert not tensor_text.is_orthotropic(tensor)


def test_projection_is_to_the_closest():
    rng = np.random.default_rng(0)
    tensor = elasticity.cubic_to_voigt(CONSTANTS)
    noise = 0.01 * rng.normal(size=(6, 6))
    tensor = tensor + noise + noise.T
    closest = tensor_text.to_cubic(tensor, project=True)
    weight = np.array([1, 1, 1, 2, 2, 2])
    weight = weight[:, None] * weight

    def distance(constants):
        return (weight * (tensor - elasticity.cubic_to_voigt(constants)) ** 2).sum()

    for step in 1e-4 * np.concatenate([np.eye(3), -np.eye(3)]):
        assert distance(closest) < distance(closest + step)


def test_files_are_read_and_other_text_is_not(tmp_path):
    path = tmp_path / "tensor.txt"
    path.write_text("1 2 3\n")
    assert tensor_text.load(f" {path} ") == "1 2 3\n"
    assert tensor_text.load("E=0.1") == "E=0.1"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"cannot be read \(its text is not in UTF-8"):
        tensor_text.load(str(path))
