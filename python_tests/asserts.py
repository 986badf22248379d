# SPDX-License-Identifier: MIT
"""Comparisons with derived tolerances. test_asserts.py proves that each of them rejects wrong answers.

Rounding bounds follow Higham, "Accuracy and Stability of Numerical Algorithms" (2002), chapter 3: k roundings
of unit roundoff u give a relative error of at most gamma(k) = k u / (1 - k u), in any order of summation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import oracles
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

UNIT = 2.0**-24  # unit roundoff of float32
TINY = 2.0**-126  # smallest normal float32: smaller results may be flushed to zero


def gamma(roundings: int) -> float:
    """Relative error of a result that was rounded `roundings` times in float32."""
    return roundings * UNIT / (1 - roundings * UNIT)


def float32_exactly(values: ArrayLike) -> NDArray[np.float32]:
    """The oracle's values as float32; they have to fit, or an exact comparison would be no such thing."""
    values = np.asarray(values, np.float64)
    narrow = values.astype(np.float32)
    np.testing.assert_array_equal(narrow.astype(np.float64), values, "the expected values are not float32")
    return narrow


def assert_bit_identical(got: Any, want: Any) -> None:
    """Equal dtype, shape and bits: 0.0 differs from -0.0, and NaN equals only the same NaN."""
    got, want = np.asarray(got), np.asarray(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    if got.tobytes() != want.tobytes():
        np.testing.assert_array_equal(got, want)
        raise AssertionError("the values are equal, their bits are not")


# Pairwise kernels -----------------------------------------------------------------------------------


def pairwise_tolerance(
    x: ArrayLike,  # [n, d]
    y: ArrayLike,  # [m, d]
    metric: str,
    *,
    weights: ArrayLike | None = None,
    bias: float = 0.0,
    activation: str | None = None,
) -> Array:  # [n, m]
    """Largest error that rounding alone can cause, whichever algebraic form a backend evaluates."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    d = x.shape[1]
    # |x|^2 + |y|^2 - 2 x.y: three sums of d products and two additions, each at most |x|^2 + |y|^2 in size.
    squared = 2 * gamma(d + 3) * (np.sum(x**2, 1)[:, None] + np.sum(y**2, 1)[None, :])
    if metric == "sqeuclidean":
        return squared
    if metric == "euclidean":
        # |sqrt(s + e) - sqrt(s)| is at most sqrt(|e|) and at most |e| / sqrt(s); the root rounds once more.
        distance = oracles.pairwise(x, y, metric)
        amplified = squared / np.maximum(distance, np.sqrt(squared) + TINY)
        return amplified + gamma(2) * distance
    if metric == "cosine":
        # A dot product and two norms (halved by the root), a division, a difference; everything is below 2.
        return np.full((len(x), len(y)), gamma(2 * d + 8))
    if metric == "dot":
        return gamma(d + 1) * (np.abs(x) @ np.abs(y).T)
    if metric != "weighted_manhattan":
        # 2 sum max(x, y) - sum x - sum y: three sums, each at most sum |x| + sum |y| in size.
        return 3 * gamma(d + 3) * (np.sum(np.abs(x), 1)[:, None] + np.sum(np.abs(y), 1)[None, :])
    magnitude = oracles.pairwise(x, y, metric, weights=np.abs(weights), bias=abs(bias))
    score = gamma(d + 3) * magnitude
    if activation is None:
        return score
    # The sigmoid's slope is at most 1/4; exp is good to 2 ulp (4 u), the sum and the quotient round once.
    value = oracles.pairwise(x, y, metric, weights=weights, bias=bias, activation=activation)
    return score / 4 + gamma(6) * value + TINY


def gradient_magnitude(
    x: ArrayLike,  # [n, d]
    y: ArrayLike,  # [m, d]
    grad: ArrayLike,  # [n, m]
    metric: str,
    *,
    weights: ArrayLike | None = None,
    bias: float = 0.0,
    activation: str | None = None,
) -> oracles.PairwiseGradient:
    """Sum of the absolute values of all that a backend adds up for each element of the gradient."""
    x, y, grad = (np.asarray(a, np.float64) for a in (x, y, grad))
    of_x, of_y = np.zeros_like(x), np.zeros_like(y)
    of_weights, of_bias = np.zeros(x.shape[1]), 0.0
    for i, j in np.ndindex(len(x), len(y)):
        g = abs(grad[i, j])
        a, b = np.abs(x[i]), np.abs(y[j])
        by_a = by_b = a + b  # a row sum of g times x minus g times y: the difference is never formed
        if metric == "sqeuclidean":
            g *= 2
        elif metric == "euclidean":
            distance = np.sqrt(np.sum((x[i] - y[j]) ** 2))
            g /= distance if distance else np.inf
        elif metric == "cosine":
            norm_a, norm_b = np.sqrt(np.sum(a**2)), np.sqrt(np.sum(b**2))
            g = g if norm_a and norm_b else 0.0
            by_a = (a / (norm_a or 1) + b / (norm_b or 1)) / (norm_a or 1)
            by_b = (a / (norm_a or 1) + b / (norm_b or 1)) / (norm_b or 1)
        elif metric == "dot":
            by_a, by_b = b, a
        elif metric == "weighted_manhattan":
            w = np.abs(np.asarray(weights, np.float64))
            difference = np.abs(x[i] - y[j])
            if activation == "sigmoid":
                # s (1 - s) is at most 1/4, and off by the score's error (relative) and 4 u (absolute).
                g *= (1 + np.sum(w * difference) + abs(bias)) / 4
            by_a = by_b = w
            of_weights += g * difference
            of_bias += g
        else:  # made of the signs of differences
            by_a, by_b = (np.abs(by) for by in oracles.pair_gradient(x[i], y[j], metric))
        of_x[i] += g * by_a
        of_y[j] += g * by_b
    return oracles.PairwiseGradient(of_x, of_y, of_weights, of_bias)


def assert_gradient_close(got: ArrayLike, want: ArrayLike, magnitude: ArrayLike, roundings: int) -> None:
    """Elementwise gamma(roundings) * magnitude, and as a vector the square-root law.

    Independent roundings add up as sqrt(k) u rather than k u (Higham and Mary, "A new approach to
    probabilistic rounding error analysis", 2019), so a systematic error shows in the L2 norm long before an
    element is out of bounds. The factor 4 covers their confidence parameter.
    """
    got, want, magnitude = (np.asarray(a, np.float64) for a in (got, want, magnitude))
    assert got.shape == want.shape
    tolerance = gamma(roundings) * magnitude + TINY
    vacuous = np.linalg.norm(tolerance) > 0.01 * np.linalg.norm(want)
    assert not vacuous or not want.any(), "the tolerance is not small beside the gradient: it proves nothing"
    error = np.abs(got - want)
    worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error - tolerance)), error.shape)
    assert np.all(error <= tolerance), f"element {worst}: {got[worst]} instead of {want[worst]}"
    limit = 4 * np.sqrt(roundings) * UNIT * np.linalg.norm(magnitude) + TINY
    assert np.linalg.norm(error) <= limit, f"L2 error {np.linalg.norm(error):.3g} exceeds {limit:.3g}"


# Triplets -------------------------------------------------------------------------------------------


class Mined(NamedTuple):
    """Row numbers of triplets as a backend returns them, each [P]."""

    anchor: NDArray[np.int32]
    positive: NDArray[np.int32]
    negative: NDArray[np.int32]


def assert_mined(
    got: tuple[Any, Any, Any],
    labels: ArrayLike,  # [B]
    distance: ArrayLike,  # [B, B], of the oracle
    tolerance: ArrayLike,  # [B, B], on the distances
) -> None:
    """The pairs exactly; each negative the right one for some distances within the tolerance.

    A candidate counts as beyond the positive surely if it is so for all such distances, possibly if for some.
    """
    labels, low, high, mined = _mined_and_bounds(got, labels, distance, tolerance)
    pairs = list(zip(mined.anchor.tolist(), mined.positive.tolist(), strict=True))
    assert pairs == oracles.positive_pairs(labels)
    for a, p, n in zip(*(part.tolist() for part in mined), strict=True):
        negatives = np.flatnonzero(labels != labels[a])
        assert n in negatives, f"negative {n} of anchor {a} is no row of another class"
        surely_beyond = negatives[low[a, negatives] > high[a, p]]
        nearest = high[a, n] > low[a, p] and np.all(low[a, n] <= high[a, surely_beyond])
        farthest = len(surely_beyond) == 0 and np.all(high[a, n] >= low[a, negatives])
        assert nearest or farthest, f"negative {n} of anchor {a}, positive {p}, is too near or too far"


def assert_mined_anchors(
    mining: str, got: tuple[Any, Any, Any], labels: ArrayLike, distance: ArrayLike, tolerance: ArrayLike
) -> None:
    """The anchors exactly; positives and negatives the right ones for some distances within the tolerance.

    The rule chooses the negative that is nearest, and the positive that is best by BEST_POSITIVE.
    """
    labels, low, high, mined = _mined_and_bounds(got, labels, distance, tolerance)
    assert mined.anchor.tolist() == sorted({a for a, _ in oracles.positive_pairs(labels)})
    for a, p, n in zip(*(part.tolist() for part in mined), strict=True):
        positives = np.setdiff1d(np.flatnonzero(labels == labels[a]), [a])
        negatives = np.flatnonzero(labels != labels[a])
        assert p in positives, f"positive {p} of anchor {a} is no other row of its class"
        assert n in negatives, f"negative {n} of anchor {a} is no row of another class"
        best = BEST_POSITIVE[mining](low[a], high[a], p, positives)
        assert best, f"positive {p} of anchor {a} is not the one of the rule"
        assert np.all(low[a, n] <= high[a, negatives]), f"negative {n} of anchor {a} is not the nearest"


# Whether p may be the positive that the rule chooses, if the distances of an anchor lie between low and high.
BEST_POSITIVE = {
    "hard": lambda low, high, p, positives: np.all(high[p] >= low[positives]),
    "easy_positive": lambda low, high, p, positives: np.all(low[p] <= high[positives]),
}


def assert_mined_by_rule(mining: str, *arguments: Any) -> None:
    """assert_mined or assert_mined_anchors."""
    if mining == "semihard":
        assert_mined(*arguments)
    else:
        assert_mined_anchors(mining, *arguments)


def _mined_and_bounds(
    got: tuple[Any, Any, Any], labels: ArrayLike, distance: ArrayLike, tolerance: ArrayLike
) -> tuple[NDArray[Any], Array, Array, Mined]:
    """(labels, the least and the largest distances that the tolerance allows, what was mined)."""
    mined = Mined(*(np.asarray(part) for part in got))
    assert {part.dtype for part in mined} == {np.dtype(np.int32)}
    distance, tolerance = np.asarray(distance), np.asarray(tolerance)
    return np.asarray(labels), distance - tolerance, distance + tolerance, mined


def decision_gap(
    x: ArrayLike, labels: ArrayLike, margin: float, metric: str, mining: str = "semihard"
) -> float:
    """Distance of the data from the nearest tie of two distances and from the nearest kink of a hinge.

    Data whose gap exceeds the tolerance has one right answer, in float32 as in float64.
    """
    distance = oracles.pairwise(x, metric=metric)
    gaps = [np.min(np.diff(np.sort(np.delete(row, a)))) for a, row in enumerate(distance)]
    a, p, n = oracles.mine_triplets(x, labels, mining, metric)
    return float(min(*gaps, np.min(np.abs(distance[a, p] - distance[a, n] + margin))))
