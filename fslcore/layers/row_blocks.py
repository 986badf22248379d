# SPDX-License-Identifier: MIT
"""Pairwise scores of any two-input Keras layer, a block of rows at a time.

A layer that is called on [pairs, dim] and [pairs, dim] needs every pair of rows written out: n * m * dim
floats, and as many again for each of its own intermediates. This module writes out some rows of x at a time.
The backward pass does the same: it evaluates the layer again and keeps only the gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

Tensor = Any


def pairwise_in_blocks(
    kernel: keras.Layer, x: Tensor, y: Tensor, pairs_per_block: int, training: bool | None = None
) -> Tensor:
    """kernel([x_i, y_j]) for every i and j, differentiable with respect to x, y and the kernel's weights.

    Args:
        kernel: A built layer that maps ([pairs, dim], [pairs, dim]) to [pairs, 1] or [pairs].
        x: float32 [n, dim].
        y: float32 [m, dim].
        pairs_per_block: How many pairs the kernel receives at most in one call, or m if that is more.
        training: Passed to the kernel.

    Returns:
        float32 [n, m].

    Raises:
        ValueError: If a call changes the kernel's state, as dropout and batch normalisation do in training:
            the score of a pair would depend on the block it is in.
    """
    dim, m = x.shape[1], tf.shape(y)[0]
    rows, blocks = _split(tf.shape(x)[0], tf.maximum(pairs_per_block // tf.maximum(m, 1), 1))
    # Weights go in as plain tensors: tf.custom_gradient would have to hand variables to its backward pass.
    trainable, state = kernel.trainable_variables, kernel.non_trainable_variables
    state_values = [tf.convert_to_tensor(v) for v in state]

    def row_indices(block: Tensor, n: Tensor) -> Tensor:
        # The last block is padded with copies of the last row: unlike an invented row, they cannot bring the
        # kernel anything new (a root at 0, for example).
        return tf.minimum(block * rows + tf.range(rows), n - 1)

    def scores(x_rows: Tensor, y: Tensor, weights: Sequence[Tensor]) -> Tensor:
        left = tf.reshape(tf.repeat(x_rows, m, axis=0), [rows * m, dim])
        right = tf.reshape(tf.tile(y, [rows, 1]), [rows * m, dim])
        mapping = [*zip(trainable, weights, strict=True), *zip(state, state_values, strict=True)]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            out = kernel([left, right], training=training)
        if any(scope.get_current_value(v) is not value for v, value in zip(state, state_values, strict=True)):
            raise ValueError(
                f"kernel must be a function of two rows, received {kernel.name!r}, whose state changes in "
                "training (it has dropout, batch normalisation or the like)"
            )
        return tf.reshape(tf.cast(out, tf.float32), [rows, m])

    @tf.custom_gradient
    def evaluate(x: Tensor, y: Tensor, *weights: Tensor) -> tuple[Tensor, Any]:
        n = tf.shape(x)[0]
        # An eager tape records these operations too, and would keep the intermediates of every block.
        x_value, y_value, *weight_values = (tf.stop_gradient(v) for v in (x, y, *weights))

        def forward(block: Tensor, out: Any) -> tuple[Tensor, Any]:
            x_rows = tf.gather(x_value, row_indices(block, n))
            return block + 1, out.write(block, scores(x_rows, y_value, weight_values))

        def backward(upstream: Tensor, block: Tensor, dx: Any, *sums: Tensor) -> tuple[Any, ...]:
            index = row_indices(block, n)
            x_rows = tf.gather(x, index)
            with tf.GradientTape() as tape:
                tape.watch([x_rows, y, *weights])
                out = scores(x_rows, y, weights)
            is_copy = block * rows + tf.range(rows) >= n
            upstream = tf.where(is_copy[:, None], 0.0, tf.gather(upstream, index))
            x_rows_gradient, *parts = tape.gradient(
                out, [x_rows, y, *weights], output_gradients=upstream, unconnected_gradients="zero"
            )
            sums = tuple(total + part for total, part in zip(sums, parts, strict=True))
            return block + 1, dx.write(block, x_rows_gradient), *sums

        def gradient(upstream: Tensor) -> tuple[Tensor, ...]:
            dx, *sums = _loop(
                blocks,
                lambda *state: backward(upstream, *state),
                (tf.TensorArray(tf.float32, blocks), *(tf.zeros_like(v) for v in (y, *weights))),
            )
            return tf.reshape(dx.stack(), [blocks * rows, dim])[:n], *sums

        (out,) = _loop(blocks, forward, (tf.TensorArray(tf.float32, blocks),))
        return tf.reshape(out.stack(), [blocks * rows, m])[:n], gradient

    return evaluate(x, y, *(tf.convert_to_tensor(v) for v in trainable))


def _split(n: Tensor, most_rows: Tensor) -> tuple[Tensor, Tensor]:
    """(rows per block, blocks) that cover n rows with the fewest copies; n = 0 is one block without rows."""
    blocks = tf.maximum((n + most_rows - 1) // most_rows, 1)
    return (n + blocks - 1) // blocks, blocks


def _loop(blocks: Tensor, body: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    # One block at a time: a graph would otherwise start ten.
    return tuple(
        tf.while_loop(lambda block, *_: block < blocks, body, (0, *state), parallel_iterations=1)[1:]
    )
