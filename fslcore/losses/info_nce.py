# SPDX-License-Identifier: MIT
"""InfoNCE, NT-Xent and the supervised contrastive loss, one formula; and the soft nearest neighbours."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_float, check_one_of
from fslcore.losses.pairs import PairsLoss, References, mean_where, reduce_pairs, refuse_function
from fslcore.pair_terms import PairTerm

Tensor = Any

_SIMILARITIES = {
    "cosine": (-1.0, 1.0),
    "dot": (1.0, 0.0),
    "sqeuclidean": (-1.0, 0.0),
    "euclidean": (-1.0, 0.0),
}


@keras.saving.register_keras_serializable(package="fslcore")
def info_nce_loss(y_true: Tensor, y_pred: Tensor, temperature: float = 0.1, metric: str = "cosine") -> Tensor:
    """The cross-entropy of finding the positives of each sample among all others of its batch.

    -s(i, p) / temperature + log of the sum over k != i of exp(s(i, k) / temperature), its mean over the
    positives p of i, then over the samples i that have one. With two views of each image under one label it
    is NT-Xent (Chen et al., "SimCLR", 2020, eq. 1), with classes the supervised contrastive loss (Khosla et
    al., 2020, eq. 2).

    Args:
        y_true: Class ids, [batch] or [batch, 1]; of views the number of the image.
        y_pred: [batch, dim] embeddings.
        temperature: Above 0.
        metric: What s is: "cosine", the cosine of the angle; "dot", the product; "sqeuclidean" or
            "euclidean", the negative distance.

    Returns:
        float32 scalar; 0 if no two samples share a class.

    Raises:
        ValueError: For an unknown metric, or labels that are not one class id per sample.
    """
    refuse_function("info_nce_loss", "InfoNCELoss")
    return _info_nce(y_true, y_pred, temperature, metric)


def _terms(temperature: float, metric: str) -> tuple[float, float]:
    """Scale and offset that make s / temperature of the metric."""
    check_one_of("metric", metric, tuple(_SIMILARITIES))
    temperature = as_float("temperature", temperature)
    if temperature <= 0.0:
        raise ArgumentError("temperature", "must be above 0", temperature)
    scale, offset = _SIMILARITIES[metric]
    return scale / temperature, offset / temperature


def _info_nce(
    y_true: Tensor, y_pred: Tensor, temperature: float, metric: str, references: References | None = None
) -> Tensor:
    by = _terms(temperature, metric)
    terms = (PairTerm("all", "linear", "logsumexp", *by), PairTerm("positive", "linear", "sum", *by))
    reduced = reduce_pairs(y_true, y_pred, terms, metric, references=references)
    (log_sum, total), count = tf.unstack(reduced.values), reduced.counts[1]
    return mean_where(log_sum - tf.math.divide_no_nan(total, count), count > 0.0)


@keras.saving.register_keras_serializable(package="fslcore")
def soft_nearest_neighbor_loss(
    y_true: Tensor, y_pred: Tensor, temperature: float = 1.0, metric: str = "sqeuclidean"
) -> Tensor:
    """-log of the share that positives have in the sum of exp(-d / temperature) over all others.

    Frosst, Papernot and Hinton, "Analyzing and Improving Representations with the Soft Nearest Neighbor
    Loss" (2019), eq. 1; the mean over the samples that have a positive.

    Args:
        y_true: Class ids, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings.
        temperature: Above 0.
        metric: As for `info_nce_loss`.

    Returns:
        float32 scalar; 0 if no two samples share a class.
    """
    refuse_function("soft_nearest_neighbor_loss", "SoftNearestNeighborLoss")
    return _soft_nearest(y_true, y_pred, temperature, metric)


def _soft_nearest(
    y_true: Tensor, y_pred: Tensor, temperature: float, metric: str, references: References | None = None
) -> Tensor:
    by = _terms(temperature, metric)
    terms = (PairTerm("all", "linear", "logsumexp", *by), PairTerm("positive", "linear", "logsumexp", *by))
    reduced = reduce_pairs(y_true, y_pred, terms, metric, references=references)
    has_positive = reduced.counts[1] > 0.0
    of_all, of_positives = tf.unstack(tf.where(has_positive[None], reduced.values, 0.0))
    return mean_where(of_all - of_positives, has_positive)


class _OfSimilarities(PairsLoss):
    def __init__(
        self, temperature: float, metric: str, name: str | None = None, reduction: str | None = None
    ) -> None:
        _terms(temperature, metric)
        super().__init__(name, reduction, temperature=as_float("temperature", temperature), metric=metric)


@keras.saving.register_keras_serializable(package="fslcore")
class InfoNCELoss(_OfSimilarities):
    """`info_nce_loss` of embeddings.

    Args:
        temperature: Above 0.
        metric: As for `info_nce_loss`.
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.
    """

    function = staticmethod(_info_nce)

    def __init__(
        self,
        temperature: float = 0.1,
        metric: str = "cosine",
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        super().__init__(temperature, metric, name, reduction)


@keras.saving.register_keras_serializable(package="fslcore")
class SoftNearestNeighborLoss(_OfSimilarities):
    """`soft_nearest_neighbor_loss` of embeddings.

    Args:
        temperature: Above 0.
        metric: As for `info_nce_loss`.
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.
    """

    function = staticmethod(_soft_nearest)

    def __init__(
        self,
        temperature: float = 1.0,
        metric: str = "sqeuclidean",
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        super().__init__(temperature, metric, name, reduction)
