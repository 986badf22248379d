# SPDX-License-Identifier: MIT
"""Pairwise metrics, forward and backward, beside TensorFlow's own operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from fslcore import ops
from fslcore.bench import Comparison
from fslcore.bench.timing import compare

Tensor = Any
Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]


def cases(quick: bool) -> Iterator[Comparison]:
    """Squared Euclidean as a matrix product, and the weighted L1 head, which has none."""
    sizes = [(128, 32)] if quick else [(1024, 128), (1024, 512), (4096, 128)]
    for batch, dim in sizes:
        yield Comparison(
            f"sqeuclidean {batch} x {batch}, dim {dim}, forward + backward",
            compare(
                {
                    "fslcore, graph": _step(_ours_squared, batch, dim, jit=False),
                    "fslcore, XLA": _step(_ours_squared, batch, dim, jit=True),
                    "TensorFlow matmul, graph": _step(_matmul_squared, batch, dim, jit=False),
                    "TensorFlow matmul, XLA": _step(_matmul_squared, batch, dim, jit=True),
                }
            ),
        )
    for batch, dim in [(64, 16)] if quick else [(256, 128), (1024, 512)]:
        contenders = {
            "fslcore, graph": _step(_ours_head, batch, dim, jit=False),
            "fslcore, XLA": _step(_ours_head, batch, dim, jit=True),
            "TensorFlow broadcast, XLA": _step(_broadcast_head, batch, dim, jit=True),
        }
        if batch <= 256:  # the graph holds several [batch, batch, dim] tensors: 2 GB each at 1024 x 512
            contenders["TensorFlow broadcast, graph"] = _step(_broadcast_head, batch, dim, jit=False)
        yield Comparison(
            f"weighted_manhattan + sigmoid {batch} x {batch}, dim {dim}, forward + backward",
            compare(contenders, rounds=5),
        )


def _ours_squared(x: Tensor, y: Tensor, _: Tensor) -> Tensor:
    return ops.pairwise(x, y)


def _matmul_squared(x: Tensor, y: Tensor, _: Tensor) -> Tensor:
    norms = tf.reduce_sum(x * x, 1)[:, None] + tf.reduce_sum(y * y, 1)[None]
    return tf.maximum(norms - 2.0 * tf.matmul(x, y, transpose_b=True), 0.0)


def _ours_head(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    return ops.pairwise(x, y, "weighted_manhattan", weights=weights, activation="sigmoid")


def _broadcast_head(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    return tf.sigmoid(tf.reduce_sum(weights * tf.abs(x[:, None] - y[None]), -1))


def _step(kernel: Kernel, batch: int, dim: int, *, jit: bool) -> Callable[[], None]:
    generator = np.random.default_rng(0)
    x, y = (tf.constant(generator.normal(size=(batch, dim)), tf.float32) for _ in range(2))
    weights = tf.constant(generator.normal(size=dim) / dim, tf.float32)
    upstream = tf.constant(generator.normal(size=(batch, batch)), tf.float32)

    @tf.function(jit_compile=jit)
    def forward_and_backward(x: Tensor, y: Tensor, weights: Tensor, upstream: Tensor) -> tuple[Tensor, Any]:
        with tf.GradientTape() as tape:
            tape.watch([x, y, weights])
            out = kernel(x, y, weights)
        sources = [x, y] if kernel in (_ours_squared, _matmul_squared) else [x, y, weights]
        return out, tape.gradient(out, sources, output_gradients=upstream)

    def call() -> None:
        out, gradients = forward_and_backward(x, y, weights, upstream)
        out.numpy()
        for gradient in gradients:
            gradient.numpy()

    return call
