# SPDX-License-Identifier: MIT
"""The twin of `fslcore.ops.conv_block`. It runs on any device; `fslcore.layers.ConvBlock` uses it on GPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from fslcore.arguments import check_conv_block
from fslcore.tensors import real

Tensor = Any


class ConvBlockResult(NamedTuple):
    """What `conv_block` returns.

    Attributes:
        outputs: float32 [batch, out_height, out_width, filters], differentiable.
        mean: float32 [filters], of the convolved images over batch and positions; has no gradient.
        variance: float32 [filters], biased; has no gradient.
    """

    outputs: Tensor
    mean: Tensor
    variance: Tensor


def conv_block(
    images: Tensor,
    kernel: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    strides: int = 2,
    pool_size: int = 1,
    epsilon: float = 1e-3,
    precision: str = "float32",
) -> ConvBlockResult:
    """The block of `fslcore.ops.conv_block`, with its arguments; the batch holds at least one image."""
    strides, pool_size, epsilon = check_conv_block(strides, pool_size, epsilon, precision)
    images, kernel, gamma, beta = (
        real(name, value)
        for name, value in (("images", images), ("kernel", kernel), ("gamma", gamma), ("beta", beta))
    )
    if precision == "bfloat16":
        images, kernel = _round_to_bfloat16(images), _round_to_bfloat16(kernel)
    convolved = tf.nn.conv2d(images, kernel, strides, "SAME")
    if precision == "bfloat16":
        convolved = _with_gradient_rounded_to_bfloat16(convolved)
    mean = tf.reduce_mean(convolved, axis=[0, 1, 2])
    variance = tf.reduce_mean(tf.square(convolved - mean), axis=[0, 1, 2])
    outputs = tf.nn.relu((convolved - mean) * (gamma * tf.math.rsqrt(variance + epsilon)) + beta)
    if pool_size > 1:
        outputs = tf.nn.max_pool2d(outputs, pool_size, pool_size, "VALID")
    return ConvBlockResult(outputs, tf.stop_gradient(mean), tf.stop_gradient(variance))


@tf.custom_gradient
def _round_to_bfloat16(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    return tf.cast(tf.cast(x, tf.bfloat16), tf.float32), lambda grad: grad


@tf.custom_gradient
def _with_gradient_rounded_to_bfloat16(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    return tf.identity(x), _round_to_bfloat16
