# SPDX-License-Identifier: MIT
"""The twins of `pair_reductions` and `pair_sums`, for small batches: they hold the matrix of the pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fslcore.pair_terms import NO_LABEL, PairReductions, PairSums, PairTerm, check_sums, check_terms
from fslcore.tensors import real
from fslcore.twins.pairwise import pairwise

Tensor = Any


def pair_reductions(
    x: Tensor,
    labels: Tensor,
    terms: Sequence[PairTerm],
    y: Tensor | None = None,
    y_labels: Tensor | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: Tensor | None = None,
    levels: Tensor | None = None,
    leading: bool = False,
) -> PairReductions:
    """The numbers of `fslcore.kernels.pair_reductions`, differentiable any number of times."""
    terms = check_terms(terms, metric, y is not None, y_labels is not None, weights is not None, leading)
    metrics, groups = _pairs(real("x", x), labels, y, y_labels, metric, weights, leading)
    levels = None if levels is None else real("levels", levels)
    reduced = [
        _reduced(term, metrics, groups[term.pairs], None if levels is None else levels[i])
        for i, term in enumerate(terms)
    ]
    return PairReductions(*(tf.stack(parts) for parts in zip(*reduced, strict=True)))


def pair_sums(
    x: Tensor,
    labels: Tensor,
    terms: Sequence[PairTerm],
    y: Tensor | None = None,
    y_labels: Tensor | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: Tensor | None = None,
    levels: Tensor | None = None,
    leading: bool = False,
    factors: Sequence[Tensor] | None = None,
) -> PairSums:
    """The numbers of `fslcore.kernels.pair_sums`; `total` is differentiable any number of times."""
    factors = check_sums(terms, factors)
    terms = check_terms(terms, metric, y is not None, y_labels is not None, weights is not None, leading)
    x = real("x", x)
    none = tf.zeros([0, tf.shape(x)[1]])
    sources = (x, none if y is None else real("y", y), _levels(levels, x))

    def total_and_counts(x: Tensor, y: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        metrics, groups = _pairs(x, labels, None if y is none else y, y_labels, metric, weights, leading)
        total, counts = tf.constant(0.0), []
        for term, factor in zip(terms, factors, strict=False):
            t = (term.scale * metrics + term.offset)[None]
            t = t if levels.shape[0] == 0 else t - levels[:, :, None]
            value = tf.where(groups[term.pairs][None], _FUNCTIONS[term.function](term, t), 0.0)
            total += factor * tf.reduce_sum(value)
            counts.append(tf.math.count_nonzero(groups[term.pairs], dtype=tf.float32))
        return total, tf.stack(counts)

    with tf.GradientTape() as tape:
        tape.watch(sources)
        total, counts = total_and_counts(*sources)
    dx, dy, dlevels = tape.gradient(total, sources, unconnected_gradients="zero")
    return PairSums(total, counts, -dlevels, dx, dy)


def _levels(levels: Tensor | None, x: Tensor) -> Tensor:
    return tf.zeros([0, tf.shape(x)[0]]) if levels is None else real("levels", levels)


def _pairs(
    x: Tensor,
    labels: Tensor,
    y: Tensor | None,
    y_labels: Tensor | None,
    metric: str,
    weights: Tensor | None,
    leading: bool,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The metrics of all pairs, and which of them are of a group."""
    labels = tf.cast(labels, tf.int64)
    is_batch = y is None
    y, y_labels = (x, labels) if is_batch else (real("y", y), tf.cast(y_labels, tf.int64))
    metrics = pairwise(x, y, metric, weights=weights)
    exist = (labels != NO_LABEL)[:, None] & (y_labels != NO_LABEL)[None, :]
    if is_batch or leading:
        exist &= tf.range(tf.shape(x)[0])[:, None] != tf.range(tf.shape(y)[0])[None, :]
    same = labels[:, None] == y_labels[None, :]
    return metrics, {"all": exist, "positive": exist & same, "negative": exist & ~same}


def _reduced(
    term: PairTerm, metrics: Tensor, counts: Tensor, level: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    t = term.scale * metrics + term.offset
    if term.function == "lifted":
        u = real("levels", level)
        value = tf.square(_positive(t + _log_of_sum(u[:, None], u[None, :])))
    else:
        if level is not None:
            counts &= level[:, None] < t
        value = _FUNCTIONS[term.function](term, t)
    number = tf.math.count_nonzero(counts, axis=1, dtype=tf.float32)
    has_nan = tf.reduce_any(counts & tf.math.is_nan(value), axis=1)
    none = tf.fill(tf.shape(number), -1)
    if term.reduction == "sum":
        return tf.reduce_sum(tf.where(counts, value, 0.0), axis=1), none, number
    if term.reduction == "logsumexp":
        return tf.where(has_nan, float("nan"), _log_of_exponentials(value, counts)), none, number
    sign = 1.0 if term.reduction == "max" else -1.0
    candidates = tf.where(counts & (value == value), sign * value, -float("inf"))
    padded = tf.pad(candidates, [[0, 0], [0, 1]], constant_values=-float("inf"))  # a row may have no columns
    best, index = tf.reduce_max(padded, axis=1), tf.argmax(padded, axis=1, output_type=tf.int32)
    index = tf.where(best == -float("inf"), -1, index)
    return tf.where(has_nan, float("nan"), sign * best), index, number


def _log_of_exponentials(value: Tensor, counts: Tensor) -> Tensor:
    value = tf.where(counts, value, -float("inf"))
    largest = tf.stop_gradient(tf.reduce_max(value, axis=1, keepdims=True))
    is_empty = ~tf.reduce_any(counts, axis=1)
    shift = tf.where(tf.math.is_finite(largest), largest, 0.0)
    # The inner `where` keeps the slope at no pair out of the gradient.
    sums = tf.reduce_sum(tf.where(counts, tf.exp(tf.where(counts, value - shift, 0.0)), 0.0), axis=1)
    return tf.where(is_empty, -float("inf"), tf.math.log(tf.where(is_empty, 1.0, sums)) + shift[:, 0])


def _positive(t: Tensor) -> Tensor:
    # Not tf.maximum, which may turn NaN into 0; slope 0 at 0.
    return tf.where(t <= 0.0, 0.0, t)


def _log_of_sum(u: Tensor, v: Tensor) -> Tensor:
    u, v = u + tf.zeros_like(v), v + tf.zeros_like(u)
    is_equal = u == v  # both may be -inf
    apart = tf.where(is_equal, 0.0, u) - tf.where(is_equal, 0.0, v)
    unequal = tf.where(u > v, u, v) + tf.math.softplus(-tf.abs(apart))
    return tf.where(is_equal, 0.5 * (u + v) + tf.math.log(2.0), unequal)


_FUNCTIONS: dict[str, Callable[[PairTerm, Tensor], Tensor]] = {
    "linear": lambda _, t: t,
    "hinge": lambda _, t: _positive(t),
    "squared_hinge": lambda _, t: tf.square(_positive(t)),
    "softplus": lambda _, t: tf.math.softplus(t),
    "circle": lambda term, t: term.gain * tf.stop_gradient(_positive(t)) * (t - term.shift),
}
