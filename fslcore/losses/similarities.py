# SPDX-License-Identifier: MIT
"""Losses that weight the pairs of a batch by their cosine similarities: multi-similarity and circle."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_float
from fslcore.labels import nan_if_wrong
from fslcore.losses.pairs import (
    PairsLoss,
    References,
    in_order_of_classes,
    mean_where,
    reduce_pairs,
    refuse_function,
)
from fslcore.pair_terms import PairTerm

Tensor = Any


def _above_zero(**values: Any) -> dict[str, float]:
    numbers = {name: as_float(name, value) for name, value in values.items()}
    for name, number in numbers.items():
        if number <= 0.0:
            raise ArgumentError(name, "must be above 0", number)
    return numbers


@keras.saving.register_keras_serializable(package="fslcore")
def multi_similarity_loss(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: float = 2.0,
    beta: float = 50.0,
    threshold: float = 0.5,
    epsilon: float = 0.1,
) -> Tensor:
    """The multi-similarity loss with its mining (Wang et al., CVPR 2019, eq. 12, 13 and 15).

    log(1 + sum of exp(-alpha (S - threshold)) over positives) / alpha + log(1 + sum of exp(beta (S -
    threshold)) over negatives) / beta, S the cosine similarity, averaged over the samples. A negative counts
    if it is more similar than the least similar positive less `epsilon`; a positive, if it is less similar
    than the most similar negative and `epsilon`.

    Args:
        y_true: Class ids, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings.
        alpha: Above 0.
        beta: Above 0.
        threshold: A similarity.
        epsilon: A difference of similarities.

    Returns:
        float32 scalar; 0 for an empty batch.
    """
    refuse_function("multi_similarity_loss", "MultiSimilarityLoss")
    return _multi_similarity(y_true, y_pred, alpha, beta, threshold, epsilon)


def _multi_similarity(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: float,
    beta: float,
    threshold: float,
    epsilon: float,
    references: References | None = None,
) -> Tensor:
    alpha, beta = _above_zero(alpha=alpha, beta=beta).values()
    threshold, epsilon = as_float("threshold", threshold), as_float("epsilon", epsilon)
    ids, embeddings = in_order_of_classes(y_true, y_pred)

    def reduce(*terms: PairTerm, levels: Tensor | None = None) -> Tensor:
        return reduce_pairs(ids, embeddings, terms, "cosine", levels=levels, references=references).values

    # S = 1 - distance.
    (least,) = tf.unstack(tf.stop_gradient(reduce(PairTerm("positive", "linear", "min", -1.0, 1.0))), num=1)
    levels = tf.stack([beta * (least - epsilon - threshold), tf.fill(tf.shape(least), -float("inf"))])
    push, most = tf.unstack(
        reduce(
            PairTerm("negative", "linear", "logsumexp", -beta, beta * (1.0 - threshold)),
            PairTerm("negative", "linear", "max", -1.0, 1.0),
            levels=levels,
        )
    )
    highest = -alpha * (tf.stop_gradient(most) + epsilon - threshold)
    positives = PairTerm("positive", "linear", "logsumexp", alpha, alpha * (threshold - 1.0))
    (pull,) = tf.unstack(reduce(positives, levels=highest[None]), num=1)
    reduced, levels = tf.stack([pull, push]), tf.stack([highest, levels[0]])
    reduced += tf.where(tf.math.is_nan(levels), levels, 0.0)  # what is NaN is above no level
    losses = tf.math.softplus(reduced) / tf.constant([[alpha], [beta]])
    loss = tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(tf.shape(losses)[1], tf.float32))
    return nan_if_wrong(loss, y_true)


@keras.saving.register_keras_serializable(package="fslcore")
class MultiSimilarityLoss(PairsLoss):
    """`multi_similarity_loss` of embeddings.

    Args:
        alpha: As for `multi_similarity_loss`, like all others.
        beta: Above 0.
        threshold: A similarity.
        epsilon: A difference of similarities.
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.
    """

    function = staticmethod(_multi_similarity)

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        threshold: float = 0.5,
        epsilon: float = 0.1,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        options = {"threshold": as_float("threshold", threshold), "epsilon": as_float("epsilon", epsilon)}
        super().__init__(name, reduction, **_above_zero(alpha=alpha, beta=beta), **options)


@keras.saving.register_keras_serializable(package="fslcore")
def circle_loss(y_true: Tensor, y_pred: Tensor, gamma: float = 80.0, margin: float = 0.4) -> Tensor:
    """The circle loss (Sun et al., CVPR 2020, eq. 4 to 8), of class labels.

    log(1 + sum of exp(gamma a_n (S_n - margin)) over negatives * sum of exp(-gamma a_p (S_p - 1 + margin))
    over positives), a_n = max(S_n + margin, 0) and a_p = max(1 + margin - S_p, 0) constants, S the cosine
    similarity; the mean over the samples that have a positive and a negative.

    Args:
        y_true: Class ids, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings.
        gamma: Above 0.
        margin: A difference of similarities.

    Returns:
        float32 scalar; 0 if no two samples share a class, or all do.
    """
    refuse_function("circle_loss", "CircleLoss")
    return _circle(y_true, y_pred, gamma, margin)


def _circle(
    y_true: Tensor, y_pred: Tensor, gamma: float, margin: float, references: References | None = None
) -> Tensor:
    gamma, margin = _above_zero(gamma=gamma)["gamma"], as_float("margin", margin)
    form = {"gain": gamma, "shift": 2.0 * margin}
    terms = (
        PairTerm("positive", "circle", "logsumexp", 1.0, margin, **form),  # t = 1 + margin - S_p
        PairTerm("negative", "circle", "logsumexp", -1.0, 1.0 + margin, **form),  # t = S_n + margin
    )
    reduced = reduce_pairs(y_true, y_pred, terms, "cosine", references=references)
    has_both = tf.reduce_all(reduced.counts > 0.0, axis=0)
    losses = tf.math.softplus(tf.reduce_sum(tf.where(has_both[None], reduced.values, 0.0), axis=0))
    return mean_where(losses, has_both)


@keras.saving.register_keras_serializable(package="fslcore")
class CircleLoss(PairsLoss):
    """`circle_loss` of embeddings.

    Args:
        gamma: Above 0.
        margin: A difference of similarities.
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.
    """

    function = staticmethod(_circle)

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        super().__init__(name, reduction, **_above_zero(gamma=gamma), margin=as_float("margin", margin))
