# SPDX-License-Identifier: MIT
"""Losses over pairs as their papers and libraries write them in TensorFlow: with the matrix of all pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Tensor = Any


def _pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs are of one class, and which of two; float32 [size, size] without the diagonal."""
    same = labels[:, None] == labels[None, :]
    positive = tf.linalg.set_diag(tf.cast(same, tf.float32), tf.zeros(tf.shape(labels)[0]))
    return positive, tf.cast(~same, tf.float32)


def _cosines(x: Tensor, y: Tensor | None = None) -> Tensor:
    unit = tf.math.l2_normalize(x, axis=1)
    other = unit if y is None else tf.math.l2_normalize(y, axis=1)
    return tf.matmul(unit, other, transpose_b=True)


def _distances(x: Tensor) -> Tensor:
    squares = tf.reduce_sum(tf.square(x), axis=1)
    square = squares[:, None] - 2.0 * tf.matmul(x, x, transpose_b=True) + squares
    positive = square > 0.0
    return tf.where(positive, tf.sqrt(tf.where(positive, square, 1.0)), 0.0)


def _log_sum(values: Tensor, counts: Tensor) -> Tensor:
    return tf.reduce_logsumexp(tf.where(counts > 0.0, values, -1e30), axis=1)


def info_nce(x: Tensor, labels: Tensor) -> Tensor:
    """As SimCLR and the supervised contrastive loss are published, at temperature 0.1."""
    positive, negative = _pairs(labels)
    logits = 10.0 * _cosines(x)
    of_positives = tf.reduce_sum(positive * logits, axis=1) / tf.reduce_sum(positive, axis=1)
    return tf.reduce_mean(_log_sum(logits, positive + negative) - of_positives)


def soft_nearest(x: Tensor, labels: Tensor) -> Tensor:
    """As published, at temperature 20 and of squared distances."""
    positive, negative = _pairs(labels)
    logits = -tf.square(_distances(x)) / 20.0
    return tf.reduce_mean(_log_sum(logits, positive + negative) - _log_sum(logits, positive))


def contrastive(x: Tensor, labels: Tensor) -> Tensor:
    """As TensorFlow Addons has it of distances, of all pairs, at margin 16."""
    positive, negative = _pairs(labels)
    distances = _distances(x)
    terms = positive * tf.square(distances) + negative * tf.square(tf.maximum(16.0 - distances, 0.0))
    return tf.reduce_sum(terms) / tf.reduce_sum(positive + negative)


def pair_crossentropy(x: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy of a tenth of the products."""
    positive, negative = _pairs(labels)
    logits = 0.1 * tf.matmul(x, x, transpose_b=True)
    terms = (positive + negative) * tf.nn.sigmoid_cross_entropy_with_logits(positive, logits)
    return tf.reduce_sum(terms) / tf.reduce_sum(positive + negative)


def lifted(x: Tensor, labels: Tensor) -> Tensor:
    """As TensorFlow Addons has it, at margin 1."""
    positive, negative = _pairs(labels)
    distances = _distances(x)
    repulsion = tf.reduce_sum(negative * tf.exp(1.0 - distances), axis=1)
    terms = tf.math.log(repulsion[:, None] + repulsion) + distances
    return 0.5 * tf.reduce_sum(positive * tf.square(tf.maximum(terms, 0.0))) / tf.reduce_sum(positive)


def multi_similarity(x: Tensor, labels: Tensor) -> Tensor:
    """As TensorFlow Similarity has it, with the mining of the paper."""
    positive, negative = _pairs(labels)
    cosines = _cosines(x)
    least = tf.reduce_min(tf.where(positive > 0.0, cosines, 1e30), axis=1, keepdims=True)
    most = tf.reduce_max(tf.where(negative > 0.0, cosines, -1e30), axis=1, keepdims=True)
    hard = positive * tf.cast(cosines < tf.stop_gradient(most) + 0.1, tf.float32)
    near = negative * tf.cast(cosines > tf.stop_gradient(least) - 0.1, tf.float32)
    of_positives = tf.math.log1p(tf.reduce_sum(hard * tf.exp(-2.0 * (cosines - 0.5)), axis=1)) / 2.0
    of_negatives = tf.math.log1p(tf.reduce_sum(near * tf.exp(50.0 * (cosines - 0.5)), axis=1)) / 50.0
    return tf.reduce_mean(of_positives + of_negatives)


def circle(x: Tensor, labels: Tensor) -> Tensor:
    """As TensorFlow Similarity has it, at gamma 80 and margin 0.4."""
    positive, negative = _pairs(labels)
    cosines = _cosines(x)
    of_positives = tf.stop_gradient(tf.maximum(1.4 - cosines, 0.0)) * (cosines - 0.6)
    of_negatives = tf.stop_gradient(tf.maximum(cosines + 0.4, 0.0)) * (cosines - 0.4)
    both = _log_sum(-80.0 * of_positives, positive) + _log_sum(80.0 * of_negatives, negative)
    return tf.reduce_mean(tf.math.softplus(both))


def all_triplets(x: Tensor, labels: Tensor) -> Tensor:
    """As Hermans et al. have it, of cosine distances at margin 0.2: [size, size, size] terms."""
    positive, negative = _pairs(labels)
    distances = 1.0 - _cosines(x)
    terms = tf.maximum(distances[:, :, None] - distances[:, None, :] + 0.2, 0.0)
    terms *= positive[:, :, None] * negative[:, None, :]
    return tf.reduce_sum(terms) / tf.math.count_nonzero(terms, dtype=tf.float32)


def siglip(x: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG001
    """As published, with the rows of `x` in the opposite order as the other side."""
    logits = 10.0 * _cosines(x, tf.reverse(x, [0])) - 10.0
    matching = 2.0 * tf.eye(tf.shape(x)[0]) - 1.0
    return -tf.reduce_sum(tf.math.log_sigmoid(matching * logits)) / tf.cast(tf.shape(x)[0], tf.float32)


def npairs(x: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG001
    """As TensorFlow Addons has it, with the rows of `x` in the opposite order as the positives."""
    logits = tf.matmul(x, tf.reverse(x, [0]), transpose_b=True)
    rows = tf.range(tf.shape(x)[0])
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(rows, logits))


DENSE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "InfoNCE": info_nce,
    "soft nearest neighbours": soft_nearest,
    "contrastive": contrastive,
    "pair cross-entropy": pair_crossentropy,
    "lifted structure": lifted,
    "multi-similarity": multi_similarity,
    "circle": circle,
    "all triplets of 3 positives": all_triplets,
    "SigLIP": siglip,
    "N-pairs": npairs,
}
