# SPDX-License-Identifier: MIT
"""Convolution, batch normalisation, ReLU and pooling in one compiled op, to train small encoders on a CPU."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import tensorflow as tf

from fslcore.ops._library import raw_ops

Tensor = Any

CONV_PRECISIONS = ("float32", "bfloat16")


class ConvBlockResult(NamedTuple):
    """What `conv_block` returns.

    Attributes:
        outputs: float32 [batch, out_height, out_width, filters], differentiable.
        mean: float32 [filters], of the convolved images over batch and positions; carries no gradient.
        variance: float32 [filters], biased, likewise.
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
    """max(0, gamma * (c - mean) / sqrt(variance + epsilon) + beta), c the 3x3 convolution of the images.

    The padding is TensorFlow's SAME, and there is no bias: the normalisation would cancel it. Mean and
    variance are those of the batch itself (Ioffe and Szegedy, "Batch normalization", ICML 2015). With a
    `pool_size` of 2, the outputs are the largest of each 2 x 2; an odd last row or column is dropped.
    Differentiable with respect to the first four arguments; the gradient of ReLU at 0 is 0, and that of a
    maximum goes to the first of equals, row by row. The bits of the results do not depend on the number of
    threads.

    Args:
        images: [batch, height, width, channels]; an empty batch has mean, variance and gradients 0.
        kernel: [3, 3, channels, filters]; multiples of 16 filters and channels are the fastest.
        gamma: [filters].
        beta: [filters].
        strides: 1 or 2, a Python number.
        pool_size: 1 or 2, a Python number.
        epsilon: Positive, a Python number.
        precision: "float32", or "bfloat16" for a convolution whose factors, forward and backward, are rounded
            to 8 bits; sums and everything else stay float32. About 1.7 times as fast on AMD's Zen 4 and
            later, where `fslcore.kernels.simd_level()` is "avx512bf16"; slower than float32 on other CPUs.

    Returns:
        A `ConvBlockResult`; out_height = floor(ceil(height / strides) / pool_size), and out_width likewise.

    Raises:
        ValueError: For arguments of other shapes or values, where they show them while tracing.
    """
    strides, pool_size, epsilon = check_conv_block(strides, pool_size, epsilon, precision)
    images, kernel, gamma, beta = (tf.cast(tensor, tf.float32) for tensor in (images, kernel, gamma, beta))
    _check_axes("images", images)
    _check_axes("kernel", kernel)
    if images.shape.rank and kernel.shape.rank:
        _check_shape("kernel", kernel, [3, 3, images.shape[3], kernel.shape[3]])
        _check_shape("gamma", gamma, [kernel.shape[3]])
        _check_shape("beta", beta, [kernel.shape[3]])
    outputs, _, mean, variance = raw_ops.fslcore_conv_block(
        images=images,
        kernel=kernel,
        gamma=gamma,
        beta=beta,
        strides=strides,
        pool_size=pool_size,
        epsilon=epsilon,
        precision=precision,
    )
    return ConvBlockResult(outputs, tf.stop_gradient(mean), tf.stop_gradient(variance))


def check_conv_block(strides: int, pool_size: int, epsilon: float, precision: str) -> tuple[int, int, float]:
    """The options of `conv_block`.

    Args:
        strides: 1 or 2.
        pool_size: 1 or 2.
        epsilon: Positive.
        precision: "float32" or "bfloat16".

    Returns:
        The first three, as Python ints and float.

    Raises:
        ValueError: For others.
    """
    for argument, value in (("strides", strides), ("pool_size", pool_size)):
        if value not in (1, 2):
            raise ValueError(f"{argument} must be 1 or 2, received {argument}={value}")
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise ValueError(f"epsilon must be positive and finite, received epsilon={epsilon}")
    if precision not in CONV_PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(CONV_PRECISIONS)}, received {precision!r}")
    return int(strides), int(pool_size), float(epsilon)


def has_conv_block() -> bool:
    """Whether `conv_block` can run where TensorFlow computes: it is for CPUs, and `False` beside a GPU."""
    return hasattr(raw_ops, "fslcore_conv_block") and not tf.config.list_physical_devices("GPU")


@tf.RegisterGradient("FslcoreConvBlock")
def _conv_block_gradient(op: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    images, kernel, gamma, beta = op.inputs
    _, maps, mean, variance = op.outputs
    # A tape says which gradients nobody asked for: that of the first block's images, mostly.
    with_images = 0 not in (getattr(op, "skip_input_indices", None) or ())
    images_grad, *gradients = raw_ops.fslcore_conv_block_grad(
        grad=grad,
        images=images,
        kernel=kernel,
        gamma=gamma,
        beta=beta,
        maps=maps,
        mean=mean,
        variance=variance,
        with_images=with_images,
        **{name: op.get_attr(name) for name in ("strides", "pool_size", "epsilon")},
        precision=op.get_attr("precision").decode(),
    )
    return (images_grad if with_images else None, *gradients)


def _check_axes(name: str, tensor: Tensor) -> None:
    if tensor.shape.rank not in (None, 4):
        raise ValueError(f"{name} must have 4 axes, received shape {tensor.shape.as_list()}")


def _check_shape(name: str, tensor: Tensor, expected: list[int | None]) -> None:
    if not tensor.shape.is_compatible_with(expected):
        raise ValueError(f"{name} must have shape {expected}, received shape {tensor.shape.as_list()}")
