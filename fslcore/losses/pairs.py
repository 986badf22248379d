# SPDX-License-Identifier: MIT
"""The base of losses over the pairs of embeddings, [batch, dim], that never hold the matrix of the pairs.

Such a loss is a formula of one or two numbers for each sample, which `fslcore.ops.pair_reductions` makes of
the pairs of the sample, and differentiates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.eager import record  # no public name tells whether a tape listens

from fslcore import ops
from fslcore.labels import labelled_embeddings, nan_if_wrong
from fslcore.losses.batch_loss import LossOfEmbeddings
from fslcore.pair_terms import PairReductions, PairTerm
from fslcore.replicas import refuse_replicas
from fslcore.xla import refuse_missing_kernels

Tensor = Any


class References(NamedTuple):
    """Rows behind those of the batch, with which its samples form pairs too; they have none of their own.

    Attributes:
        embeddings: [rows, dim].
        labels: int64 [rows]; `fslcore.kernels.NO_LABEL` for rows that belong to no pair.
    """

    embeddings: Tensor
    labels: Tensor


def reduce_pairs(
    y_true: Tensor,
    y_pred: Tensor,
    terms: Sequence[PairTerm],
    metric: str,
    *,
    levels: Tensor | None = None,
    references: References | None = None,
    weights: Tensor | None = None,
) -> PairReductions:
    """`ops.pair_reductions` of a batch with itself and what stands behind it, NaN for wrong labels."""
    embeddings, ids, options = _pairs(y_true, y_pred, metric, weights, references)
    reduced = ops.pair_reductions(embeddings, ids, terms, levels=levels, **options)
    return reduced._replace(values=nan_if_wrong(reduced.values, y_true))


def sum_pairs(
    y_true: Tensor,
    y_pred: Tensor,
    terms: Sequence[PairTerm],
    metric: str,
    *,
    references: References | None = None,
    weights: Tensor | None = None,
    factors: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """`total_of_pairs` of a batch with itself and what stands behind it, NaN for wrong labels."""
    embeddings, ids, options = _pairs(y_true, y_pred, metric, weights, references)
    total, counts = total_of_pairs(embeddings, ids, terms, factors=factors, **options)
    return nan_if_wrong(total, y_true), counts


def total_of_pairs(
    x: Tensor,
    labels: Tensor,
    terms: Sequence[PairTerm],
    *,
    factors: Sequence[Tensor] | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Total and counts of `ops.pair_sums`; without its gradient where nothing records what happens.

    Where a tape outside of a graph wants the gradient after all, it is that of `ops.pair_reductions`.
    """
    if record.could_possibly_record():
        sums = ops.pair_sums(x, labels, terms, factors=factors, **options)
        return sums.total, sums.counts
    reduced = ops.pair_reductions(x, labels, terms, **options)
    values, counts = (tf.reduce_sum(part, axis=1) for part in (reduced.values, reduced.counts))
    return tf.reduce_sum(values if factors is None else values * tf.stack(factors)), counts


def _pairs(
    y_true: Tensor, y_pred: Tensor, metric: str, weights: Tensor | None, references: References | None
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Embeddings, labels and options of an op over pairs."""
    refuse_missing_kernels("a loss over pairs")
    embeddings, ids = labelled_embeddings(y_true, y_pred)
    options: dict[str, Any] = {"metric": metric, "weights": weights}
    if references is not None:
        options["y"] = tf.concat([embeddings, references.embeddings], axis=0)
        options["y_labels"] = tf.concat([ids, references.labels], axis=0)
        options["leading"] = True
    return embeddings, ids, options


def in_order_of_classes(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Class ids and embeddings, the samples of a class one after another.

    There, the ops leave out nearly all pairs where they reduce positives alone.
    """
    embeddings, ids = labelled_embeddings(y_true, y_pred)
    order = tf.argsort(ids, stable=True)

    @tf.custom_gradient
    def sorted_rows(rows: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return tf.gather(rows, order), lambda upstream: tf.gather(upstream, tf.argsort(order))

    return tf.gather(ids, order), sorted_rows(embeddings)


def mean_where(values: Tensor, counts: Tensor) -> Tensor:
    """The mean of the values that count; 0, with gradient 0, if none does."""
    total = tf.reduce_sum(tf.where(counts, values, 0.0))
    return tf.math.divide_no_nan(total, tf.math.count_nonzero(counts, dtype=tf.float32))


def refuse_function(function: str, of_class: str) -> None:
    """Refuses several replicas, as Keras would not scale what a function returns."""
    refuse_replicas(f"the function {function}, unlike the class {of_class},")


class PairsLoss(LossOfEmbeddings):
    """A loss over the pairs of embeddings.

    Under a `tf.distribute` strategy the pairs are those of the whole batch, as on one device.

    Args:
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.
        options: The arguments of the function, which become attributes and the config.
    """

    # The loss of labels, embeddings, the options, and by keyword `references`.
    function: Callable[..., Tensor]

    def __init__(self, name: str | None, reduction: str | None, **options: Any) -> None:
        super().__init__(name, reduction)
        self._options = options

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of class ids and embeddings."""
        return self.with_references(y_true, y_pred, None)

    def with_references(self, y_true: Tensor, y_pred: Tensor, references: References | None) -> Tensor:
        """The loss of a batch whose samples also form pairs with `references`."""
        return type(self).function(y_true, y_pred, **self._options, references=references)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), **self._options}
