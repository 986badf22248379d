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
    """Convolution, batch normalisation, ReLU and pooling."""

    maps: Array  # [B, MH, MW, F]
    mean: Array  # [F]
    variance: Array  # [F], biased
    outputs: Array  # [B, MH / pool_size, MW / pool_size, F], rounded down


def conv_block(
    images: ArrayLike,
    kernel: ArrayLike,
    gamma: ArrayLike,  # [F]
    beta: ArrayLike,  # [F]
    strides: int = 2,
    pool_size: int = 1,
    epsilon: float = 1e-3,
) -> ConvBlock:
    """Statistics over batch and positions."""
    maps = convolve(images, kernel, strides)
    mean = np.mean(maps, axis=(0, 1, 2))
    variance = np.mean((maps - mean) ** 2, axis=(0, 1, 2))
    values = np.maximum(np.asarray(gamma) * (maps - mean) / np.sqrt(variance + epsilon) + beta, 0)
    return ConvBlock(maps, mean, variance, np.max(pooling_windows(values, pool_size), axis=0))


def pooling_windows(maps: Array, pool_size: int) -> Array:
    """The pool_size^2 elements of each window, row by row: [pool_size^2, B, OH, OW, F]."""
    height, width = (size // pool_size * pool_size for size in maps.shape[1:3])
    offsets = itertools.product(range(pool_size), repeat=2)
    return np.stack([maps[:, r:height:pool_size, c:width:pool_size] for r, c in offsets])


def pool_grad(maps: Array, grad: Array, pool_size: int) -> Array:
    """The gradient of sum(grad * pooled maps): that of each window goes to the first of its largest."""
    winner = np.argmax(pooling_windows(maps, pool_size), axis=0)
    maps_grad = np.zeros_like(maps)
    for image, row, col, channel in np.ndindex(*grad.shape):
        r, c = divmod(winner[image, row, col, channel], pool_size)
        maps_grad[image, row * pool_size + r, col * pool_size + c, channel] = grad[image, row, col, channel]
    return maps_grad


class ConvBlockGradient(NamedTuple):
    """The gradient of sum(grad * outputs)."""

    images: Array
    kernel: Array
    gamma: Array
    beta: Array
    maps: Array


def conv_block_grad(
    images: ArrayLike,
    kernel: ArrayLike,
    gamma: ArrayLike,  # [F]
    beta: ArrayLike,  # [F]
    grad: ArrayLike,  # like the outputs
    strides: int = 2,
    pool_size: int = 1,
    epsilon: float = 1e-3,
) -> ConvBlockGradient:
    """By the chain rule, one step after the other: pooling, ReLU, scale, variance, mean, convolution."""
    block = conv_block(images, kernel, gamma, beta, strides, 1, epsilon)
    axes = (0, 1, 2)
    count = block.outputs[..., 0].size
    deviation, centred = np.sqrt(block.variance + epsilon), block.maps - block.mean
    of_relu = pool_grad(block.outputs, np.asarray(grad, np.float64), pool_size)
    of_scaled = np.where(block.outputs > 0, of_relu, 0)
    of_normalised = of_scaled * np.asarray(gamma, np.float64)
    of_variance = np.sum(of_normalised * centred, axes) * -0.5 / deviation**3
    of_centred = of_normalised / deviation + of_variance * 2 * centred / count
    of_maps = of_centred - np.sum(of_centred, axes) / count
    return ConvBlockGradient(
        *convolve_grad(images, kernel, of_maps, strides),
        np.sum(of_scaled * centred / deviation, axes),
        np.sum(of_scaled, axes),
        of_maps,
    )


def same_convolve(images: ArrayLike, kernel: ArrayLike) -> Array:
    """images [B, H, W, C] and an odd kernel [S, S, C, F] to [B, H, W, F]; outside the images there is 0."""
    images, kernel = np.asarray(images, np.float64), np.asarray(kernel, np.float64)
    out = np.zeros((*images.shape[:3], kernel.shape[3]))
    for (r, c), tap, (y, x) in same_taps(images, kernel):
        out[:, r, c] += images[:, y, x] @ kernel[tap]
    return out


def same_convolve_grad(images: ArrayLike, kernel: ArrayLike, grad: ArrayLike) -> tuple[Array, Array]:
    """The gradients of images and kernel of sum(grad * same_convolve(images, kernel))."""
    images, kernel, grad = (np.asarray(a, np.float64) for a in (images, kernel, grad))
    images_grad, kernel_grad = np.zeros_like(images), np.zeros_like(kernel)
    for (r, c), tap, (y, x) in same_taps(images, kernel):
        images_grad[:, y, x] += grad[:, r, c] @ kernel[tap].T
        kernel_grad[tap] += images[:, y, x].T @ grad[:, r, c]
    return images_grad, kernel_grad


def same_taps(
    images: Array, kernel: Array
) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """(output, tap, input) positions of every window, each a (row, column), but for inputs outside."""
    (height, width), size = images.shape[1:3], len(kernel)
    for r, c, i, j in itertools.product(range(height), range(width), range(size), range(size)):
        y, x = r + i - size // 2, c + j - size // 2
        if 0 <= y < height and 0 <= x < width:
            yield (r, c), (i, j), (y, x)
