# SPDX-License-Identifier: MIT
"""The oracles against published vectors, values worked out by hand and finite differences."""

import itertools

import numpy as np
import oracles
import oracles_convolution
import pytest

from fslcore.arguments import METRICS


@pytest.mark.parametrize(
    ("metric", "options", "value"),
    [
        # Rows (1, 2) and (4, -2): differences 3 and 4, dot product 0, lengths sqrt(5) and sqrt(20).
        ("sqeuclidean", {}, 25),
        ("euclidean", {}, 5),
        ("cosine", {}, 1),
        ("dot", {}, 0),
        ("manhattan", {}, 7),
        ("weighted_manhattan", {"weights": [2, -1], "bias": 0.5}, 2.5),
        ("weighted_manhattan", {"weights": [2, -1], "bias": -2, "activation": "sigmoid"}, 0.5),
    ],
)
def test_pairwise_by_hand(metric, options, value):
    np.testing.assert_array_equal(oracles.pairwise([[1, 2]], [[4, -2]], metric, **options), [[value]])


def test_cosine_of_parallel_opposite_and_zero_rows():
    np.testing.assert_array_equal(
        oracles.pairwise([[3, 4]], [[6, 8], [-3, -4], [0, 0]], "cosine"), [[0, 2, 1]]
    )


def central_difference(function, point, step=1e-6):
    """Gradient of a scalar function of an array; exact to step^2 and to 1e-16 / step, so to about 1e-9."""
    gradient = np.empty_like(point)
    for i in np.ndindex(point.shape):
        ahead, behind = point.copy(), point.copy()
        ahead[i] += step
        behind[i] -= step
        gradient[i] = (function(ahead) - function(behind)) / (2 * step)
    return gradient


@pytest.mark.parametrize("activation", [None, "sigmoid"])
@pytest.mark.parametrize("metric", METRICS)
def test_pairwise_grad_by_finite_differences(metric, activation):
    rng = np.random.default_rng(3)
    x, y, grad, weights = (rng.normal(size=shape) for shape in ((4, 3), (5, 3), (4, 5), (3,)))
    bias = np.array(0.3)

    def objective(x=x, y=y, weights=weights, bias=bias):
        options = {"weights": weights, "bias": float(bias), "activation": activation}
        return np.sum(grad * oracles.pairwise(x, y, metric, **options))

    got = oracles.pairwise_grad(x, y, grad, metric, weights=weights, bias=float(bias), activation=activation)
    close = {"rtol": 0, "atol": 1e-7}
    np.testing.assert_allclose(got.x, central_difference(lambda v: objective(x=v), x), **close)
    np.testing.assert_allclose(got.y, central_difference(lambda v: objective(y=v), y), **close)
    if metric == "weighted_manhattan":
        np.testing.assert_allclose(
            got.weights, central_difference(lambda v: objective(weights=v), weights), **close
        )
        np.testing.assert_allclose(got.bias, central_difference(lambda v: objective(bias=v), bias), **close)


def test_semihard_by_hand():
    # On a line: class 0 at 0 and 4, class 1 at 1, 5 and 6. For (0, 4) the nearest negative beyond 4 is 5;
    # for (4, 0) none is beyond 4, so the farthest of 3, 1, 2 is taken; for (5, 1) 0 is beyond 4, and so on.
    x = np.array([[0], [4], [1], [5], [6]])
    labels = [0, 0, 1, 1, 1]
    a, p, n = oracles.mine_triplets(x, labels, "semihard", "manhattan")
    assert list(zip(a.tolist(), p.tolist(), n.tolist(), strict=True)) == [
        (0, 1, 3),
        (1, 0, 2),
        (2, 3, 1),
        (2, 4, 1),
        (3, 2, 0),
        (3, 4, 0),
        (4, 2, 0),
        (4, 3, 1),
    ]
    # Hinges with margin 1.5 on those: .5, 2.5, 2.5, 3.5, .5, 0, .5, .5.
    loss, grad, num_pairs = oracles.triplet_loss(x, labels, "semihard", 1.5, "manhattan")
    assert (loss, num_pairs) == (10.5 / 8, 8)
    # The loss depends on differences alone, so moving all rows together changes nothing.
    assert grad.sum() == 0


def test_ties_go_to_the_lowest_index():
    x = [[0], [1], [-2], [2], [2]]
    negative = oracles.mine_triplets(x, [0, 0, 1, 1, 1], "semihard", "manhattan").negative
    assert negative[0] == 2
    farthest = oracles.mine_triplets([[0], [9], [1], [-1]], [0, 0, 1, 1], "semihard", "manhattan").negative
    assert farthest[0] == 2


def test_hard_by_hand():
    # Class 0 at 0, 2 and -3, class 1 at 1, 5 and 6, class 2 at 20, alone.
    x = np.array([[0], [2], [1], [5], [-3], [6], [20]])
    labels = [0, 0, 1, 1, 0, 1, 2]
    a, p, n = oracles.mine_triplets(x, labels, "hard", "manhattan")
    assert list(zip(a.tolist(), p.tolist(), n.tolist(), strict=True)) == [
        (0, 4, 2),
        (1, 4, 2),
        (2, 5, 0),  # 2 is as near
        (3, 2, 1),
        (4, 1, 2),
        (5, 2, 1),
    ]
    # Hinges with margin 0.5 on those: 2.5, 4.5, 4.5, 1.5, 1.5, 1.5.
    loss, grad, num_pairs = oracles.triplet_loss(x, labels, "hard", 0.5, "manhattan")
    assert (loss, num_pairs) == (pytest.approx(16 / 6), 6)
    assert grad.sum() == pytest.approx(0, abs=1e-15)
    # With a margin of -1.5: 0.5, 2.5, 2.5, 0, 0, 0.
    assert oracles.triplet_loss(x, labels, "hard", -1.5, "manhattan").loss == pytest.approx(5.5 / 6)


def test_easy_positive_by_hand():
    # Class 0 at 0, 2, -2 and 9, class 1 at 1, 5 and 6, class 2 at 20, alone.
    x = np.array([[0], [2], [1], [5], [-2], [6], [20], [9]])
    labels = [0, 0, 1, 1, 0, 1, 2, 0]
    a, p, n = oracles.mine_triplets(x, labels, "easy_positive", "manhattan")
    assert list(zip(a.tolist(), p.tolist(), n.tolist(), strict=True)) == [
        (0, 1, 2),  # 4 is as near
        (1, 0, 2),
        (2, 3, 0),  # 1 is as near
        (3, 5, 1),
        (4, 0, 2),
        (5, 3, 7),
        (7, 1, 5),
    ]
    # Hinges with margin 0.5 on those: 1.5, 1.5, 3.5, 0, 0, 0, 4.5.
    assert oracles.triplet_loss(x, labels, "easy_positive", 0.5, "manhattan").loss == pytest.approx(11 / 7)
    positive = oracles.mine_triplets(
        [[0], [np.nan], [2], [2], [1]], [0, 0, 0, 0, 1], "easy_positive", "manhattan"
    ).positive
    assert positive.tolist() == [2, 0, 3, 2]


def test_nan_is_the_last_choice_of_the_hardest():
    x, labels = [[np.nan], [0], [1], [np.inf]], [1, 0, 0, 1]
    with np.errstate(invalid="ignore"):  # infinity from itself
        a, p, n = oracles.mine_triplets(x, labels, "hard", "manhattan")
    assert list(zip(a.tolist(), p.tolist(), n.tolist(), strict=True)) == [
        (0, 3, 1),
        (1, 2, 3),
        (2, 1, 3),
        (3, 0, 1),
    ]
    positive = oracles.mine_triplets(
        [[0], [np.nan], [2], [2], [1]], [0, 0, 0, 0, 1], "hard", "manhattan"
    ).positive
    assert positive.tolist() == [2, 0, 0, 0]


@pytest.mark.parametrize("mining", oracles.CHOOSE)
@pytest.mark.parametrize("labels", [[], [3], [3, 3, 3], [1, 2, 3]])
def test_nothing_to_mine(mining, labels):
    x = np.ones((len(labels), 2))
    assert [part.shape for part in oracles.mine_triplets(x, labels, mining)] == [(0,)] * 3
    loss, grad, num_pairs = oracles.triplet_loss(x, labels, mining)
    assert (loss, num_pairs) == (0, 0)
    np.testing.assert_array_equal(grad, np.zeros_like(x))


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        # The published known-answer vectors of philox4x32-10 (Random123, kat_vectors).
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_philox_known_answers(counter, key, words):
    assert oracles.philox4x32(counter, key) == words


def test_words_count_blocks_and_keep_seed_stream_and_episode_apart():
    seed, episode, stream = 0x1122334455667788, 0x99AABBCCDD, 5
    words = list(itertools.islice(oracles.random_words(seed, episode, stream), 8))
    key = (0x55667788, 0x11223344)
    assert words[:4] == list(oracles.philox4x32((0, 5, 0xAABBCCDD, 0x99), key))
    assert words[4:] == list(oracles.philox4x32((1, 5, 0xAABBCCDD, 0x99), key))


def test_below_rejects_the_words_that_would_bias_it():
    # n = 3 * 2^30: 2^32 mod n = 2^30, so a quarter of the words is rejected. 0 * n and 4 * n have low halves
    # 0 and below the threshold 2^30; 1 * n = 3 * 2^30 is kept and gives 0.
    n = 3 * 2**30
    assert oracles.below(n, iter([0, 4, 1])) == 0
    assert oracles.below(n, iter([2**32 - 1])) == n - 1
    assert [oracles.below(4, iter([word << 30])) for word in range(4)] == [0, 1, 2, 3]


def test_draw_is_a_partial_fisher_yates():
    # Words of 2^31 ask for the middle: below(5) = 2, below(4) = 2, below(3) = 1. So positions 0 and 2 change
    # places, then 1 and 3, then 2 and 3: [2 1 0 3 4], [2 3 0 1 4], [2 3 1 0 4].
    assert oracles.draw(3, 5, iter([2**31] * 3)) == [2, 3, 1]


def test_quarter_turns_are_counter_clockwise():
    store = np.array([[1, 2], [3, 4]], np.uint8).reshape(1, 2, 2, 1)
    turned = oracles.gather_images(store, [[0, 0], [0, 0]], rotations=[0, 1], scale=1, shift=1)
    np.testing.assert_array_equal(turned[0, 1, :, :, 0], [[2, 3], [4, 5]])
    np.testing.assert_array_equal(turned[1, 0, :, :, 0], [[3, 5], [2, 4]])


# Convolution ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "strides", "first_inputs"),
    [
        # Where the windows of 3 begin: one before the image, or on it when a single pixel of padding follows.
        (4, 1, [-1, 0, 1, 2]),
        (4, 2, [0, 2]),
        (5, 2, [-1, 1, 3]),
        (1, 1, [-1]),
        (1, 2, [-1]),
        (2, 2, [0]),
    ],
)
def test_windows_by_hand(size, strides, first_inputs):
    want = [
        (out, tap, first + tap)
        for out, first in enumerate(first_inputs)
        for tap in range(3)
        if 0 <= first + tap < size
    ]
    assert list(oracles_convolution.window_taps(size, strides)) == want


def test_convolution_by_hand():
    # Rows 1 2 3, 4 5 6 under the kernel that reads one pixel up and to the left, and doubles it.
    image = np.arange(1, 7).reshape(1, 2, 3, 1)
    kernel = np.zeros((3, 3, 1, 1))
    kernel[0, 0] = 2
    np.testing.assert_array_equal(
        oracles_convolution.convolve(image, kernel, 1)[0, ..., 0], [[0, 0, 0], [0, 2, 4]]
    )


def test_pooling_by_hand():
    maps = np.zeros((1, 3, 4, 1))  # the last row belongs to no window
    maps[0, :, :, 0] = [[1, 5, 2, 2], [5, 0, 2, 2], [9, 9, 9, 9]]
    grad = np.float64([3, 7]).reshape(1, 1, 2, 1)
    want = [[0, 3, 7, 0], [0, 0, 0, 0], [0, 0, 0, 0]]  # the first of equals
    np.testing.assert_array_equal(oracles_convolution.pool_grad(maps, grad, 2)[0, ..., 0], want)


@pytest.mark.parametrize("pool_size", [1, 2])
@pytest.mark.parametrize("strides", [1, 2])
def test_conv_block_grad_by_finite_differences(strides, pool_size):
    rng = np.random.default_rng(5)
    points = [rng.normal(size=shape) for shape in ((2, 5, 4, 2), (3, 3, 2, 3), (3,), (3,))]
    options = (strides, pool_size)
    block = oracles_convolution.conv_block(*points, *options)
    grad = rng.normal(size=block.outputs.shape)
    values = points[2] * (block.maps - block.mean) / np.sqrt(block.variance + 1e-3) + points[3]
    assert np.min(np.abs(values)) > 1e-3  # no kink of the ReLU within a step, nor of the maximum
    sorted_windows = np.sort(oracles_convolution.pooling_windows(values, pool_size), axis=0)
    assert np.min(np.diff(sorted_windows, axis=0), initial=1.0) > 1e-3
    *of_points, _ = oracles_convolution.conv_block_grad(*points, grad, *options)
    for i, got in enumerate(of_points):

        def objective(point, i=i):
            changed = [*points[:i], point, *points[i + 1 :]]
            return np.sum(grad * oracles_convolution.conv_block(*changed, *options).outputs)

        np.testing.assert_allclose(got, central_difference(objective, points[i]), rtol=0, atol=1e-7)
