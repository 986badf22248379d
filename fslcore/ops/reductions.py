# SPDX-License-Identifier: MIT
"""Losses over the pairs of a batch without their matrix, differentiable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fslcore.ops._library import raw_ops
from fslcore.ops._tensors import (
    check_axes,
    check_shape,
    integers,
    labels_of_batch,
    matrix,
    scalar,
    weights_of_metric,
)
from fslcore.pair_terms import (
    NO_LABEL,
    PairReductions,
    PairTerm,
    attributes_of,
    check_smooth,
    check_terms,
    parameters_of,
)
from fslcore.twins import metric_of_rows

Tensor = Any

_ATTRIBUTES = (
    "metric", "rows", "first_pairs", "first_function", "first_reduction", "second_pairs", "second_function",
    "second_reduction",
)  # fmt: skip


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
    """One or two numbers for each row from its pairs; see `fslcore.kernels.pair_reductions`.

    Args:
        x: [batch, dim]; differentiable, like `y`, `weights`, the scales and offsets of the terms, and the
            levels of `lifted`.
        labels: Integers [batch].
        terms: One or two of `PairTerm`.
        y: [m, dim]; None means `x`.
        y_labels: Integers [m], with `y`.
        metric: One of `fslcore.kernels.PAIR_METRICS`.
        weights: [dim], for `weighted_manhattan`.
        levels: [terms, batch].
        leading: Whether `y` begins with the rows of `x`.

    Returns:
        A `PairReductions`; `values` have a gradient of the first order.
    """
    inputs, attributes, count = inputs_of_pairs(
        x, labels, terms, y, y_labels, metric, weights, levels, leading
    )
    results = raw_ops.fslcore_pair_reductions(**inputs, **attributes)
    return PairReductions(*(result[:count] for result in results))


def pair_reductions_grad(
    x: Tensor,
    labels: Tensor,
    terms: Sequence[PairTerm],
    values: Tensor,
    grad: Tensor,
    y: Tensor | None = None,
    y_labels: Tensor | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: Tensor | None = None,
    levels: Tensor | None = None,
    leading: bool = False,
) -> tuple[Tensor, Tensor]:
    """The gradient of a scalar loss through `pair_reductions`; see `fslcore.kernels.pair_reductions_grad`."""
    check_smooth(terms)
    inputs, attributes, _ = inputs_of_pairs(x, labels, terms, y, y_labels, metric, weights, levels, leading)
    inputs |= {"values": _padded(matrix("values", values)), "grad": _padded(matrix("grad", grad))}
    dx, dy, *_ = raw_ops.fslcore_pair_reductions_grad(**inputs, **attributes)
    return (dx, dy) if weights is None else (dx * inputs["weights"], dy * inputs["weights"])


def inputs_of_pairs(
    x: Tensor,
    labels: Tensor,
    terms: Sequence[PairTerm],
    y: Tensor | None,
    y_labels: Tensor | None,
    metric: str,
    weights: Tensor | None,
    levels: Tensor | None,
    leading: bool,
) -> tuple[dict[str, Tensor], dict[str, str], int]:
    """Inputs and attributes of an op over pairs, and the number of terms."""
    terms = check_terms(terms, metric, y is not None, y_labels is not None, weights is not None, leading)
    x = matrix("x", x)
    others = tf.zeros([0], tf.int64) if y_labels is None else integers("y_labels", y_labels)
    check_axes("y_labels", others, 1)
    inputs = {
        "x": x,
        "y": tf.zeros([0, tf.shape(x)[1]]) if y is None else matrix("y", y),
        "x_labels": tf.bitwise.bitwise_xor(labels_of_batch(labels), tf.constant(NO_LABEL, tf.int64)),
        "y_labels": tf.bitwise.bitwise_xor(others, tf.constant(NO_LABEL, tf.int64)),
        "weights": weights_of_metric(weights),
        "parameters": as_parameters("scale", parameters_of(terms)),
        "levels": tf.zeros([0, tf.shape(x)[0]]) if levels is None else _padded(matrix("levels", levels)),
    }
    check_shape("labels", inputs["x_labels"], x.shape[:1])
    return inputs, attributes_of(terms, metric, y is not None, leading), len(terms)


def as_parameters(name: str, rows: Sequence[Sequence[Any]]) -> Tensor:
    """Numbers and scalar tensors as one float32 tensor."""
    if not any(tf.is_tensor(value) or hasattr(value, "numpy") for row in rows for value in row):
        return tf.constant(rows, tf.float32)
    return tf.stack([tf.stack([tf.convert_to_tensor(scalar(name, v), tf.float32) for v in r]) for r in rows])


def attributes_of_op(op: Any) -> dict[str, str]:
    """The attributes of an op over pairs, whatever executes it."""
    attributes = {name: op.get_attr(name) for name in _ATTRIBUTES}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}


def _padded(rows: Tensor) -> Tensor:
    """Rows for both terms of the op, where one is given."""
    return tf.concat([rows, tf.zeros_like(rows)], axis=0) if rows.shape[0] == 1 else rows


@tf.RegisterGradient("FslcorePairReductions")
def _pair_reductions_gradient(op: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    attributes = attributes_of_op(op)
    x, y, weights = op.inputs[0], op.inputs[1], op.inputs[4]
    is_extreme = [attributes[f"{name}_reduction"] in ("max", "min") for name in ("first", "second")]
    smooth = tf.where(tf.constant(is_extreme)[:, None], 0.0, grad)
    dx, dy, dlevels, sums = raw_ops.fslcore_pair_reductions_grad(
        *op.inputs, values=op.outputs[0], grad=smooth, **attributes
    )
    if attributes["metric"] == "weighted_manhattan":
        dweights = tf.reduce_sum(x * dx, axis=0) + tf.reduce_sum(y * dy, axis=0)
        dx, dy = dx * weights, dy * weights
    else:
        dweights = tf.zeros_like(weights)
    by_offset, by_scale = tf.unstack(tf.reduce_sum(sums, axis=2), axis=1)
    dparameters = tf.stack([by_scale, by_offset, *[tf.zeros_like(by_scale)] * 2], axis=1)
    gradients = dx, dy, dweights, dparameters
    for term in range(2):
        if is_extreme[term]:
            # What is a constant of the loss, as a level of its mining is, has no gradient to pass on.
            gradients = tf.cond(
                tf.reduce_any(grad[term] != 0.0),
                lambda term=term, gradients=gradients: _with_extreme(op, grad[term], term, gradients),
                lambda gradients=gradients: gradients,
            )
    dx, dy, dweights, dparameters = gradients
    return dx, dy, None, None, dweights, dparameters, dlevels


def _with_extreme(op: Any, grad: Tensor, term: int, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Gradients of x, y, weights and parameters, and those of a term that is a maximum or minimum."""
    x, y, _, _, weights, parameters, _ = op.inputs
    attributes = attributes_of_op(op)
    function = attributes[f"{('first', 'second')[term]}_function"]
    sources = (x, y, weights, parameters)
    with tf.GradientTape() as tape:
        tape.watch(sources)
        values = _values_at(
            op.outputs[1][term], sources, attributes["metric"], attributes["rows"] == "batch", function, term
        )
    more = tape.gradient(values, sources, grad, unconnected_gradients="zero")
    return tuple(a + tf.convert_to_tensor(b) for a, b in zip(gradients, more, strict=True))


def _values_at(
    index: Tensor, sources: tuple[Tensor, ...], metric: str, is_batch: bool, function: str, term: int
) -> Tensor:
    """function(t) of each row and the one at its index; 0 without one."""
    x, y, weights, parameters = sources
    rows = x if is_batch else y
    # Gathered along axis 1: along axis 0 the gradient would be IndexedSlices.
    other = tf.gather(rows[None], tf.maximum(index, 0), axis=1)[0]
    scale, offset, gain, shift = tf.unstack(parameters[term])
    t = scale * metric_of_rows(x, other, metric, weights) + offset
    positive = tf.nn.relu(t)
    value = {
        "linear": lambda: t,
        "hinge": lambda: positive,
        "squared_hinge": lambda: tf.square(positive),
        "softplus": lambda: tf.math.softplus(t),
        "circle": lambda: gain * tf.stop_gradient(positive) * (t - shift),
    }[function]()
    return tf.where(index < 0, 0.0, value)
