# SPDX-License-Identifier: MIT
"""The truth of `pairwise_norms`: NumPy loops over pairs and coordinates in float64.

Shapes: x [n, d], y [m, d], hidden [f, k], hidden_bias and mixing [f], weights [d].
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Gradient(NamedTuple):
    """The gradient by each argument."""

    x: Array
    y: Array
    hidden: Array
    hidden_bias: Array
    mixing: Array
    weights: Array
    bias: Any


def lengths(x: Array, y: Array, unit: str) -> tuple[Array, Array]:
    """What unit_product divides each row of x and of y by."""
    of_x, of_y = np.sum(x**2, axis=1), np.sum(y**2, axis=1)
    if unit == "batch":  # every pair written out, x[0] with each of y first
        of_x, of_y = np.full(len(x), len(y) * of_x.sum()), np.full(len(y), len(x) * of_y.sum())
    return np.sqrt(np.maximum(of_x, 1e-12)), np.sqrt(np.maximum(of_y, 1e-12))


def norm(name: str, a: Array, b: Array, length: float) -> tuple[Array, Array, Array]:
    """The norm of all coordinates of a pair, and its Jacobians [d, d] by a and by b at a fixed length."""
    distance, sign = np.abs(a - b), np.sign(a - b)
    one = np.ones_like(a)
    if name == "softmax":
        share = np.exp(distance - distance.max(initial=0.0))
        share = share / share.sum() if len(a) else share
        by_distance = np.diag(share) - np.outer(share, share)
        return share, by_distance * sign, -by_distance * sign
    value, by_a, by_b = {
        "first": (a, one, 0 * one),
        "second": (b, 0 * one, one),
        "product": (a * b, b, a),
        "sum": (a + b, one, one),
        "absolute": (distance, sign, -sign),
        "squared": ((a - b) ** 2, 2 * (a - b), 2 * (b - a)),
        "unit_product": (1 - a * b / length, -b / length, -a / length),
    }[name]
    return value, np.diag(by_a), np.diag(by_b)


def pairwise_norms(
    x: Any, y: Any, norms: Any, *, activation: str | None = None, unit: str = "row", **network: Any
) -> Array:
    """The score of each pair [n, m]."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    hidden, hidden_bias, mixing, weights = (
        np.asarray(network[name], np.float64) for name in ("hidden", "hidden_bias", "mixing", "weights")
    )
    of_x, of_y = lengths(x, y, unit)
    scores = np.zeros((len(x), len(y)))
    for i, j in np.ndindex(len(x), len(y)):
        values = [norm(name, x[i], y[j], of_x[i] * of_y[j])[0] for name in norms]
        score = float(network.get("bias", 0.0))
        for d in range(x.shape[1]):
            for f in range(len(hidden)):
                total = hidden_bias[f] + sum(hidden[f, k] * values[k][d] for k in range(len(norms)))
                score += weights[d] * mixing[f] * max(total, 0.0)
        scores[i, j] = 1 / (1 + math.exp(-score)) if activation else score
    return scores


def pairwise_norms_grad(
    x: Any, y: Any, grad: Any, norms: Any, *, activation: str | None = None, unit: str = "row", **network: Any
) -> Gradient:
    """The chain rule, pair by pair: d(sum grad * pairwise_norms) by each argument."""
    x, y, grad = (np.asarray(array, np.float64) for array in (x, y, grad))
    hidden, hidden_bias, mixing, weights = (
        np.asarray(network[name], np.float64) for name in ("hidden", "hidden_bias", "mixing", "weights")
    )
    of_x, of_y = lengths(x, y, unit)
    scores = pairwise_norms(x, y, norms, activation=activation, unit=unit, **network)
    by = Gradient(*(np.zeros_like(a) for a in (x, y, hidden, hidden_bias, mixing, weights, np.zeros(1))))
    by_length = np.zeros(len(x)), np.zeros(len(y))  # relative: d loss / d log(length)
    for i, j in np.ndindex(len(x), len(y)):
        slope = grad[i, j] * (scores[i, j] * (1 - scores[i, j]) if activation else 1.0)
        parts = [norm(name, x[i], y[j], of_x[i] * of_y[j]) for name in norms]
        values = np.array([part[0] for part in parts])  # [k, d]
        totals = hidden @ values + hidden_bias[:, None]  # [f, d]
        passes = (totals > 0).astype(np.float64)
        by.bias[0] += slope
        by.weights[:] += slope * (mixing @ np.maximum(totals, 0))
        by.mixing[:] += slope * (np.maximum(totals, 0) @ weights)
        by.hidden_bias[:] += slope * mixing * (passes @ weights)
        by.hidden[:] += slope * mixing[:, None] * ((passes * weights) @ values.T)
        of_values = slope * weights * (hidden.T @ (mixing[:, None] * passes))  # [k, d]
        for k, (value, jacobian_a, jacobian_b) in enumerate(parts):
            by.x[i] += of_values[k] @ jacobian_a
            by.y[j] += of_values[k] @ jacobian_b
            if norms[k] == "unit_product":
                share = np.sum(of_values[k] * (1 - value))  # d(1 - v) / d log(length) = v
                by_length[0][i] += share
                by_length[1][j] += share
    for rows, other, length, share, to in (
        (x, y, of_x, by_length[0], by.x),
        (y, x, of_y, by_length[1], by.y),
    ):
        if unit == "batch":
            share = np.full(len(rows), share.sum() * len(other))
        counts = length > 1e-6
        to += np.where(counts, share / length**2, 0.0)[:, None] * rows
    return by._replace(bias=float(by.bias[0]))
