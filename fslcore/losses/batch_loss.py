# SPDX-License-Identifier: MIT
"""The bases of the losses: of a batch, of a whole batch as one number, and of its embeddings."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.replicas import gather_batch, share_of_replica

Tensor = Any


class _Reduction(keras.losses.Loss):
    """Keras' own reduction, of values that already are losses."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:  # noqa: ARG002
        return y_pred


class BatchLoss(keras.losses.Loss):
    """A loss in float32 whose labels keep their dtype: keras.losses.Loss would cast them to float32 too."""

    def __init__(self, name: str | None, reduction: str | None) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss of a batch, as for any `keras.losses.Loss`."""
        with tf.name_scope(self.name):
            losses = self.call(y_true, y_pred)
            return _Reduction(self.name, self.reduction, self.dtype)(losses, losses, sample_weight)


class WholeBatchLoss(BatchLoss):
    """A loss of pairs or triplets of samples: one value for a batch, and none for each sample to weight.

    Keras reduces no scalar, so the share of each replica of a `tf.distribute` strategy is taken here.
    """

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss of a batch, as for any `keras.losses.Loss`."""
        if sample_weight is not None:
            raise ArgumentError(
                "sample_weight",
                "must be None, and so must class_weight of fit, as its terms have several samples each",
                described="a weight for each sample",
            )
        return share_of_replica(super().__call__(y_true, y_pred))


class LossOfEmbeddings(WholeBatchLoss):
    """A loss of the embeddings of a batch; under a `tf.distribute` strategy of the whole one."""

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss of a batch, as for any `keras.losses.Loss`."""
        return super().__call__(*gather_batch(y_true, y_pred), sample_weight)
