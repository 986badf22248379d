# SPDX-License-Identifier: MIT
"""Convolutions to train small networks on a CPU: alone, or with normalisation, ReLU and pooling in one op."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.arguments import check_conv_block
from fslcore.ops._library import raw_ops
from fslcore.ops._tensors import check_axes, check_shape
from fslcore.tensors import real
from fslcore.twins import ConvBlockResult

Tensor = Any


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

    The padding is TensorFlow's SAME. There is no bias: the normalisation would cancel it. Mean and variance
    are taken over the batch (Ioffe and Szegedy, "Batch normalization", ICML 2015). With a `pool_size` of 2,
    the outputs are the largest of each 2 x 2; an odd last row or column is dropped. Differentiable with
    respect to the first four arguments; the gradient of ReLU at 0 is 0, and a maximum passes its gradient to
    the first of equals, row by row. The results do not depend on the number of threads, bit for bit.

    Args:
        images: [batch, height, width, channels]; an empty batch has mean, variance and gradients 0.
        kernel: [3, 3, channels, filters]; multiples of 16 channels and filters are the fastest.
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
        ValueError: If options are out of range, or shapes known while tracing do not match.
    """
    strides, pool_size, epsilon = check_conv_block(strides, pool_size, epsilon, precision)
    images, kernel, gamma, beta = (
        real(name, value)
        for name, value in (("images", images), ("kernel", kernel), ("gamma", gamma), ("beta", beta))
    )
    check_axes("images", images, 4)
    check_axes("kernel", kernel, 4)
    if images.shape.rank and kernel.shape.rank:
        check_shape("kernel", kernel, [3, 3, images.shape[3], kernel.shape[3]])
        check_shape("gamma", gamma, [kernel.shape[3]])
        check_shape("beta", beta, [kernel.shape[3]])
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


def has_conv_block() -> bool:
    """Whether `conv_block` can run where TensorFlow computes: it is a CPU op, so False if there is a GPU."""
    return hasattr(raw_ops, "fslcore_conv_block") and not tf.config.list_physical_devices("GPU")


def same_convolution(images: Tensor, kernel: Tensor) -> Tensor:
    """`tf.nn.conv2d(images, kernel, strides=1, padding="SAME")` for an odd square kernel and many channels.

    Differentiable as often as one likes. Results do not depend on the number of threads, bit for bit.

    Args:
        images: [batch, height, width, channels].
        kernel: [size, size, channels, filters], size odd; multiples of 16 channels and filters are the
            fastest.

    Returns:
        float32 [batch, height, width, filters].

    Raises:
        ValueError: If shapes known while tracing do not match.
    """
    images, kernel = real("images", images), real("kernel", kernel)
    check_axes("images", images, 4)
    check_axes("kernel", kernel, 4)
    if images.shape.rank and kernel.shape.rank:
        check_shape("kernel", kernel, [kernel.shape[0], kernel.shape[0], images.shape[3], kernel.shape[3]])
    return raw_ops.fslcore_same_convolution(images=images, kernel=kernel)


@tf.RegisterGradient("FslcoreSameConvolution")
def _same_convolution_gradient(op: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    skipped = getattr(op, "skip_input_indices", None) or ()
    wanted = [index not in skipped for index in (0, 1)]
    images_grad, kernel_grad = raw_ops.fslcore_same_convolution_grad(
        grad=grad, images=op.inputs[0], kernel=op.inputs[1], with_images=wanted[0], with_kernel=wanted[1]
    )
    return images_grad if wanted[0] else None, kernel_grad if wanted[1] else None


@tf.RegisterGradient("FslcoreSameConvolutionGrad")
def _gradient_of_same_convolution_gradient(
    op: Any, of_images: Tensor, of_kernel: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Both gradients are linear in each of two inputs, and their gradients are such convolutions again."""
    grad, images, kernel = op.inputs
    parts: list[tuple[Tensor, Tensor | None, Tensor | None]] = []
    if op.get_attr("with_images"):
        _, found = raw_ops.fslcore_same_convolution_grad(
            grad=grad, images=of_images, kernel=kernel, with_images=False, with_kernel=True
        )
        parts.append((raw_ops.fslcore_same_convolution(images=of_images, kernel=kernel), None, found))
    if op.get_attr("with_kernel"):
        found, _ = raw_ops.fslcore_same_convolution_grad(
            grad=grad, images=images, kernel=of_kernel, with_images=True, with_kernel=False
        )
        parts.append((raw_ops.fslcore_same_convolution(images=images, kernel=of_kernel), found, None))
    sums = [[term for term in terms if term is not None] for terms in zip(*parts, strict=True)] or [
        [],
        [],
        [],
    ]
    return tuple(tf.add_n(terms) if terms else None for terms in sums)  # type: ignore[return-value]


@tf.RegisterGradient("FslcoreConvBlock")
def _conv_block_gradient(op: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    images, kernel, gamma, beta = op.inputs
    _, maps, mean, variance = op.outputs
    # A tape tells which gradients are not needed: mostly that of the first block's images.
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
