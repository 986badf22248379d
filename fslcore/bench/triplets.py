# SPDX-License-Identifier: MIT
"""The semi-hard triplet loss and its gradient beside a vectorised TensorFlow formulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from fslcore import ops
from fslcore.bench import Comparison
from fslcore.bench.timing import compare
from fslcore.ops import reference

Loss = Callable[..., Any]


def cases(quick: bool) -> Iterator[Comparison]:
    """Four samples per class as in P x K batches, and ten classes as in ordinary classification batches."""
    for batch, classes in [(128, 32)] if quick else [(256, 64), (1024, 256), (4096, 1024), (4096, 10)]:
        yield Comparison(
            f"triplet_semihard {batch}, dim 128, {classes} classes, loss + gradient",
            compare(
                {
                    "fslcore, graph": _step(ops.triplet_semihard, batch, classes),
                    "fslcore, XLA": _step(ops.triplet_semihard, batch, classes, jit=True),
                    "TensorFlow, sorted, graph": _step(reference.triplet_semihard, batch, classes),
                },
                rounds=5,
            ),
        )
    if not quick:
        yield Comparison(
            "triplet_semihard 32768, dim 128, 8192 classes, loss + gradient",
            compare({"fslcore, graph": _step(ops.triplet_semihard, 32768, 8192)}, rounds=3),
        )


def _step(loss: Loss, batch: int, classes: int, *, jit: bool = False) -> Callable[[], None]:
    generator = np.random.default_rng(0)
    x = tf.constant(generator.normal(size=(batch, 128)), tf.float32)
    labels = tf.constant(np.arange(batch) % classes, tf.int32)

    @tf.function(jit_compile=jit)
    def loss_and_gradient(x: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = loss(x, labels, margin=1.0, metric="sqeuclidean")
            value = result.loss if isinstance(result, ops.TripletResult) else result
        return value, tape.gradient(value, x)

    def call() -> None:
        value, gradient = loss_and_gradient(x, labels)
        value.numpy()
        gradient.numpy()

    return call
