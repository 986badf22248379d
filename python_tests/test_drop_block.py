# SPDX-License-Identifier: MIT
"""DropBlock: what it drops are squares, as many as asked for, and the rest is scaled up."""

import numpy as np
import pytest

from fslcore.arguments import ArgumentError
from fslcore.layers import DropBlock

RATE, SIZE = 0.2, 3


def test_squares_are_dropped_and_the_rest_is_scaled():
    layer = DropBlock(RATE, SIZE, seed=1)
    x = np.ones((64, 12, 10, 8), np.float32)
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer(x, training=False), x)
    out = np.asarray(layer(x, training=True))
    dropped = out == 0
    # A dropped pixel lies in a dropped square.
    windows = np.lib.stride_tricks.sliding_window_view(dropped, (SIZE, SIZE), axis=(1, 2)).all((-1, -2))
    covered = np.zeros_like(dropped)
    for row, column in np.ndindex(SIZE, SIZE):
        covered[:, row : row + windows.shape[1], column : column + windows.shape[2]] |= windows
    np.testing.assert_array_equal(covered, dropped)
    # Squares overlap, so that a little less than RATE is 0: at least 1 - exp(-RATE), about. A map is dropped
    # apart from the other 511, and its share has a deviation of less than 0.1.
    assert 1 - np.exp(-RATE) - 5 * 0.1 / np.sqrt(512) < dropped.mean() < RATE + 5 * 0.1 / np.sqrt(512)
    np.testing.assert_allclose(out[~dropped], dropped.size / np.count_nonzero(~dropped), rtol=1e-6)
    assert not np.array_equal(layer(x, training=True), out)
    again = DropBlock.from_config(layer.get_config())
    np.testing.assert_array_equal(again(x, training=True), out)


def test_a_small_map_is_cut_and_a_rate_of_0_drops_nothing():
    x = np.ones((400, 2, 4, 1), np.float32)
    out = np.asarray(DropBlock(0.5, 5, seed=2)(x, training=True))
    assert np.all((out == 0).all((1, 2)) == (out == 0).any((1, 2)))  # whole maps
    assert 0.4 < np.mean(out == 0) < 0.6
    np.testing.assert_array_equal(DropBlock(0.0)(x, training=True), x)


def test_refused():
    for arguments, message in (
        ((1.0,), "rate must be at least 0 and below 1"),
        ((0.1, 0), "size must be at least 1"),
    ):
        with pytest.raises(ArgumentError, match=message):
            DropBlock(*arguments)
    with pytest.raises(ArgumentError, match=r"inputs must be .* with known height and width"):
        DropBlock(0.1).build((None, None, 4, 1))
