"""Stored trees: exact, all or nothing, and never silently wrong."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.errors import DataError
from mmdiff.io import write
from mmdiff.io.json import write_json
from mmdiff.run import saved


class Inner(NamedTuple):
    count: jax.Array
    fields: jax.Array


class Tree(NamedTuple):
    design: jax.Array
    inner: Inner
    flag: np.ndarray


def _tree(scale=1.0):
    noise = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    inner = Inner(jnp.int32(7), jnp.asarray([np.nan, np.inf, -0.0], jnp.float32))
    return Tree(jnp.asarray(scale * noise), inner, np.array(True))


def _assert_equal(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    for a, b in pairs:
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.tobytes() == b.tobytes()  # to the last bit, NaN and -0 as well


def test_what_is_stored_comes_back_to_the_bit(tmp_path):
    path = saved.save(tmp_path / "tree.npz", _tree())
    like = jax.eval_shape(lambda: _tree()._replace(flag=jnp.array(True)))
    found = saved.load(path, like)
    assert isinstance(found, Tree) and isinstance(found.inner, Inner)
    _assert_equal(found, _tree())
    flat = saved.load(path)
    assert set(flat) == {"design", "inner.count", "inner.fields", "flag"}


def test_a_killed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = saved.save(tmp_path / "tree.npz", _tree())

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(write.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        saved.save(path, _tree(2.0))
    monkeypatch.undo()
    _assert_equal(saved.load(path, _tree()), _tree())
    assert [item.name for item in tmp_path.iterdir()] == ["tree.npz"]


def test_a_flipped_byte_is_noticed_or_harmless(tmp_path):
    path = saved.save(tmp_path / "tree.npz", _tree())
    content = path.read_bytes()
    refused = 0
    for i in range(len(content)):
        damaged = bytearray(content)
        damaged[i] ^= 0x11
        path.write_bytes(damaged)
        try:
            found = saved.load(path, _tree())
        except DataError as error:
            assert str(path) in str(error)
            refused += 1
        else:  # a date or a flag of the archive
            _assert_equal(found, _tree())
    assert refused > len(content) / 2


def test_cut_off_and_foreign_files_are_refused(tmp_path):
    path = saved.save(tmp_path / "tree.npz", _tree())
    content = path.read_bytes()
    for text in (content[: len(content) // 2], b"", b"not an archive"):
        path.write_bytes(text)
        with pytest.raises(DataError, match="is damaged"):
            saved.load(path, _tree())
    saved.save(path, _tree()._replace(design=jnp.zeros(3)))
    with pytest.raises(DataError, match="holds other arrays"):
        saved.load(path, _tree())
    saved.save(path, {"design": jnp.zeros(3)})
    with pytest.raises(DataError, match="holds other arrays"):
        saved.load(path, _tree())


def test_a_file_of_no_use_is_noted_and_none(tmp_path, capsys):
    assert saved.load_if_good(tmp_path / "gone.npz") is None
    assert capsys.readouterr().out == ""
    path = saved.save(tmp_path / "tree.npz", {"a": np.arange(3)})
    assert saved.load_if_good(path)["a"].tolist() == [0, 1, 2]
    path.write_bytes(path.read_bytes()[:40])
    assert saved.load_if_good(path) is None
    said = capsys.readouterr().out
    assert "tree.npz is damaged" in said and "It is made again." in said


def test_once_makes_arrays_and_then_reads_them(tmp_path, capsys):
    path, made = tmp_path / "a.npz", []

    def make():
        made.append(1)
        return {"x": jnp.arange(3), "kind": ["a", "b"]}

    first = saved.once(path, make)
    second = saved.once(path, make)
    assert len(made) == 1 and first.keys() == second.keys() == {"x", "kind"}
    for found in (first, second):
        assert type(found["x"]) is np.ndarray and found["x"].tolist() == [0, 1, 2]
        assert found["kind"].tolist() == ["a", "b"]
    path.write_bytes(b"half")
    assert saved.once(path, make)["x"].tolist() == [0, 1, 2] and len(made) == 2
    assert "It is made again." in capsys.readouterr().out
    assert saved.load(path)["x"].tolist() == [0, 1, 2]


def test_what_follows_from_other_settings_is_made_again(tmp_path, capsys):
    folder = tmp_path / "state"
    folder.mkdir()
    path, run = folder / "a.npz", tmp_path / "run.json"
    saved.save(path, {"x": np.zeros(2)})
    write_json(run, {"settings_sha256": "aa"})
    assert saved.load_if_good(path) is None
    said = "a.npz follows from other settings or inputs. It is made again."
    assert said in capsys.readouterr().out
    assert saved.once(path, lambda: {"x": np.ones(2)})["x"].sum() == 2
    assert saved.once(path, lambda: pytest.fail("made again")).keys() == {"x"}
    write_json(run, {"settings_sha256": "ab"})
    with pytest.raises(DataError, match="follows from other settings or inputs"):
        saved.load(path)
