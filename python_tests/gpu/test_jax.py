# SPDX-License-Identifier: MIT
"""fslcore.jax, on the CPU and on a GPU: values, gradients, jit, errors."""

import inspect
import subprocess
import sys

import numpy as np
import oracles
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")
jax.config.update("jax_enable_x64", True)  # labels and seeds are int64

import jax.numpy as jnp  # noqa: E402

import fslcore.jax as ops  # noqa: E402
from fslcore.arguments import METRICS, MININGS  # noqa: E402


def why_not(platform):
    """Why it cannot take part, or None."""
    if platform not in ops.platforms():
        return "the library was built without CUDA"
    try:
        jax.devices(platform)
    except RuntimeError:
        return "JAX sees no GPU"
    return None


DEVICES = [platform for platform in ("cpu", "cuda") if not why_not(platform)]


@pytest.fixture(params=DEVICES, scope="module", autouse=True)
def device(request):
    """Everything runs on one device after the other."""
    with jax.default_device(jax.devices(request.param)[0]):
        yield request.param


def test_results_lie_on_the_device(device):
    out = ops.pairwise(integers(3, 2))
    assert {place.platform for place in out.devices()} == {"gpu" if device == "cuda" else "cpu"}


def test_a_gpu_takes_part():
    if not any(place.platform == "gpu" for place in jax.devices()):
        pytest.skip("JAX sees no GPU")
    assert DEVICES == ["cpu", "cuda"], why_not("cuda")


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
    got = jax.jit(lambda x, y: ops.pairwise(x, y, metric, **options(metric, dim)))(x, y)
    want = oracles.pairwise(x, y, metric, **options(metric, dim))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)  # exact but for a root and a quotient


@pytest.mark.parametrize("metric", METRICS)
def test_gradients(metric):
    x, y, upstream = integers(33, 9), integers(20, 9, seed=1), integers(33, 20, seed=2)

    def score(x, y):
        return jnp.sum(ops.pairwise(x, y, metric, **options(metric, 9)) * upstream)

    dx, dy = jax.jit(jax.grad(score, argnums=(0, 1)))(x, y)
    want_x, want_y, *_ = oracles.pairwise_grad(x, y, upstream, metric, **options(metric, 9))
    # Sums of some 30 terms of at most 30, each off by a rounding or two.
    np.testing.assert_allclose(dx, want_x, atol=2e-4)
    np.testing.assert_allclose(dy, want_y, atol=2e-4)


@pytest.mark.parametrize("precision", ["float32", "tf32", "3xtf32", "bfloat16"])
def test_small_integers_are_exact_in_every_precision(precision):
    x, y = integers(130, 70), integers(129, 70, seed=1)
    got = ops.pairwise(x, y, "dot", precision=precision)
    np.testing.assert_array_equal(got, x @ y.T)


@pytest.mark.parametrize("mining", MININGS)
def test_triplets(mining):
    x, labels = integers(67, 5), np.random.default_rng(3).integers(0, 9, 67)
    want = oracles.mine_triplets(x, labels, mining)
    *got, count = jax.jit(lambda x, labels: ops.mine_triplets(x, labels, mining))(x, labels)
    assert count == len(want[0])
    for part, wanted in zip(got, want, strict=True):
        np.testing.assert_array_equal(part[:count], wanted)
        assert not np.any(part[count:])

    value, grad = jax.value_and_grad(lambda x: ops.triplet_loss(x, labels, mining, 1.5).loss)(x)
    result = ops.triplet_loss(x, labels, mining, 1.5)
    assert result.num_pairs == count
    np.testing.assert_array_equal(result.grad, grad)
    anchor, positive, negative = want

    def plain(x):  # no term is 0, where the derivative is a matter of taste
        distance = lambda other: jnp.sum((x[anchor] - x[other]) ** 2, axis=1)  # noqa: E731
        return jnp.mean(jnp.maximum(distance(positive) - distance(negative) + 1.5, 0.0))

    np.testing.assert_allclose(value, plain(x), rtol=1e-6)
    np.testing.assert_allclose(grad, jax.grad(plain)(x), rtol=1e-5, atol=1e-6)


def test_episodes_and_their_images():
    labels = np.repeat(np.arange(30), 8)
    drawn = jax.jit(lambda: ops.sample_episodes(labels, 5, 2, 3, 40, 2**40 + 1, 7))()
    np.testing.assert_array_equal(drawn, oracles.sample_episodes(labels, 5, 2, 3, 40, 2**40 + 1, 7))

    store = np.random.default_rng(0).integers(0, 256, (240, 28, 28, 1)).astype(np.uint8)
    turns = np.random.default_rng(1).integers(0, 4, (40, 5))
    images = ops.gather_images(store, jnp.asarray(drawn, jnp.int64), turns)
    np.testing.assert_array_equal(images, oracles.gather_images(store, np.asarray(drawn), turns))


def test_inside_a_loop_that_xla_compiled():
    @jax.jit
    def steps(x):
        move = lambda _, x: x - 0.1 * jax.grad(lambda x: jnp.sum(ops.pairwise(x, x)))(x)  # noqa: E731
        return jax.lax.fori_loop(0, 3, move, x)

    x = integers(4, 3)
    want = x.astype(np.float64)
    for _ in range(3):
        want = want - 0.1 * 4 * (4 * want - want.sum(axis=0))
    np.testing.assert_allclose(steps(x), want, rtol=1e-4)


def test_repeats_are_equal_bit_for_bit(device):
    x = np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32)
    labels = np.arange(300) % 70
    loss = jax.jit(jax.value_and_grad(lambda x: ops.triplet_semihard(x, labels).loss))
    first = jax.tree.map(np.asarray, loss(x))
    for _ in range(250 if device == "cuda" else 20):
        jax.tree.map(np.testing.assert_array_equal, loss(x), first)


def test_errors_name_the_argument():
    with pytest.raises(Exception, match="x and y must have the same number of columns"):
        ops.pairwise(integers(3, 4), integers(3, 5)).block_until_ready()
    with pytest.raises(ValueError, match=r"metric must be one of .*, received metric='cubic'"):
        ops.pairwise(integers(3, 4), integers(3, 4), metric="cubic")
    with pytest.raises(Exception, match="labels must hold one label per row"):
        ops.triplet_hard(integers(3, 4), np.arange(4), metric="cosine").loss.block_until_ready()
    with pytest.raises(ValueError, match="labels must hold integers"):
        ops.mine_hard(integers(3, 4), np.arange(3.0))
    with pytest.raises(ValueError, match="x must have 2 axes"):
        ops.pairwise(integers(3))


def test_integers_need_64_bits():
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        ops.sample_episodes(np.arange(4), 2, 1, 0, 1, 0)


FUNCTIONS = [name for name in ops.__all__ if name.islower() and name != "platforms"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_take_the_arguments_of_the_kernels(function):
    kernels = pytest.importorskip("fslcore.kernels")

    def arguments(module):
        parameters = inspect.signature(getattr(module, function)).parameters.values()
        return [(p.name, p.default, p.kind) for p in parameters if p.name != "precision"]

    assert arguments(ops) == arguments(kernels)


@pytest.mark.parametrize("args", [(7, 5, 3, 11), (1, 4, 0, 0), (0, 3, 0, 0), (5, 0, 0, 0)], ids=str)
def test_permutations(device, args):
    if device == "cuda":
        pytest.skip("permutations are drawn on CPUs only")
    np.testing.assert_array_equal(ops.permutations(*args), oracles.permutations(*args))


def test_resized_images(device):
    store = np.random.default_rng(0).integers(0, 256, (9, 12, 10, 3)).astype(np.uint8)
    images = ops.gather_images(store, [[1, 8], [0, 3]], size=(7, 5), scale=2.0, shift=1.0)
    want = oracles.gather_images(store, [[1, 8], [0, 3]], None, 2.0, 1.0, (7, 5))
    np.testing.assert_allclose(images, want, rtol=1e-5, atol=1e-3)


def test_gradients_of_the_weighted_metric():
    x, y, upstream, weights = (
        integers(6, 3),
        integers(5, 3, seed=1),
        integers(6, 5, seed=2),
        integers(3, seed=5),
    )
    got = ops.pairwise_grad(
        x, y, upstream, "weighted_manhattan", weights=weights, bias=0.5, activation="sigmoid"
    )
    want = oracles.pairwise_grad(
        x, y, upstream, "weighted_manhattan", weights=weights, bias=0.5, activation="sigmoid"
    )
    for part, wanted in zip(got, want, strict=True):
        np.testing.assert_allclose(part, wanted, rtol=1e-4, atol=1e-4)
    assert len(ops.pairwise_grad(x, y, upstream)) == 2


def python(script):
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def test_no_tensorflow_is_imported():
    done = python("import sys, fslcore.jax; print('tensorflow' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


def test_without_jax_the_error_names_the_remedy():
    done = python("import sys; sys.modules['jax'] = None; import fslcore.jax")
    assert "ImportError: fslcore.jax needs JAX; install it with: pip install" in done.stderr
