# SPDX-License-Identifier: MIT
"""The twin of `fslcore.ops.pairwise_norms`, for small inputs, and the same network on pairs of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fslcore.arguments import MIXED_NORMS, check_norms
from fslcore.tensors import real

Tensor = Any

# By norm, of coordinates of the first row, of the second, and the product of the rows' scales.
_NORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "first": lambda q, s, _: q + 0.0 * s,
    "second": lambda q, s, _: s + 0.0 * q,
    "product": lambda q, s, _: q * s,
    "sum": lambda q, s, _: q + s,
    "absolute": lambda q, s, _: tf.abs(q - s),
    "squared": lambda q, s, _: tf.square(q - s),
    "unit_product": lambda q, s, scale: 1.0 - q * s * scale,
    "softmax": lambda q, s, _: tf.nn.softmax(tf.abs(q - s)),
}


def pairwise_norms(
    x: Tensor,
    y: Tensor | None = None,
    norms: Sequence[str] = MIXED_NORMS,
    *,
    hidden: Tensor,
    hidden_bias: Tensor,
    mixing: Tensor,
    weights: Tensor,
    bias: Tensor | float = 0.0,
    activation: str | None = None,
    unit: str = "row",
) -> Tensor:
    """A network on the norms of every row of `x` with every row of `y`; see `fslcore.kernels.pairwise_norms`.

    Returns:
        float32 [n, m]; it holds [n, m, dim, filters] floats.
    """
    norms = check_norms(norms, unit, activation)
    x = real("x", x)
    y = x if y is None else real("y", y)
    x_scales, y_scales = scales_of_rows(x, y, unit)
    return _scores(
        (x[:, None], y[None, :], (x_scales[:, None] * y_scales[None, :])[..., None]),
        (hidden, hidden_bias, mixing, weights, bias),
        norms,
        activation,
    )


def norms_of_pairs(
    first: Tensor,
    second: Tensor,
    norms: Sequence[str] = MIXED_NORMS,
    *,
    hidden: Tensor,
    hidden_bias: Tensor,
    mixing: Tensor,
    weights: Tensor,
    bias: Tensor | float = 0.0,
    activation: str | None = None,
    unit: str = "row",
) -> Tensor:
    """The network of `pairwise_norms` on each row of `first` with the same row of `second`.

    Args:
        first: [pairs, dim].
        second: [pairs, dim].
        norms: As for `pairwise_norms`, and so are the others. With the unit "batch" lengths are those of all
            pairs that are given, each matrix as one vector.
        hidden: [filters, norms].
        hidden_bias: [filters].
        mixing: [filters].
        weights: [dim].
        bias: Scalar.
        activation: None or "sigmoid".
        unit: "row" or "batch".

    Returns:
        float32 [pairs].
    """
    norms = check_norms(norms, unit, activation)
    first, second = real("first", first), real("second", second)
    axis = -1 if unit == "row" else None
    scales = [_reciprocal_length(tf.reduce_sum(tf.square(r), axis, keepdims=True)) for r in (first, second)]
    return _scores(
        (first, second, scales[0] * scales[1]),
        (hidden, hidden_bias, mixing, weights, bias),
        norms,
        activation,
    )


def scales_of_rows(x: Tensor, y: Tensor, unit: str) -> tuple[Tensor, Tensor]:
    """One over the lengths that `unit_product` divides rows by, [n] and [m]."""
    squares = [tf.reduce_sum(tf.square(rows), axis=1) for rows in (x, y)]
    if unit == "batch":  # in the list of all pairs a row occurs once for each row of the other matrix
        counts = [tf.cast(tf.shape(rows)[0], tf.float32) for rows in (y, x)]
        squares = [
            tf.fill(tf.shape(s), count * tf.reduce_sum(s)) for s, count in zip(squares, counts, strict=True)
        ]
    return _reciprocal_length(squares[0]), _reciprocal_length(squares[1])


def _reciprocal_length(squared: Tensor) -> Tensor:
    return tf.math.rsqrt(tf.maximum(squared, 1e-12))  # the least square of tf.nn.l2_normalize


def _scores(
    rows: tuple[Tensor, Tensor, Tensor],
    network: tuple[Any, ...],
    norms: Sequence[str],
    activation: str | None,
) -> Tensor:
    """The scores [...] of rows [..., dim] of either side and the products of their scales [..., 1]."""
    names = ("hidden", "hidden_bias", "mixing", "weights", "bias")
    hidden, hidden_bias, mixing, weights, bias = (real(*pair) for pair in zip(names, network, strict=True))
    values = tf.stack([_NORMS[name](*rows) for name in norms], axis=-1)
    sums = tf.tensordot(values, hidden, [[-1], [1]]) + hidden_bias
    passed = tf.where(sums <= 0.0, 0.0, sums)  # not tf.nn.relu, which drops a NaN backward
    mixed = tf.tensordot(passed, mixing, 1)
    scores = tf.tensordot(mixed, weights, 1) + bias
    return tf.sigmoid(scores) if activation else scores
