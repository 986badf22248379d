# SPDX-License-Identifier: MIT
"""N-pairs losses: of a matrix of similarities, as in TensorFlow Addons, and of embeddings without it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.labels import labelled_embeddings, nan_if_wrong, same_class, square_matrix
from fslcore.losses.batch_loss import WholeBatchLoss
from fslcore.losses.pairs import mean_where, refuse_function
from fslcore.pair_terms import PairTerm
from fslcore.replicas import refuse_replicas
from fslcore.tensors import real
from fslcore.xla import refuse_missing_kernels

Tensor = Any


@keras.saving.register_keras_serializable(package="fslcore")
def npairs_loss(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The N-pairs loss of a matrix of similarities (Sohn, NIPS 2016, eq. 5).

    The cross-entropy of each row's softmax with equal shares of its own class, averaged over the rows.

    Args:
        y_true: Class ids, [batch] or [batch, 1], or one-hot rows.
        y_pred: [batch, batch] similarities of anchors and positives, their products for example.

    Returns:
        float32 scalar.
    """
    refuse_function("npairs_loss", "NpairsLoss")
    return _npairs(y_true, y_pred)


def _npairs(y_true: Tensor, y_pred: Tensor) -> Tensor:
    scores = square_matrix(y_pred)
    matching = tf.cast(same_class(y_true, scores), tf.float32)
    return nan_if_wrong(_crossentropy_of_shares(matching, scores), y_true)


@keras.saving.register_keras_serializable(package="fslcore")
def npairs_multilabel_loss(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """`npairs_loss` of samples with several labels each: the shares are the numbers of common labels.

    Args:
        y_true: [batch, labels], 1 where a sample has a label, else 0.
        y_pred: [batch, batch] similarities of anchors and positives.

    Returns:
        float32 scalar; NaN if a sample has no label.
    """
    refuse_function("npairs_multilabel_loss", "NpairsMultilabelLoss")
    return _npairs_multilabel(y_true, y_pred)


def _npairs_multilabel(y_true: Tensor, y_pred: Tensor) -> Tensor:
    scores, labels = square_matrix(y_pred), tf.cast(y_true, tf.float32)
    if labels.shape.rank != 2:
        raise ValueError(f"y_true must be [batch, labels] of 0 and 1, received shape {labels.shape}")
    return _crossentropy_of_shares(tf.matmul(labels, labels, transpose_b=True), scores)


def _crossentropy_of_shares(common: Tensor, scores: Tensor) -> Tensor:
    shares = common / tf.reduce_sum(common, axis=1, keepdims=True)
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=shares, logits=scores))


def npairs_embeddings_loss(y_true: Tensor, anchors: Tensor, positives: Tensor) -> Tensor:
    """`npairs_loss` of the products of anchors and positives, without their matrix.

    Args:
        y_true: Class ids, [batch] or [batch, 1], of each anchor and its positive.
        anchors: [batch, dim] embeddings.
        positives: [batch, dim] embeddings.

    Returns:
        float32 scalar; 0 for an empty batch.
    """
    refuse_missing_kernels("a loss over pairs")
    refuse_replicas("the loss npairs_embeddings_loss")
    rows, ids = labelled_embeddings(y_true, anchors)
    terms = (PairTerm("all", "linear", "logsumexp"), PairTerm("positive", "linear", "sum"))
    reduced = ops.pair_reductions(rows, ids, terms, real("positives", positives), ids, "dot")
    (log_sum, total), count = tf.unstack(reduced.values), reduced.counts[1]
    losses = log_sum - tf.math.divide_no_nan(total, count)
    return nan_if_wrong(mean_where(losses, count > 0.0), y_true)


@keras.saving.register_keras_serializable(package="fslcore")
class NpairsLoss(WholeBatchLoss):
    """`npairs_loss` of a matrix of similarities, with name and values of the TensorFlow Addons class.

    Under a `tf.distribute` strategy it is the mean over replicas: each has the matrix of its own samples.

    Args:
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.
    """

    def __init__(self, name: str | None = "npairs_loss", reduction: str | None = "none") -> None:
        super().__init__(name, reduction)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of labels and similarities."""
        return _npairs(y_true, y_pred)


@keras.saving.register_keras_serializable(package="fslcore")
class NpairsMultilabelLoss(WholeBatchLoss):
    """`npairs_multilabel_loss`, with name and values of the TensorFlow Addons class.

    Args:
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.
    """

    def __init__(self, name: str | None = "npairs_multilabel_loss", reduction: str | None = "none") -> None:
        super().__init__(name, reduction)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of labels and similarities."""
        return _npairs_multilabel(y_true, y_pred)
