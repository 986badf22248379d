# SPDX-License-Identifier: MIT
"""permutations: bit for bit the specified draw, a function of (n, seed, number), and uniform."""

import collections
import importlib
import itertools

import numpy as np
import oracles
import pytest
from asserts import assert_bit_identical
from hypothesis import given
from hypothesis import strategies as st

from fslcore import kernels


@pytest.fixture(autouse=True)
def on_a_cpu(request):
    if "backend" in request.fixturenames and request.getfixturevalue("backend").on_gpu:
        pytest.skip("permutations are drawn on CPUs only")


def assert_specified(got, *args):
    np.testing.assert_array_equal(got, oracles.permutations(*args).astype(np.int32), strict=True)


@pytest.mark.parametrize(
    "args",
    [(7, 5, 3), (7, 5, 3, 11), (1, 4, 0), (0, 3, 0), (5, 0, 0), (1000, 2, 2**40 + 1, 2**40)],
    ids=str,
)
def test_every_backend_draws_what_is_specified(backend, args):
    assert_specified(backend.permutations(*args), *args)


@pytest.mark.each_level
@given(
    n=st.integers(0, 60),
    count=st.integers(0, 20),
    seed=st.integers(0, 2**63 - 1),
    first=st.integers(0, 2**62),
)
def test_any_numbers_draw_what_is_specified(n, count, seed, first):
    assert_specified(kernels.permutations(n, count, seed, first), n, count, seed, first)


@pytest.mark.parametrize(
    ("n", "count", "seed", "first"), [(1, 3, 5, 0), (9, 40, 5, 7), (3000, 3, 2**50, 2**50)]
)
def test_they_are_the_images_of_episodes_of_one_class(backend, n, count, seed, first):
    episodes = backend.sample_episodes(np.zeros(n, int), 1, n, 0, count, seed, first)
    assert_bit_identical(backend.permutations(n, count, seed, first), episodes[:, 0])


def test_each_value_comes_once():
    drawn = kernels.permutations(500, 30, 1)
    np.testing.assert_array_equal(np.sort(drawn), np.broadcast_to(np.arange(500, dtype=np.int32), (30, 500)))


def test_a_permutation_drawn_alone_is_that_of_the_batch(backend):
    batch = backend.permutations(20, 6, 5, 3)
    for i in range(6):
        assert_bit_identical(backend.permutations(20, 1, 5, 3 + i), batch[i : i + 1])


def test_threads_do_not_matter(threads):
    threads(1)
    alone = kernels.permutations(5000, 9, 2)
    threads(4)
    assert_bit_identical(kernels.permutations(5000, 9, 2), alone)


def test_orders_are_uniform():
    orders = [tuple(order) for order in kernels.permutations(4, 12000, 11).tolist()]
    counts = collections.Counter(orders)
    assert counts.keys() == {*itertools.permutations(range(4))}
    expected = 12000 / 24
    # The upper 1e-6 quantile of the chi-square distribution with 23 degrees of freedom is 70.5.
    assert sum((count - expected) ** 2 for count in counts.values()) / expected < 70.5


@pytest.mark.parametrize(
    ("args", "match"),
    [
        pytest.param((-1, 1, 0), "n must be at least 0, received n=-1", id="negative n"),
        pytest.param((2**31, 1, 0), r"n must be below 2\^31, received 2147483648", id="n too large"),
        pytest.param((3, -1, 0), "count must be at least 0, received count=-1", id="negative count"),
        pytest.param((3, 1, -1), "seed must be at least 0, received -1", id="negative seed"),
        pytest.param((3, 1, 0, -1), "first must be at least 0, received -1", id="negative first"),
    ],
)
def test_bad_arguments_are_rejected_in_one_sentence(backend, reject, args, match):
    reject(backend, match, "permutations", *args)


@pytest.mark.parametrize("module", ["kernels", "ops"])
@pytest.mark.parametrize("name", ["n", "count", "seed", "first"])
def test_a_number_that_is_no_integer_is_rejected(module, name):
    draw = importlib.import_module(f"fslcore.{module}").permutations
    with pytest.raises(ValueError, match=rf"{name}.*received.*1\.0"):
        draw(**({"n": 3, "count": 2, "seed": 0, "first": 0} | {name: 1.0}))


def test_seed_and_first_may_be_tensors():
    import tensorflow as tf

    from fslcore import ops

    draw = tf.function(lambda seed, first: ops.permutations(6, 4, seed, first), jit_compile=True)
    assert_specified(draw(tf.constant(7), tf.constant(2**40, tf.int64)).numpy(), 6, 4, 7, 2**40)
