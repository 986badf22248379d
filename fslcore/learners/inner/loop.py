# SPDX-License-Identifier: MIT
"""What an inner loop takes and returns."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import tensorflow as tf

Tensors = list[Any]


class Snapshot(NamedTuple):
    """A classifier at one moment of an inner loop, as tensors; for several tasks with one more axis before.

    Attributes:
        weights: the trainable variables of the network.
        state: its other variables: moving averages and the seeds of random layers.
        memory: the state of the inner optimizer.
    """

    weights: Tensors
    state: Tensors
    memory: Tensors


class Fitted(NamedTuple):
    """The result of an inner loop.

    Attributes:
        end: the classifier after the last step.
        losses: the loss before each step.
        logits: the logits `[batch, n_way]` before the last step.
    """

    end: Snapshot
    losses: Any
    logits: tf.Tensor


class InnerLoop(Protocol):
    """Fits a classifier to one task; `GraphLoop` and `CompiledLoop` implement it."""

    def fit(
        self, start: Snapshot, images: tf.Tensor, labels: tf.Tensor, order: tf.Tensor, context: Any = None
    ) -> Snapshot:
        """Descends step by step on mini-batches of the task.

        Args:
            start: the classifier before the first step.
            images: `[n, H, W, C]`.
            labels: `[n]`, 0 to n_way - 1.
            order: int32 `[steps, batch]`, the images of each step.
            context: what the loss needs beside images and labels.

        Returns:
            The classifier after the last step.
        """
