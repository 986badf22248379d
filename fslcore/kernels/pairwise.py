# SPDX-License-Identifier: MIT
"""Pairwise matrices and their gradient."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from fslcore import _core
from fslcore.arguments import as_float, as_matrix, as_weights, check_pairwise
from fslcore.kernels.types import FloatArray


def pairwise(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: npt.ArrayLike | None = None,
    bias: float = 0.0,
    activation: str | None = None,
) -> FloatArray:
    """The metric of every row of `x` with every row of `y`.

    | metric | out[i, j] |
    |---|---|
    | `sqeuclidean` | sum_d (x_id - y_jd)^2 |
    | `euclidean` | its square root |
    | `cosine` | 1 - <x_i, y_j> / (norm(x_i) norm(y_j)); 1 where a row is zero |
    | `dot` | <x_i, y_j>, a similarity |
    | `manhattan` | sum_d abs(x_id - y_jd) |
    | `weighted_manhattan` | act(sum_d w_d abs(x_id - y_jd) + bias); with a sigmoid, Koch et al. (2015) |
    | `chebyshev` | max_d abs(x_id - y_jd); the gradient goes to the first d that attains it |

    Equal rows are at distance exactly 0, and near rows keep their digits. A NaN makes its row or column NaN.

    Args:
        x: [n, dim].
        y: [m, dim]; None means `x`.
        metric: One of `METRICS`.
        weights: [dim], for `weighted_manhattan` only.
        bias: For `weighted_manhattan` only.
        activation: None or "sigmoid", for `weighted_manhattan` only.

    Returns:
        float32 [n, m].

    Raises:
        ValueError: For an unknown metric, shapes that do not match, or arguments that do not go with it.
    """
    inputs, attributes = _pairwise_arguments(x, y, metric, weights, bias, activation)
    (out,) = _core.pairwise(*inputs, **attributes)
    return out


def pairwise_grad(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None,
    grad: npt.ArrayLike,
    metric: str = "sqeuclidean",
    *,
    weights: npt.ArrayLike | None = None,
    bias: float = 0.0,
    activation: str | None = None,
    out: npt.ArrayLike | None = None,
) -> tuple[Any, ...]:
    """The gradient of a scalar loss through `pairwise`.

    The gradient at distance 0 is 0. Under `cosine`, the gradient of a zero row is 0.

    Args:
        x: [n, dim].
        y: [m, dim]; None means `x`, and the gradients of the two roles are returned apart.
        grad: [n, m], the gradient of the loss with respect to `pairwise(x, y)`.
        metric: One of `METRICS`.
        weights: As for `pairwise`.
        bias: As for `pairwise`.
        activation: As for `pairwise`.
        out: [n, m], what `pairwise` has returned for the same arguments; None: it is computed again.

    Returns:
        `(dx [n, dim], dy [m, dim])`, for `weighted_manhattan` also `dweights [dim]` and `dbias`.

    Raises:
        ValueError: As for `pairwise`.
    """
    inputs, attributes = _pairwise_arguments(x, y, metric, weights, bias, activation)
    out = _core.pairwise(*inputs, **attributes)[0] if out is None else as_matrix("out", out)
    dx, dy, dweights, dbias = _core.pairwise_grad(*inputs, as_matrix("grad", grad), out, **attributes)
    return (dx, dy, dweights, float(dbias)) if metric == "weighted_manhattan" else (dx, dy)


def _pairwise_arguments(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None,
    metric: str,
    weights: npt.ArrayLike | None,
    bias: float,
    activation: str | None,
) -> tuple[tuple[Any, ...], dict[str, str]]:
    """The inputs and the attributes of both ops."""
    x = as_matrix("x", x)
    y = x if y is None else as_matrix("y", y)
    bias = as_float("bias", bias)
    check_pairwise(metric, weights is not None, bias != 0.0, activation)
    return (x, y, as_weights(weights), bias), {"metric": metric, "activation": activation or "none"}
