"""Training checkpoints by Orbax, each with a digest file that is verified on restore.

Orbax data files carry no checksum, so a flipped byte would be restored as a wrong
number. `STEP.sha256` beside the directory `STEP` lists the SHA-256 of each of its
files, below a line with the digest of the settings and inputs of the run. Only the last
`keep` checkpoints stay. Of several processes all call `save`, as Orbax makes them wait
for each other; the first one writes.
"""

import contextlib
import pathlib
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from mmdiff import places
from mmdiff.checksums import listing
from mmdiff.errors import DataError
from mmdiff.io.write import write_bytes
from mmdiff.run import origin


class Checkpoints:
    """A directory of checkpoints, one per saved step."""

    def __init__(self, directory: pathlib.Path, *, keep: int = 2):
        """Bind the directory; it is created at the first save."""
        self._directory = pathlib.Path(directory).absolute()
        self._keep = keep

    def save(self, step: int, state: Any) -> None:
        """Write the state of a step, then its digest; drops older checkpoints.

        A checkpoint without a digest was cut off while being written: `latest` does
        not offer it and this function replaces it.
        """
        places.check(self._directory / "step")
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._open() as checkpointer:
            stale = any(c.step == step for c in checkpointer.checkpoints)
            checkpointer.save(step, _flatten(state), force=True, overwrite=stale)
        if jax.process_index():
            return
        text = f"{self._head()}\n{self._digest(step)}"
        write_bytes(self._digest_path(step), text.encode())
        for path in self._directory.glob("*.sha256"):
            if not (self._directory / path.stem).is_dir():
                path.unlink()

    def latest(self) -> int | None:
        """Return the newest complete step, or None."""
        steps = [path.stem for path in self._directory.glob("*.sha256")]
        whole = [int(step) for step in steps if (self._directory / step).is_dir()]
        return max(whole, default=None)

    def restore(self, step: int, like: Any) -> Any:
        """Return the state of a step, of the structure, shapes and types of `like`.

        Raises:
          DataError: if a file is missing or changed, is of other settings or inputs, or
            does not fit `like`.
        """
        path = self._directory / str(step)
        digest = self._digest_path(step)
        known = digest.read_bytes() if digest.is_file() else b""
        # Those of earlier versions do not say what they follow from.
        first = known.startswith(b"#")
        head, _, rest = known.partition(b"\n") if first else (b"", b"", known)
        if rest != self._digest(step).encode():
            raise DataError(
                f"checkpoint {path} fails its SHA-256 checksum, so it is damaged. "
                f"Delete it and {digest.name} to go on from the one before."
            )
        if first and head != self._head().encode():
            raise DataError(
                f"checkpoint {path} follows from other settings or inputs. Choose "
                "another --workdir, or delete it."
            )
        with self._open() as checkpointer:
            found = checkpointer.load(step)
        expected = _flatten(like)
        shapes = [{name: a.shape for name, a in s.items()} for s in (expected, found)]
        odd = sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()})
        if odd:
            raise DataError(
                f"checkpoint {path} does not fit the configured network: {len(odd)} "
                f"arrays differ, {odd[0]} for one. Use the config it was made with, or "
                "another --workdir."
            )
        values = [np.asarray(found[key], leaf.dtype) for key, leaf in expected.items()]
        return jax.tree.unflatten(jax.tree.structure(like), values)

    def _open(self) -> contextlib.closing:
        policies = ocp.training
        checkpointer = policies.Checkpointer(
            self._directory,
            # The loop decides when to save, so every call is a save.
            save_decision_policy=policies.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=policies.preservation_policies.LatestN(self._keep),
            cleanup_tmp_directories=True,
        )
        return contextlib.closing(checkpointer)

    def _digest_path(self, step: int) -> pathlib.Path:
        return self._directory / f"{step}.sha256"

    def _head(self) -> str:
        return f"# settings {origin.of(self._directory)}"

    def _digest(self, step: int) -> str:
        root = self._directory / str(step)
        files = sorted(p for p in root.rglob("*") if p.is_file())
        return listing(root, [path.relative_to(root).as_posix() for path in files])


def _flatten(tree: Any) -> dict[str, np.ndarray]:
    """Name every leaf by its path, so that the file depends on no Python class."""
    pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in pairs}
