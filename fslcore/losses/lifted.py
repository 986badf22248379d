# SPDX-License-Identifier: MIT
"""The lifted structure loss of embeddings: a drop-in replacement for that of TensorFlow Addons."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_float
from fslcore.labels import nan_if_wrong
from fslcore.losses.pairs import PairsLoss, References, in_order_of_classes, reduce_pairs, refuse_function
from fslcore.pair_terms import PairTerm

Tensor = Any


@keras.saving.register_keras_serializable(package="fslcore")
def lifted_struct_loss(y_true: Tensor, y_pred: Tensor, margin: float = 1.0) -> Tensor:
    """The lifted structure loss (Song et al., CVPR 2016, eq. 4), without the matrix of distances.

    For each pair (i, j) of one class J = D[i, j] + log(sum of exp(margin - D[i, k]) over the negatives k of i
    + the same of j); the loss is the mean of max(J, 0)^2 / 2.

    Args:
        y_true: Class ids, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings, compared by their Euclidean distances.
        margin: In units of the distance.

    Returns:
        float32 scalar; 0 if no two samples share a class, or all do.
    """
    refuse_function("lifted_struct_loss", "LiftedStructLoss")
    return _lifted(y_true, y_pred, margin)


def _lifted(y_true: Tensor, y_pred: Tensor, margin: float, references: References | None = None) -> Tensor:
    if references is not None:
        raise ArgumentError(
            "loss", "must compare samples with references one by one", described="LiftedStructLoss"
        )
    margin = as_float("margin", margin)
    ids, embeddings = in_order_of_classes(y_true, y_pred)
    negatives = PairTerm("negative", "linear", "logsumexp", scale=-1.0, offset=margin)
    repulsion = reduce_pairs(ids, embeddings, [negatives], "euclidean").values
    positives = PairTerm("positive", "lifted", "sum")
    reduced = reduce_pairs(ids, embeddings, [positives], "euclidean", levels=repulsion)
    loss = 0.5 * tf.math.divide_no_nan(tf.reduce_sum(reduced.values), tf.reduce_sum(reduced.counts))
    return nan_if_wrong(loss, y_true)


@keras.saving.register_keras_serializable(package="fslcore")
class LiftedStructLoss(PairsLoss):
    """`lifted_struct_loss` of embeddings, with name, arguments and values of the TensorFlow Addons class.

    Where no two samples share a class, that class returns NaN and this one 0. Gradients at distance 0 are 0.

    Args:
        margin: In units of the distance.
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.
    """

    function = staticmethod(_lifted)

    def __init__(
        self,
        margin: float = 1.0,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        super().__init__(name, reduction, margin=as_float("margin", margin))
