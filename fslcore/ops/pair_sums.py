# SPDX-License-Identifier: MIT
"""Sums over the pairs of a batch with their gradient in one pass, differentiable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fslcore.ops._library import raw_ops
from fslcore.ops._tensors import matrix
from fslcore.ops.reductions import as_parameters, attributes_of_op, inputs_of_pairs
from fslcore.pair_terms import PairSums, PairTerm, check_sums

Tensor = Any


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
    """The sum of terms over all pairs with its gradient in one pass; see `fslcore.kernels.pair_sums`.

    The gradient is made with the total, whether it is asked for or not.

    Args:
        x: [batch, dim]; `total` is differentiable with respect to it, and to `y`, `weights`, `levels`, the
            scales and offsets of the terms.
        labels: Integers [batch].
        terms: One or two of `PairTerm`, of the reduction "sum".
        y: [m, dim]; None means `x`.
        y_labels: Integers [m], with `y`.
        metric: One of `fslcore.kernels.PAIR_METRICS`.
        weights: [dim], for `weighted_manhattan`.
        levels: [0 to 8, batch].
        leading: Whether `y` begins with the rows of `x`.
        factors: One number or scalar tensor per term, constants: to differentiate by them is a LookupError.

    Returns:
        A `PairSums`, of which `total` has a gradient of the first order, and the others none.
    """
    factors = check_sums(terms, factors)
    inputs, attributes, count = inputs_of_pairs(x, labels, terms, y, y_labels, metric, weights, None, leading)
    if levels is not None:
        inputs["levels"] = matrix("levels", levels)
    constants = _without_gradient(as_parameters("factors", [factors])[0], "factors of pair_sums")
    total, counts, slopes, dx, dy, _ = raw_ops.fslcore_pair_sums(**inputs, factors=constants, **attributes)
    if weights is not None:
        dx, dy = dx * inputs["weights"], dy * inputs["weights"]
    dx, dy = (_without_gradient(part, "gradients that pair_sums returns") for part in (dx, dy))
    return PairSums(total, counts[:count], slopes, dx, dy)


def _without_gradient(tensor: Tensor, what: str) -> Tensor:
    return tf.raw_ops.PreventGradient(input=tensor, message=f"the {what} have no gradient")


@tf.RegisterGradient("FslcorePairSums")
def _pair_sums_gradient(op: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, y, _, _, weights, _, _, factors = op.inputs
    outputs = (_without_gradient(output, "gradients of pair_sums") for output in op.outputs[2:])
    slopes, dx, dy, dparameters = (upstream * output for output in outputs)
    dweights = tf.zeros_like(weights)
    if attributes_of_op(op)["metric"] == "weighted_manhattan":
        dweights = tf.reduce_sum(x * dx, axis=0) + tf.reduce_sum(y * dy, axis=0)
        dx, dy = dx * weights, dy * weights
    dparameters = tf.pad(dparameters, [[0, 0], [0, 2]])
    return dx, dy, None, None, dweights, dparameters, -slopes, tf.zeros_like(factors)
