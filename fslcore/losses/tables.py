# SPDX-License-Identifier: MIT
"""Losses that compare embeddings with a trainable row for each class: ProxyAnchor and ArcFace."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.arguments import ArgumentError, as_float, as_int64, check_at_least
from fslcore.labels import labelled_embeddings, nan_if_wrong
from fslcore.losses.loss_layer import LossLayer
from fslcore.losses.pairs import mean_where
from fslcore.pair_terms import PairTerm
from fslcore.replicas import refuse_replicas
from fslcore.tensors import real
from fslcore.xla import refuse_missing_kernels

Tensor = Any


def proxy_anchor_loss(
    y_true: Tensor, y_pred: Tensor, proxies: Tensor, alpha: float = 32.0, margin: float = 0.1
) -> Tensor:
    """The proxy anchor loss (Kim et al., CVPR 2020, eq. 4).

    log(1 + sum of exp(-alpha (S - margin)) over the samples of a proxy's class), averaged over the proxies
    whose class is in the batch, and log(1 + sum of exp(alpha (S + margin)) over the other samples), averaged
    over all proxies; S the cosine similarity. The matrix of classes and samples is not held.

    Args:
        y_true: Class ids from 0 to classes - 1, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings.
        proxies: [classes, dim]; differentiable.
        alpha: Above 0.
        margin: A difference of similarities.

    Returns:
        float32 scalar; 0 for an empty batch. NaN for a class without a proxy.
    """
    refuse_missing_kernels("a loss over pairs")
    refuse_replicas("the loss proxy_anchor_loss")
    alpha, margin = as_float("alpha", alpha), as_float("margin", margin)
    embeddings, ids, proxies, classes = _with_table(y_true, y_pred, proxies)
    # S = 1 - distance.
    terms = (
        PairTerm("positive", "linear", "logsumexp", alpha, alpha * (margin - 1.0)),
        PairTerm("negative", "linear", "logsumexp", -alpha, alpha * (margin + 1.0)),
    )
    reduced = ops.pair_reductions(proxies, classes, terms, embeddings, ids, "cosine")
    of_positives, of_negatives = tf.unstack(tf.math.softplus(reduced.values))
    is_present = reduced.counts[0] > 0.0
    loss = mean_where(of_positives, is_present) + mean_where(of_negatives, tf.ones_like(is_present))
    return nan_if_wrong(loss + _nan_outside(ids, classes), y_true)


def arcface_loss(
    y_true: Tensor, y_pred: Tensor, centres: Tensor, scale: float = 64.0, margin: float = 0.5
) -> Tensor:
    """The additive angular margin loss (Deng et al., "ArcFace", CVPR 2019, eq. 3).

    The cross-entropy of the class among scale * cos(angle to each class's centre), where the angle to the own
    centre is made greater by the margin; beyond pi - margin the cosine less margin * sin(margin) takes its
    place, so that the loss keeps falling with the angle. The [batch, classes] matrix is not held.

    Args:
        y_true: Class ids from 0 to classes - 1, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings.
        centres: [classes, dim]; differentiable.
        scale: Above 0.
        margin: An angle, from 0 to pi / 2.

    Returns:
        float32 scalar, the mean over the batch; 0 for an empty one. NaN for a class without a centre.
    """
    refuse_missing_kernels("a loss over pairs")
    refuse_replicas("the loss arcface_loss")
    scale, margin = as_float("scale", scale), as_float("margin", margin)
    if not 0.0 <= margin <= math.pi / 2:
        raise ArgumentError("margin", "must be from 0 to pi / 2", margin)
    embeddings, ids, centres, classes = _with_table(y_true, y_pred, centres)
    terms = (
        PairTerm("negative", "linear", "logsumexp", -scale, scale),
        PairTerm("positive", "linear", "sum", -1.0, 1.0),  # the cosine to the own centre
    )
    others, cosine = tf.unstack(
        ops.pair_reductions(embeddings, ids, terms, centres, classes, "cosine").values
    )
    sine = tf.sqrt(tf.maximum(1.0 - tf.square(cosine), 1e-12))
    turned = cosine * math.cos(margin) - sine * math.sin(margin)
    own = scale * tf.where(cosine > -math.cos(margin), turned, cosine - margin * math.sin(margin))
    loss = mean_where(tf.math.softplus(others - own), tf.ones_like(ids, tf.bool))
    return nan_if_wrong(loss + _nan_outside(ids, classes), y_true)


def _with_table(y_true: Tensor, y_pred: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    embeddings, ids = labelled_embeddings(y_true, y_pred, as_given=True)
    table = real("table", table)
    return embeddings, ids, table, tf.range(tf.shape(table, tf.int64)[0])


def _nan_outside(ids: Tensor, classes: Tensor) -> Tensor:
    is_known = (ids >= 0) & (ids < tf.shape(classes, tf.int64)[0])
    return tf.where(tf.reduce_all(is_known), 0.0, float("nan"))


class TableLoss(LossLayer):
    """A loss with a trainable row for each class: see `LossLayer`.

    Args:
        classes: Number of classes.
        options: The arguments of the function, which become the config.
    """

    def __init__(self, classes: int, name: str | None, **options: Any) -> None:
        super().__init__(name)
        self.classes = as_int64("classes", classes)
        check_at_least("classes", self.classes, 1)
        self._options = {key: as_float(key, value) for key, value in options.items()}

    def build(self, input_shape: Any) -> None:
        """Makes the rows."""
        shape = (self.classes, input_shape[0][-1])
        self.table = self.add_weight(name="table", shape=shape, initializer="he_normal")

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"classes": self.classes, "name": self.name, **self._options}


@keras.saving.register_keras_serializable(package="fslcore")
class ProxyAnchor(TableLoss):
    """`proxy_anchor_loss` with its own proxies, as a layer: see `TableLoss`.

    Args:
        classes: Number of classes.
        alpha: Above 0.
        margin: A difference of similarities.
        name: Name of the layer.
    """

    def __init__(
        self, classes: int, alpha: float = 32.0, margin: float = 0.1, name: str | None = None
    ) -> None:
        super().__init__(classes, name, alpha=alpha, margin=margin)

    def loss(self, labels: Tensor, embeddings: Tensor) -> Tensor:
        """The loss of class ids and embeddings."""
        return proxy_anchor_loss(labels, embeddings, tf.convert_to_tensor(self.table), **self._options)


@keras.saving.register_keras_serializable(package="fslcore")
class ArcFace(TableLoss):
    """`arcface_loss` with its own centres, as a layer: see `TableLoss`.

    Args:
        classes: Number of classes.
        scale: Above 0.
        margin: An angle, from 0 to pi / 2.
        name: Name of the layer.
    """

    def __init__(
        self, classes: int, scale: float = 64.0, margin: float = 0.5, name: str | None = None
    ) -> None:
        super().__init__(classes, name, scale=scale, margin=margin)

    def loss(self, labels: Tensor, embeddings: Tensor) -> Tensor:
        """The loss of class ids and embeddings."""
        return arcface_loss(labels, embeddings, tf.convert_to_tensor(self.table), **self._options)
