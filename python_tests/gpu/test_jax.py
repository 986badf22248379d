# SPDX-License-Identifier: MIT
"""The handlers in JAX, another front end of XLA, on the CPU and on a GPU: values, gradients, jit, errors."""

import numpy as np
import oracles
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")
jax.config.update("jax_enable_x64", True)  # labels and seeds are int64

import jax.numpy as jnp  # noqa: E402
import jax_ops  # noqa: E402

REGISTERED = jax_ops.register()
METRICS = ("sqeuclidean", "euclidean", "cosine", "dot", "manhattan", "weighted_manhattan")


def why_not(platform):
    """Why it cannot take part, or None."""
    if platform not in REGISTERED:
        return "the library was built without CUDA"
    try:
        jax.devices(platform)
    except RuntimeError:
        return "JAX sees no GPU"
    return None


@pytest.fixture(params=[p for p in jax_ops.PLATFORMS if not why_not(p)], scope="module", autouse=True)
def device(request):
    """Everything runs on one device after the other."""
    with jax.default_device(jax.devices(request.param)[0]):
        yield request.param


def test_a_gpu_takes_part():
    if why_not("cuda"):
        pytest.skip(why_not("cuda"))


def integers(*shape, seed=0):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)


def options(metric, dim):
    weighted = metric == "weighted_manhattan"
    return {"weights": integers(dim, seed=5), "bias": 2.0} if weighted else {}


@pytest.mark.parametrize("size", [(1, 1, 1), (5, 7, 3), (130, 65, 37), (0, 3, 4)], ids=str)
@pytest.mark.parametrize("metric", METRICS)
def test_values(metric, size):
    n, m, dim = size
    x, y = integers(n, dim), integers(m, dim, seed=1)
    got = jax.jit(lambda x, y: jax_ops.pairwise(x, y, metric, **options(metric, dim)))(x, y)
    want = oracles.pairwise(x, y, metric, **options(metric, dim))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)  # exact but for a root and a quotient


@pytest.mark.parametrize("metric", METRICS)
def test_gradients(metric):
    x, y, upstream = integers(33, 9), integers(20, 9, seed=1), integers(33, 20, seed=2)

    def score(x, y):
        return jnp.sum(jax_ops.pairwise(x, y, metric, **options(metric, 9)) * upstream)

    dx, dy = jax.jit(jax.grad(score, argnums=(0, 1)))(x, y)
    want_x, want_y, *_ = oracles.pairwise_grad(x, y, upstream, metric, **options(metric, 9))
    # Sums of some 30 terms of at most 30, each off by a rounding or two.
    np.testing.assert_allclose(dx, want_x, atol=2e-4)
    np.testing.assert_allclose(dy, want_y, atol=2e-4)


@pytest.mark.parametrize("precision", ["float32", "tf32", "3xtf32", "bfloat16"])
def test_small_integers_are_exact_in_every_precision(precision):
    x, y = integers(130, 70), integers(129, 70, seed=1)
    got = jax_ops.pairwise(x, y, "dot", precision=precision)
    np.testing.assert_array_equal(got, x @ y.T)


@pytest.mark.parametrize("mining", ["semihard", "hard"])
def test_triplets(mining):
    x, labels = integers(67, 5), np.random.default_rng(3).integers(0, 9, 67)
    oracle = oracles.mine_semihard if mining == "semihard" else oracles.mine_hard
    want = oracle(x, labels, "sqeuclidean")
    *got, count = jax.jit(jax_ops.mine_triplets, static_argnums=2)(x, labels, mining)
    assert count == len(want[0])
    for part, wanted in zip(got, want, strict=True):
        np.testing.assert_array_equal(part[:count], wanted)
        assert not np.any(part[count:])

    value, grad = jax.value_and_grad(jax_ops.triplet_loss)(x, labels, mining, "sqeuclidean", 1.5)
    anchor, positive, negative = want

    def plain(x):  # no term is 0, where the derivative is a matter of taste
        distance = lambda other: jnp.sum((x[anchor] - x[other]) ** 2, axis=1)  # noqa: E731
        return jnp.mean(jnp.maximum(distance(positive) - distance(negative) + 1.5, 0.0))

    np.testing.assert_allclose(value, plain(x), rtol=1e-6)
    np.testing.assert_allclose(grad, jax.grad(plain)(x), rtol=1e-5, atol=1e-6)


def test_episodes_and_their_images():
    labels = np.repeat(np.arange(30), 8)
    drawn = jax.jit(lambda: jax_ops.sample_episodes(labels, 5, 2, 3, 40, 2**40 + 1, 7))()
    np.testing.assert_array_equal(drawn, oracles.sample_episodes(labels, 5, 2, 3, 40, 2**40 + 1, 7))

    store = np.random.default_rng(0).integers(0, 256, (240, 28, 28, 1)).astype(np.uint8)
    turns = np.random.default_rng(1).integers(0, 4, (40, 5))
    images = jax_ops.gather_images(store, jnp.asarray(drawn, jnp.int64), turns)
    np.testing.assert_array_equal(images, oracles.gather_images(store, np.asarray(drawn), turns))


def test_inside_a_loop_that_xla_compiled():
    @jax.jit
    def steps(x):
        move = lambda _, x: x - 0.1 * jax.grad(lambda x: jnp.sum(jax_ops.pairwise(x, x)))(x)  # noqa: E731
        return jax.lax.fori_loop(0, 3, move, x)

    x = integers(4, 3)
    want = x.astype(np.float64)
    for _ in range(3):
        want = want - 0.1 * 4 * (4 * want - want.sum(axis=0))
    np.testing.assert_allclose(steps(x), want, rtol=1e-4)


def test_repeats_are_equal_bit_for_bit(device):
    x = np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32)
    labels = np.arange(300) % 70
    loss = jax.jit(
        jax.value_and_grad(lambda x: jax_ops.triplet_loss(x, labels, "semihard", "sqeuclidean", 1.0))
    )
    first = jax.tree.map(np.asarray, loss(x))
    for _ in range(250 if device == "cuda" else 20):
        jax.tree.map(np.testing.assert_array_equal, loss(x), first)


def test_errors_name_the_argument():
    with pytest.raises(Exception, match="x and y must have the same number of columns"):
        jax_ops.pairwise(integers(3, 4), integers(3, 5)).block_until_ready()
    with pytest.raises(Exception, match="metric"):
        jax_ops.pairwise(integers(3, 4), integers(3, 4), metric="cubic").block_until_ready()
    with pytest.raises(Exception, match="labels must hold one label per row"):
        jax_ops.triplet_loss(integers(3, 4), np.arange(4), "hard", "cosine", 1.0).block_until_ready()
