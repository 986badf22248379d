# SPDX-License-Identifier: MIT
"""The networks of the peers in plain TensorFlow: four blocks of 64 filters, as one writes them by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from fslcore.bench.comparison import Work

Tensor = Any
BLOCKS, FILTERS = 4, 64


def initial_weights(n_way: int | None = None) -> list[Any]:
    """Kernel, scale and offset of each block as float32 arrays; with `n_way`, a dense layer of 256 inputs."""
    generator = np.random.default_rng(0)
    weights = []
    for channels in (1, *[FILTERS] * (BLOCKS - 1)):
        spread = np.sqrt(2 / (9 * channels))
        weights += [
            generator.normal(0, spread, (3, 3, channels, FILTERS)),
            np.ones(FILTERS),
            np.zeros(FILTERS),
        ]
    if n_way is not None:
        weights += [generator.normal(0, 1 / 16, (4 * FILTERS, n_way)), np.zeros(n_way)]
    return [array.astype(np.float32) for array in weights]


def classifier(weights: list[Tensor], images: Tensor) -> Tensor:
    """Logits of images [B, 28, 28, 1]: convolutions of stride 2, then the dense layer."""
    x = _blocks(weights[:-2], images, stride=2)
    return tf.reshape(x, [-1, 4 * FILTERS]) @ weights[-2] + weights[-1]


def encoder(weights: list[Tensor], images: Tensor) -> Tensor:
    """Embeddings [B, 64] of images [B, 28, 28, 1]: convolutions of stride 1, each followed by pooling."""
    return tf.reshape(_blocks(weights, images, stride=1), [-1, FILTERS])


def _blocks(weights: list[Tensor], x: Tensor, stride: int) -> Tensor:
    for kernel, scale, offset in zip(weights[::3], weights[1::3], weights[2::3], strict=True):
        x = block(x, kernel, scale, offset, stride=stride)
    return x


def block(images: Tensor, kernel: Tensor, scale: Tensor, offset: Tensor, *, stride: int = 1) -> Tensor:
    """Convolution, fused batch normalisation and ReLU; with stride 1 the largest of each 2 x 2."""
    maps = tf.nn.conv2d(images, kernel, stride, "SAME")
    normal, *_ = tf.compat.v1.nn.fused_batch_norm(maps, scale, offset, epsilon=1e-3, is_training=True)
    values = tf.nn.relu(normal)
    return tf.nn.max_pool2d(values, 2, 2, "VALID") if stride == 1 else values


def convolution_work(images: int, stride: int) -> Work:
    """The convolutions of a training step, forward and backward, of so many images [28, 28, 1].

    Every position of the maps meets all 9 taps, those in the padding among them. The gradients of the kernel
    and of the images cost as much as the maps; no one asks for that of the first images.

    Args:
        images: How many pass the network.
        stride: 2 for `classifier`, 1 for `encoder`.
    """
    amount, size = 0, 28
    for channels in (1, *[FILTERS] * (BLOCKS - 1)):
        size_of_maps = -(-size // stride)
        passes = 2 if channels == 1 else 3
        amount += passes * 2 * size_of_maps**2 * 9 * channels * FILTERS
        size = size_of_maps if stride == 2 else size_of_maps // 2
    return Work(images * amount, "FLOP")


def cross_entropy(labels: Tensor, logits: Tensor) -> Tensor:
    """The mean over the batch."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
