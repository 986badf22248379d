# SPDX-License-Identifier: MIT
"""Watches that a training can learn something: a loss of 0 may come from batches that compare nothing."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import tensorflow as tf


class Watch(keras.callbacks.Callback):
    """Counts the batches of an epoch from which nothing can be learnt, and warns of them once per `fit`.

    The counters are no metrics of the model: `evaluate` and `train_on_batch` return what they did without
    them. What is counted is in the history of `fit`.

    Args:
        cause: how the warning says what such a batch lacks.
        name: where the history has the share of the samples that can teach something; None: nowhere.
    """

    def __init__(self, cause: str, name: str | None = None) -> None:
        super().__init__()
        self.cause, self.name = cause, name
        # Updated once per batch: the share of its samples, whether there are any, whether it has a loss.
        self.samples, self.batches, self.losses = (keras.metrics.Mean() for _ in range(3))
        self.warned = self.has_had_loss = False

    def update(self, share: tf.Tensor | None, loss: tf.Tensor | None) -> None:
        """Counts a batch.

        Args:
            share: 0 to 1, of the samples that can teach something; None: unknown.
            loss: that of its triplets; None: it has none, or layers add to it.
        """
        if share is not None:
            self.samples.update_state(share)
            self.batches.update_state(tf.cast(share > 0, tf.float32))
        if loss is not None:
            self.losses.update_state(tf.cast(loss != 0, tf.float32))

    def begin(self) -> None:
        """A call of `fit` begins, which may warn once."""
        self.warned = self.has_had_loss = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Forgets the last epoch."""
        for metric in (self.samples, self.batches, self.losses):
            metric.reset_state()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the shares of the epoch to the logs, and warns."""
        logs = {} if logs is None else logs
        counted, with_loss = _number(self.batches.count), _number(self.losses.count)
        if counted and self.name is not None:
            logs[self.name] = _number(self.samples.result())
        if with_loss:
            logs["active_batches"] = active = _number(self.losses.result())
            # A loss that has become 0 was learnt; one that always was is that of nothing.
            self.has_had_loss |= active > 0
        useless = round(counted * (1 - _number(self.batches.result())))
        if useless:
            self.warn(f"in {useless} of the {counted:.0f} batches of epoch {epoch + 1} {self.cause}")
        elif with_loss and not self.has_had_loss:
            self.warn(
                f"the loss was 0 in all batches of epoch {epoch + 1}: no triplet violated the margin, and "
                "nothing was learnt (a larger margin, another mining or more classes per batch may help)"
            )

    def warn(self, message: str) -> None:
        """Warns, unless this call of `fit` has done so."""
        if not self.warned:
            self.warned = True
            warnings.warn(message, stacklevel=2)


def _number(value: Any) -> float:
    """The value of a variable or a tensor, over all replicas of a strategy."""
    return float(tf.convert_to_tensor(value))
