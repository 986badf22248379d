# SPDX-License-Identifier: MIT
"""The truth about convolution blocks: plain NumPy loops in float64, like those of oracles.py."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def window_taps(size: int, strides: int) -> Iterator[tuple[int, int, int]]:
    """(output, tap, input) positions of a window of 3 along an axis, SAME padding, but for those outside."""
    out_size = -(-size // strides)
    padding = max((out_size - 1) * strides + 3 - size, 0)
    before = padding // 2  # the odd one comes after
    for out, tap in itertools.product(range(out_size), range(3)):
        position = out * strides + tap - before
        if 0 <= position < size:
            yield out, tap, position


def taps(images: Array, strides: int) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """(output, tap, input) positions of every window, each a (row, column)."""
    rows, columns = (list(window_taps(size, strides)) for size in images.shape[1:3])
    for row, column in itertools.product(rows, columns):
        out, tap, position = zip(row, column, strict=True)
        yield out, tap, position


def convolve(images: ArrayLike, kernel: ArrayLike, strides: int) -> Array:
    """images [B, H, W, C], kernel [3, 3, C, F] to [B, H / strides, W / strides, F], rounded up."""
    images, kernel = np.asarray(images, np.float64), np.asarray(kernel, np.float64)
    height, width = (-(-size // strides) for size in images.shape[1:3])
    out = np.zeros((len(images), height, width, kernel.shape[3]))
    for (r, c), tap, (y, x) in taps(images, strides):
        out[:, r, c] += images[:, y, x] @ kernel[tap]
    return out


def convolve_grad(images: ArrayLike, kernel: ArrayLike, grad: ArrayLike, strides: int) -> tuple[Array, Array]:
    """The gradients of images and kernel of sum(grad * convolve(images, kernel))."""
    images, kernel, grad = (np.asarray(a, np.float64) for a in (images, kernel, grad))
    images_grad, kernel_grad = np.zeros_like(images), np.zeros_like(kernel)
    for (r, c), tap, (y, x) in taps(images, strides):
        images_grad[:, y, x] += grad[:, r, c] @ kernel[tap].T
        kernel_grad[tap] += images[:, y, x].T @ grad[:, r, c]
    return images_grad, kernel_grad


class ConvBlock(NamedTuple):
    """Convolution, batch normalisation, ReLU."""

    convolved: Array  # [B, OH, OW, F]
    mean: Array  # [F]
    variance: Array  # [F], biased
    outputs: Array  # [B, OH, OW, F]


def conv_block(
    images: ArrayLike,
    kernel: ArrayLike,
    gamma: ArrayLike,  # [F]
    beta: ArrayLike,  # [F]
    strides: int = 2,
    epsilon: float = 1e-3,
) -> ConvBlock:
    """Statistics over batch and positions."""
    convolved = convolve(images, kernel, strides)
    mean = np.mean(convolved, axis=(0, 1, 2))
    variance = np.mean((convolved - mean) ** 2, axis=(0, 1, 2))
    normalised = (convolved - mean) / np.sqrt(variance + epsilon)
    return ConvBlock(convolved, mean, variance, np.maximum(np.asarray(gamma) * normalised + beta, 0))


class ConvBlockGradient(NamedTuple):
    """The gradient of sum(grad * outputs)."""

    images: Array
    kernel: Array
    gamma: Array
    beta: Array


def conv_block_grad(
    images: ArrayLike,
    kernel: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    grad: ArrayLike,  # [B, OH, OW, F]
    strides: int = 2,
    epsilon: float = 1e-3,
) -> ConvBlockGradient:
    """By the chain rule, one step after the other: ReLU, scale, variance, mean, convolution."""
    block = conv_block(images, kernel, gamma, beta, strides, epsilon)
    axes = (0, 1, 2)
    count = block.outputs[..., 0].size
    deviation, centred = np.sqrt(block.variance + epsilon), block.convolved - block.mean
    of_scaled = np.where(block.outputs > 0, grad, 0)
    of_normalised = of_scaled * np.asarray(gamma, np.float64)
    of_variance = np.sum(of_normalised * centred, axes) * -0.5 / deviation**3
    of_centred = of_normalised / deviation + of_variance * 2 * centred / count
    of_convolved = of_centred - np.sum(of_centred, axes) / count
    return ConvBlockGradient(
        *convolve_grad(images, kernel, of_convolved, strides),
        np.sum(of_scaled * centred / deviation, axes),
        np.sum(of_scaled, axes),
    )
