# SPDX-License-Identifier: MIT
"""The data of a triplet benchmark, and the loss with its gradient by our kernel and ops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fslcore import kernels, ops
from fslcore.bench.comparison import Entry

Tensor = Any

MARGIN = 1.0


@dataclass(frozen=True)
class Batch:
    """Normal embeddings and labels that take turns.

    Attributes:
        size: Rows.
        dim: Columns.
        classes: How many.
    """

    size: int
    dim: int
    classes: int

    @cached_property
    def x(self) -> npt.NDArray[np.float32]:
        """[size, dim]."""
        return np.random.default_rng(0).normal(size=(self.size, self.dim)).astype(np.float32)

    @cached_property
    def labels(self) -> npt.NDArray[np.int32]:
        """[size]."""
        return np.arange(self.size, dtype=np.int32) % self.classes

    @property
    def pairs(self) -> int:
        """Ordered pairs of two rows of one class."""
        sizes = np.bincount(self.labels)
        return int((sizes * (sizes - 1)).sum())

    @property
    def triplets(self) -> int:
        """Pairs times the rows of other classes."""
        sizes = np.bincount(self.labels).astype(np.int64)
        return int((sizes * (sizes - 1) * (self.size - sizes)).sum())


def our_entries(batch: Batch, mining: str = "semihard") -> dict[str, Entry]:
    """The NumPy kernel and the op."""

    def kernel() -> list[Any]:
        result = kernels.triplet_loss(batch.x, batch.labels, mining, MARGIN)
        return [result.loss, result.grad]

    def op(x: Tensor, labels: Tensor) -> Tensor:
        return ops.triplet_loss(x, labels, mining, MARGIN).loss

    return {
        "fslcore, NumPy": Entry(kernel),
        "fslcore, graph": Entry(graph_call(op, batch)),
        "fslcore, XLA": Entry(graph_call(op, batch, jit=True)),
    }


def graph_call(loss: Callable[..., Tensor], batch: Batch, *, jit: bool = False) -> Callable[[], list[Any]]:
    """A call that returns the loss and its gradient, computed as one graph."""
    x, labels = tf.constant(batch.x), tf.constant(batch.labels)

    @tf.function(jit_compile=jit)
    def loss_and_gradient(x: Tensor, labels: Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x, labels)
        return value, tape.gradient(value, x)

    return lambda: [tensor.numpy() for tensor in loss_and_gradient(x, labels)]
