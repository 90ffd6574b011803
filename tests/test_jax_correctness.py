"""JAX itself: jitted small quadratic forms against NumPy.

jax 0.10.2 returned wrong numbers on CPU for just this pattern, a vmapped small
matrix-vector product and a reduction over a batch (jax#39103), which is how strain
energies are computed. A JAX release that fails here must not be used.
"""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# Just past powers of two, where vectorised loops and their remainders meet: 0.10.2 was
# wrong from 16,385 rows on in float64 and from 32,769 on in float32.
BATCHES = (16385, 32769, 33**3)
SIZES = (3, 6, 24)
# Sums of up to 576 products of order one, relative to the largest result.
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-13}

# One example each; the second is what 0.10.2 got wrong.
FORMS = {
    "energy": lambda a, x: x @ (a @ x),
    "square of the force": lambda a, x: jnp.sum((a @ x) ** 2),
}


def _reference(name, a, x):
    a, x = a.astype(np.float64), x.astype(np.float64)
    force = x @ a.T
    return np.sum(force * (x if name == "energy" else force), axis=1)


def _data(batch, size, dtype):
    rng = np.random.default_rng(size)
    root = rng.standard_normal((size, size)) / np.sqrt(size)
    x = rng.standard_normal((batch, size))
    return (root @ root.T).astype(dtype), x.astype(dtype)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
def test_forms_of_a_batch_and_their_sum(dtype, batch, size, name):
    a, x = _data(batch, size, dtype)
    want = _reference(name, a, x)
    scale = np.abs(want).max()

    def form(x):
        return jax.vmap(lambda row: FORMS[name](jnp.asarray(a), row))(x)

    with jax.enable_x64(dtype is np.float64):
        each = np.asarray(jax.jit(form)(x))
        given = np.asarray(jax.jit(jax.vmap(FORMS[name], (None, 0)))(a, x))
        total = float(jax.jit(lambda x: jnp.sum(form(x)))(x))
    np.testing.assert_allclose(each / scale, want / scale, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(given / scale, want / scale, atol=TOLERANCE[dtype])
    # Terms may be of both signs: relative to the sum of their magnitudes.
    assert abs(total - want.sum()) < TOLERANCE[dtype] * np.abs(want).sum()


@pytest.mark.parametrize("batch", BATCHES)
def test_reported_failure(batch):
    index = np.arange(batch, dtype=np.float32)
    x = np.stack([index, 0 * index, 0 * index], axis=1)
    matrix = jnp.eye(3)
    squares = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))(x)
    # Squares up to 1.3e9 are rounded to float32 once.
    np.testing.assert_allclose(squares, index.astype(np.float64) ** 2, rtol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", BATCHES)
def test_energies_of_pairs_of_loads(batch, size):
    a, x = _data(batch, size, np.float32)
    loads = np.stack([x, x[::-1]])

    @jax.jit
    def energies(loads):
        forces = jax.vmap(jax.vmap(lambda row: a @ row))(loads)
        return jnp.einsum("ieb,jeb->ij", loads, forces)

    wide = loads.astype(np.float64)
    want = np.einsum("ieb,jeb->ij", wide, wide @ a.T.astype(np.float64))
    scale = np.abs(want).max()
    got = np.asarray(energies(loads))
    np.testing.assert_allclose(got / scale, want / scale, atol=TOLERANCE[np.float32])


@pytest.mark.parametrize("batch", BATCHES)
def test_own_matrix_for_each_of_a_batch(batch):
    rng = np.random.default_rng(batch)
    matrices = rng.standard_normal((batch, 3, 3)).astype(np.float32)
    x = rng.standard_normal((batch, 3)).astype(np.float32)
    got = jax.jit(jax.vmap(lambda a, row: row @ (a @ row)))(matrices, x)
    wide = x.astype(np.float64)
    want = np.einsum("bi,bij,bj->b", wide, matrices.astype(np.float64), wide)
    np.testing.assert_allclose(got, want, atol=TOLERANCE[np.float32] * want.max())


SUMS = """
import sys
from mmdiff.run import environment
environment.silence_xla()
import jax, jax.numpy as jnp, numpy as np
rng = np.random.default_rng(0)
a = rng.standard_normal((3, 3)).astype(np.float32)
for batch in map(int, sys.argv[1:]):
    x = rng.standard_normal((batch, 3)).astype(np.float32)
    got = np.asarray(jax.jit(jax.vmap(lambda row: jnp.sum(a @ row)))(x))
    print(float(np.abs(got - (x.astype(float) @ a.T.astype(float)).sum(1)).max()))
"""


def test_sum_of_a_small_product_in_a_run():
    # jaxlib 0.10.0 and 0.10.1 get even this wrong on CPU, from row 32,768 on, unless
    # they are told not to fuse sums: runs are, and library code does not do it.
    command = [sys.executable, "-c", SUMS, *map(str, BATCHES)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    errors = [float(line) for line in done.stdout.split()]
    # Nine products of order one in float32.
    assert len(errors) == len(BATCHES) and max(errors) < 2e-5
