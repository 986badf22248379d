# SPDX-License-Identifier: MIT
"""Losses over the pairs of a batch without their matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore import _core
from fslcore.arguments import as_integers, as_labels, as_matrix, as_weights
from fslcore.kernels.types import FloatArray
from fslcore.pair_terms import (
    NO_LABEL,
    PairReductions,
    PairSums,
    PairTerm,
    attributes_of,
    check_smooth,
    check_sums,
    check_terms,
    parameters_of,
)


def pair_reductions(
    x: npt.ArrayLike,
    labels: npt.ArrayLike,
    terms: Sequence[PairTerm],
    y: npt.ArrayLike | None = None,
    y_labels: npt.ArrayLike | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: npt.ArrayLike | None = None,
    levels: npt.ArrayLike | None = None,
    leading: bool = False,
) -> PairReductions:
    """One or two numbers for each row, reduced from its pairs with all others: the parts of losses.

    The matrix of the pairs is never held: memory is O((batch + rows of y) * dim). Of most losses over pairs
    the rest is a formula of these numbers, such as -values[0] + values[1] for InfoNCE.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch]. A row whose label is `NO_LABEL` belongs to no pair.
        terms: One or two of `PairTerm`.
        y: [m, dim] the rows that `x` is paired with; None means `x`, of which no row is paired with itself.
        y_labels: Integers [m], with `y`.
        metric: One of `PAIR_METRICS`, as in `pairwise`.
        weights: [dim], for `weighted_manhattan`.
        levels: [terms, batch]. A pair counts for a term only if its t is above the level of its row,
            strictly. The function `lifted` takes them as u.
        leading: Whether `y` begins with the rows of `x`, such as a batch and a memory behind it: then no row
            is paired with itself.

    Returns:
        A `PairReductions`. A NaN among the pairs that count is NaN.

    Raises:
        ValueError: For an unknown name, or shapes that do not match.
    """
    inputs, attributes, count = _inputs(x, labels, terms, y, y_labels, metric, weights, levels, leading)
    return PairReductions(*(output[:count] for output in _core.pair_reductions(*inputs, **attributes)))


def pair_reductions_grad(
    x: npt.ArrayLike,
    labels: npt.ArrayLike,
    terms: Sequence[PairTerm],
    values: npt.ArrayLike,
    grad: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    y_labels: npt.ArrayLike | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: npt.ArrayLike | None = None,
    levels: npt.ArrayLike | None = None,
    leading: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """The gradient of a scalar loss through `pair_reductions`, whose tiles it computes again.

    Args:
        x: As for `pair_reductions`, like all that is not named here.
        labels: Integers [batch].
        terms: Without max and min, whose gradient is that of the pair at `indices`.
        values: [terms, batch], what `pair_reductions` returned.
        grad: [terms, batch], the gradient of the loss with respect to `values`.
        y: [m, dim].
        y_labels: Integers [m].
        metric: One of `PAIR_METRICS`.
        weights: [dim].
        levels: [terms, batch].
        leading: Whether `y` begins with the rows of `x`.

    Returns:
        `(dx [batch, dim], dy [m, dim])`, dy [0, dim] without `y`. The gradient at distance 0 is 0.
    """
    check_smooth(terms)
    inputs, attributes, _ = _inputs(x, labels, terms, y, y_labels, metric, weights, levels, leading)
    rest = [_padded(as_matrix(name, value)) for name, value in (("values", values), ("grad", grad))]
    dx, dy, *_ = _core.pair_reductions_grad(*inputs, *rest, **attributes)
    return (dx, dy) if metric != "weighted_manhattan" else (dx * inputs[4], dy * inputs[4])


def pair_sums(
    x: npt.ArrayLike,
    labels: npt.ArrayLike,
    terms: Sequence[PairTerm],
    y: npt.ArrayLike | None = None,
    y_labels: npt.ArrayLike | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: npt.ArrayLike | None = None,
    levels: npt.ArrayLike | None = None,
    leading: bool = False,
    factors: Sequence[float] | None = None,
) -> PairSums:
    """The sum of terms over all pairs with its gradient, in one pass over the pairs.

    total = sum over terms of factor * sum over rows, their pairs and levels of function(t - level). The
    metrics are made once, and not again for the gradient as `pair_reductions_grad` does.

    Args:
        x: As for `pair_reductions`, like all that is not named here.
        labels: Integers [batch].
        terms: Of the reduction "sum", and any function but "lifted".
        y: [m, dim].
        y_labels: Integers [m].
        metric: One of `PAIR_METRICS`.
        weights: [dim].
        levels: [0 to 8, batch]: t counts once for each level of its row, which is subtracted from it. Unlike
            the levels of `pair_reductions` these leave out no pairs; a hinge does so.
        leading: Whether `y` begins with the rows of `x`.
        factors: One number per term; None means 1.

    Returns:
        A `PairSums`.
    """
    factors = check_sums(terms, factors)
    inputs, attributes, count = _inputs(x, labels, terms, y, y_labels, metric, weights, None, leading)
    inputs[6] = inputs[6] if levels is None else as_matrix("levels", levels)
    outputs = _core.pair_sums(*inputs, np.asarray(factors, np.float32), **attributes)
    total, counts, slopes, dx, dy, _ = outputs
    if metric == "weighted_manhattan":
        dx, dy = dx * inputs[4], dy * inputs[4]
    return PairSums(total, counts[:count], slopes, dx, dy)


def _inputs(
    x: npt.ArrayLike,
    labels: npt.ArrayLike,
    terms: Sequence[PairTerm],
    y: npt.ArrayLike | None,
    y_labels: npt.ArrayLike | None,
    metric: str,
    weights: npt.ArrayLike | None,
    levels: npt.ArrayLike | None,
    leading: bool,
) -> tuple[list[Any], dict[str, str], int]:
    terms = check_terms(terms, metric, y is not None, y_labels is not None, weights is not None, leading)
    x = as_matrix("x", x)
    none = np.zeros((0, x.shape[1]), np.float32)
    others = np.zeros(0, np.int64) if y_labels is None else as_integers("y_labels", y_labels)
    inputs = [
        x,
        none if y is None else as_matrix("y", y),
        *(np.bitwise_xor(array.astype(np.int64), NO_LABEL) for array in (as_labels(labels), others)),
        as_weights(weights),
        np.asarray(parameters_of(terms), np.float32),
        np.zeros((0, len(x)), np.float32) if levels is None else _padded(as_matrix("levels", levels)),
    ]
    return inputs, attributes_of(terms, metric, y is not None, leading), len(terms)


def _padded(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows for both terms of the op, where one is given."""
    return np.concatenate([rows, np.zeros_like(rows)]) if len(rows) == 1 else rows
