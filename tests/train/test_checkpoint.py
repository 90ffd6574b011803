"""Checkpoints: exact round trip, rotation, damage, and a save that was cut off."""

import jax.numpy as jnp
import numpy as np
import pytest
import train_helpers as helpers

from mmdiff.errors import DataError
from mmdiff.io.json import write_json
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.state import create_state

_STATE = create_state(helpers.params(), helpers.OPTIMIZER)


def test_round_trip_is_exact_and_only_the_last_two_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", keep=2)
    assert checkpoints.latest() is None
    for step in (1, 2, 3):
        checkpoints.save(step, _STATE._replace(step=jnp.asarray(step)))
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == [
        "2",
        "2.sha256",
        "3",
        "3.sha256",
    ]
    assert checkpoints.latest() == 3
    found = checkpoints.restore(3, _STATE)
    assert type(found) is type(_STATE) and int(found.step) == 3
    assert (
        helpers.largest_difference(found._replace(step=0), _STATE._replace(step=0)) == 0
    )


def test_flipped_byte_is_found_in_the_data(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, _STATE)
    path = max(
        (p for p in (tmp_path / "5").rglob("*") if p.is_file()),
        key=lambda p: p.stat().st_size,
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="SHA-256"):
        checkpoints.restore(5, _STATE)


def test_save_without_digest_is_not_offered_and_is_replaced(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, _STATE)
    checkpoints.save(2, _STATE)
    (tmp_path / "2.sha256").unlink()
    assert checkpoints.latest() == 1
    checkpoints.save(2, _STATE._replace(step=jnp.asarray(2)))
    assert checkpoints.latest() == 2
    assert int(checkpoints.restore(2, _STATE).step) == 2


def test_another_network_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, _STATE)
    other = {"in": np.zeros((7, 9), np.float32), "out": np.zeros((9, 1), np.float32)}
    with pytest.raises(DataError, match="does not fit the configured network"):
        checkpoints.restore(1, create_state(other, helpers.OPTIMIZER))


def test_every_flipped_bit_of_a_digest_is_found(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, _STATE)
    path = tmp_path / "1.sha256"
    content = path.read_bytes()
    for i in range(0, len(content), 27):  # all bits of a byte in turn
        damaged = bytearray(content)
        damaged[i] ^= 1 << (i // 27) % 8
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="SHA-256 checksum|other settings"):
            checkpoints.restore(1, _STATE)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    write_json(tmp_path / "run.json", {"settings_sha256": "aa"})
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, _STATE)
    assert int(checkpoints.restore(1, _STATE).step) == int(_STATE.step)
    write_json(tmp_path / "run.json", {"settings_sha256": "ab"})
    with pytest.raises(DataError, match="follows from other settings or inputs"):
        checkpoints.restore(1, _STATE)
    # Those of earlier versions do not say.
    path = tmp_path / "checkpoints/1.sha256"
    path.write_text(path.read_text().partition("\n")[2])
    assert int(checkpoints.restore(1, _STATE).step) == int(_STATE.step)
