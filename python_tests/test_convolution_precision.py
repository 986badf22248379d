# SPDX-License-Identifier: MIT
"""Convolutions in bfloat16 round their factors to the nearest."""

import numpy as np
import pytest
import tensorflow as tf
from inputs import normal
from routes import MODES, name

from fslcore import ops, twins
from fslcore.ops._library import raw_ops

U = 2.0**-8  # the unit roundoff of bfloat16
FACTORS = np.float32([1 + U, 1 + 1.5 * U, 1 + 3 * U, -1 - U, 1 / 3, 2.0**100 / 3, 3.3e38, *normal(0, 30)])


def rounded(x):
    """To the nearest bfloat16, of two the even one."""
    return x.astype(tf.bfloat16.as_numpy_dtype).astype(np.float32)


@pytest.mark.each_level
@pytest.mark.parametrize("mode", MODES, ids=name)
@pytest.mark.parametrize("block", [ops.conv_block, twins.conv_block], ids=["op", "twin"])
def test_factors_are_rounded_to_bfloat16(block, mode):
    # A single pixel meets the tap in the middle, and the mean of what it comes to is that itself.
    assert np.any(rounded(FACTORS) != FACTORS)
    count = len(FACTORS)
    middle = np.zeros((3, 3, count, count), np.float32)
    row = np.ones(count, np.float32)

    def mean(images, kernel):
        return mode(lambda *t: block(*t, precision="bfloat16").mean)(
            *map(tf.constant, (images, kernel, row, row))
        )

    middle[1, 1] = np.eye(count)
    np.testing.assert_array_equal(mean(FACTORS.reshape(1, 1, 1, -1), middle), rounded(FACTORS))
    middle[1, 1, 0] = FACTORS
    np.testing.assert_array_equal(mean(np.ones((1, 1, 1, 1), np.float32), middle[:, :, :1]), rounded(FACTORS))


@pytest.mark.each_level
def test_infinity_and_nan_stay_what_they_are_in_bfloat16():
    lower_bits_alone = np.uint32([0x7F800001, 0xFF800001]).view(
        np.float32
    )  # NaN, of which none would be left
    factors = np.float32([3.4e38, -3.4e38, np.inf, -np.inf, np.nan, *lower_bits_alone])
    kernel = np.zeros((3, 3, 1, len(factors)), np.float32)
    kernel[1, 1, 0] = factors
    block = raw_ops.fslcore_conv_block(
        images=np.ones((1, 1, 1, 1), np.float32),
        kernel=kernel,
        gamma=factors,
        beta=factors,
        strides=1,
        pool_size=1,
        epsilon=1.0,
        precision="bfloat16",
    )
    np.testing.assert_array_equal(block.maps[0, 0, 0], np.float32([np.inf, -np.inf] * 2 + [np.nan] * 3))
