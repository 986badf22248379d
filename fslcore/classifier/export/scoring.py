# SPDX-License-Identifier: MIT
"""The rules of support sets in plain TensorFlow: embeddings -> scores, as in `fslcore.classifier.rules`.

What a rule needs of the support is kept in variables, with the embeddings of a label side by side: the
prototypes alone for the rule of that name, all embeddings for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fslcore import twins
from fslcore.arguments import ArgumentError
from fslcore.classifier.adapted import Adapted
from fslcore.classifier.rules import ClassMean, Kernel, KNearest, Nearest, Prototype
from fslcore.classifier.state import State
from fslcore.layers import DenseSigmoid
from fslcore.learners import MatchingNetwork, Prototypical, Siamese

Tensor = Any

EXPORTED = "prototype, nearest, k-nearest, class-mean, kernel or adapted"

_VALUES_AT_ONCE = 2**24  # float32 of a comparison: 64 MB


class Scorer(tf.Module):
    """Scores embeddings against a support set that does not change.

    Args:
        rule: The rule of the support set.
        state: The support set, not empty.
        model: The learner or the Keras model, whose kernel a rule may have.

    Raises:
        ArgumentError: The rule is a function of the user's, which no graph can hold.

    Attributes:
        prototypes: float32 [C, D], the mean embedding of each label.
    """

    def __init__(self, rule: Any, state: State, model: Any) -> None:
        super().__init__()
        self.prototypes = _constant(state.prototypes, "prototypes")
        self.rows, self._combine = self.prototypes, None
        if type(rule) is Prototype:
            self._compare = _of_metric(rule.metric)
        elif type(rule) in (Nearest, KNearest, ClassMean):
            self._compare = _of_metric(rule.metric)
            self._combine = {
                Nearest: _best,
                KNearest: lambda values, there: _mean_of_best(values, there, getattr(rule, "k", 1)),
                ClassMean: _mean,
            }[type(rule)]
        elif type(rule) is Kernel:
            self._compare = _of_learner(model)
            self.kernel_variables = _variables_of_kernel(model)
            self._combine = {"mean": _mean, "best": _best, "attention": _attention}[rule.shots]
        elif type(rule) is Adapted:
            network = rule.fitted(state)
            self.network_variables = [variable.value for variable in network.variables]
            self._compare = _by_network(network)
        else:
            raise ArgumentError("rule", f"must be one of {EXPORTED} to be exported", described=repr(rule))
        if self._combine is not None:
            order, starts = state.by_label()
            rows = state.rows if order is None else state.rows[order]
            self.rows = _constant(rows, "rows")
            counts = state.counts
            place = np.arange(counts.max())
            # Behind the last one of a label its first one is repeated.
            there = place < counts[:, np.newaxis]
            self._index = _constant(starts[:, np.newaxis] + np.where(there, place, 0), "index", np.int32)
            self._there = None if there.all() else _constant(there, "there", np.bool_)
        self._values_of_a_query = max(
            state.rows.size if self._combine is not None else state.prototypes.size,
            0 if self._combine is None else self._index.shape.num_elements(),
        )

    def __call__(self, queries: Tensor) -> Tensor:
        """Scores float32 [B, C] of queries float32 [B, D], all at once; larger is nearer."""
        values = self._compare(queries, tf.convert_to_tensor(self.rows))
        if self._combine is None:
            return values
        there = None if self._there is None else tf.convert_to_tensor(self._there)
        return self._combine(tf.gather(values, self._index, axis=1), there)

    def in_blocks(self, queries: Tensor) -> Tensor:
        """The same scores, some queries at a time, so that memory does not grow with the queries."""
        at_once = max(1, _VALUES_AT_ONCE // self._values_of_a_query)
        count = tf.shape(queries)[0]

        def several() -> Tensor:
            blocks = (count + at_once - 1) // at_once
            parts = tf.TensorArray(
                tf.float32, blocks, infer_shape=False, element_shape=(None, self.prototypes.shape[0])
            )
            _, parts = tf.while_loop(
                lambda i, _: i < blocks,
                lambda i, parts: (i + 1, parts.write(i, self(queries[i * at_once : (i + 1) * at_once]))),
                (0, parts),
                parallel_iterations=1,
            )
            return parts.concat()

        return tf.cond(count <= at_once, lambda: self(queries), several)


def _constant(values: Any, name: str, dtype: Any = np.float32) -> tf.Variable:
    return tf.Variable(np.asarray(values, dtype), trainable=False, name=name)


def _of_metric(metric: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Queries [B, D], rows [m, D] -> [B, m], larger is nearer."""
    if metric == "dot":
        return lambda queries, rows: twins.pairwise(queries, rows, "dot")
    return lambda queries, rows: -twins.pairwise(queries, rows, metric)


def _of_learner(model: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """How a learner compares, as `fslcore.classifier.own` has it."""
    if isinstance(model, Prototypical):
        return _of_metric(model.metric)
    if isinstance(model, MatchingNetwork):
        temperature = float(model.temperature)
        return lambda queries, rows: temperature * (1.0 - twins.pairwise(queries, rows, "cosine"))
    assert isinstance(model, Siamese)
    kernel: Any = model.gram.kernel
    sign = 1.0 if model.larger_is_alike else -1.0
    if isinstance(kernel, str):
        return lambda queries, rows: sign * twins.pairwise(queries, rows, kernel)
    if type(kernel) is DenseSigmoid:
        weights = tf.constant(kernel.kernel.numpy())
        bias = 0.0 if kernel.bias is None else float(kernel.bias.numpy())
        return lambda queries, rows: (
            sign
            * twins.pairwise(
                queries, rows, "weighted_manhattan", weights=weights, bias=bias, activation=kernel.activation
            )
        )
    return lambda queries, rows: sign * _of_layer(kernel, queries, rows)


def _variables_of_kernel(model: Any) -> list[tf.Variable]:
    """Those of a kernel layer of the user's, which a SavedModel must be told of."""
    kernel = model.gram.kernel if isinstance(model, Siamese) else None
    return [variable.value for variable in kernel.variables] if isinstance(kernel, keras.Layer) else []


def _by_network(network: keras.Model) -> Callable[[Tensor, Tensor], Tensor]:
    """The logits of a classifier of images, which are the embeddings of its support set."""
    shape = (-1, *network.input_shape[1:])
    return lambda queries, _: tf.cast(network(tf.reshape(queries, shape), training=False), tf.float32)


def _of_layer(kernel: keras.Layer, queries: Tensor, rows: Tensor) -> Tensor:
    """A kernel layer on every pair."""
    count, dim = tf.shape(queries)[0], rows.shape[1]
    left = tf.reshape(tf.repeat(queries, rows.shape[0], axis=0), (-1, dim))
    right = tf.reshape(tf.tile(rows, (count, 1)), (-1, dim))
    return tf.reshape(tf.cast(kernel([left, right], training=False), tf.float32), (count, rows.shape[0]))


def _best(values: Tensor, there: Tensor | None) -> Tensor:
    """The largest of a label's values [B, C, K]; `there` bool [C, K] says which of them are its own."""
    del there  # the others are copies
    return tf.reduce_max(values, axis=2)


def _mean(values: Tensor, there: Tensor | None) -> Tensor:
    if there is None:
        return tf.reduce_mean(values, axis=2)
    return tf.reduce_sum(tf.where(there, values, 0.0), axis=2) / _counts(there)


def _mean_of_best(values: Tensor, there: Tensor | None, k: int) -> Tensor:
    k = min(k, values.shape[2])
    # Without infinities, which ONNX multiplies by 0.
    least = values if there is None else tf.where(there, values, values.dtype.min)
    best = tf.math.top_k(least, k, sorted=there is not None).values
    if there is None:
        return tf.reduce_mean(best, axis=2)
    # Sorted, those that are not there come last.
    return _mean(best, tf.range(k) < tf.cast(_counts(there), tf.int32)[:, None])


def _attention(values: Tensor, there: Tensor | None) -> Tensor:
    largest = tf.reduce_max(values, axis=2, keepdims=True)
    shares = tf.exp(values - largest)
    # Without infinities, which LiteRT multiplies by 0.
    own = shares if there is None else shares * tf.cast(there, tf.float32)
    return tf.nn.log_softmax(tf.math.log(tf.reduce_sum(own, axis=2)) + largest[..., 0], axis=1)


def _counts(there: Tensor) -> Tensor:
    return tf.reduce_sum(tf.cast(there, tf.float32), axis=1)
