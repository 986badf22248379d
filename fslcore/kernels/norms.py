# SPDX-License-Identifier: MIT
"""A network on the norms of pairs of rows, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore import _core
from fslcore.arguments import (
    MIXED_NORMS,
    as_float,
    as_matrix,
    as_numbers,
    check_norms,
    norms_as_bits,
    order_of_norms,
)
from fslcore.kernels.types import FloatArray
from fslcore.results import NormsGradient

_LEAST_SQUARE = 1e-12  # of tf.nn.l2_normalize


def pairwise_norms(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    norms: Sequence[str] = MIXED_NORMS,
    *,
    hidden: npt.ArrayLike,
    hidden_bias: npt.ArrayLike,
    mixing: npt.ArrayLike,
    weights: npt.ArrayLike,
    bias: float = 0.0,
    activation: str | None = None,
    unit: str = "row",
) -> FloatArray:
    """A network on the norms of every row of `x` with every row of `y`, the heads of keras-fsl.

        out[i, j] = act(sum_d weights_d sum_f mixing_f max(sum_k hidden_fk n_k(x_id, y_jd) + hidden_bias_f, 0)
                        + bias)

    | norm | n(q, s) |
    |---|---|
    | `first`, `second` | q, s |
    | `product` | q s |
    | `sum` | q + s |
    | `absolute` | abs(q - s), with slope 0 at 0 |
    | `squared` | (q - s)^2 |
    | `unit_product` | 1 - q s / (length of x_i * length of y_j); no length counts as less than 1e-6 |
    | `softmax` | exp(abs(q - s)) as a share of its sum over the coordinates |

    Nothing of size n * m * dim is formed.

    Args:
        x: [n, dim].
        y: [m, dim]; None means `x`.
        norms: Different names among `NORMS`, in the order of the columns of `hidden`.
        hidden: [filters, norms].
        hidden_bias: [filters].
        mixing: [filters].
        weights: [dim].
        bias: A number.
        activation: None or "sigmoid".
        unit: "row", or "batch": the lengths of `unit_product` are those of all pairs as one long vector, as
            in the notebooks of keras-fsl, so that the score of a pair depends on the others.

    Returns:
        float32 [n, m].

    Raises:
        ValueError: For unknown norms, or shapes that do not match.
    """
    inputs, attributes = _arguments(
        x, y, norms, (hidden, hidden_bias, mixing, weights, bias), activation, unit
    )
    (out,) = _core.pairwise_norms(*inputs, **attributes)
    return out


def pairwise_norms_grad(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None,
    grad: npt.ArrayLike,
    norms: Sequence[str] = MIXED_NORMS,
    *,
    hidden: npt.ArrayLike,
    hidden_bias: npt.ArrayLike,
    mixing: npt.ArrayLike,
    weights: npt.ArrayLike,
    bias: float = 0.0,
    activation: str | None = None,
    unit: str = "row",
) -> NormsGradient:
    """The gradient of a scalar loss through `pairwise_norms`.

    Args:
        x: [n, dim].
        y: [m, dim]; None means `x`, and the gradients of the two roles are returned apart.
        grad: [n, m], the gradient of the loss with respect to `pairwise_norms(x, y, ...)`.
        norms: As for `pairwise_norms`, and so are all others.
        hidden: [filters, norms].
        hidden_bias: [filters].
        mixing: [filters].
        weights: [dim].
        bias: A number.
        activation: None or "sigmoid".
        unit: "row" or "batch".

    Returns:
        A `NormsGradient`.

    Raises:
        ValueError: As for `pairwise_norms`.
    """
    inputs, attributes = _arguments(
        x, y, norms, (hidden, hidden_bias, mixing, weights, bias), activation, unit
    )
    (out,) = _core.pairwise_norms(*inputs, **attributes)
    dx, dy, dx_scales, dy_scales, dhidden, *rest, dbias = _core.pairwise_norms_grad(
        *inputs, as_matrix("grad", grad), out, **attributes
    )
    if "unit_product" in norms:
        first, second, x_scales, y_scales = inputs[:4]
        dx += _by_rows(first, x_scales, dx_scales, len(second), unit)
        dy += _by_rows(second, y_scales, dy_scales, len(first), unit)
    ordered = np.empty_like(dhidden)
    ordered[:, order_of_norms(tuple(norms))] = dhidden
    dhidden_bias, dmixing, dweights = rest
    return NormsGradient(dx, dy, ordered, dhidden_bias, dmixing, dweights, float(dbias))


def _arguments(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None,
    norms: Sequence[str],
    network: tuple[Any, ...],
    activation: str | None,
    unit: str,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The inputs and the attributes of both ops."""
    norms = check_norms(norms, unit, activation)
    x = as_matrix("x", x).astype(np.float32, copy=False)
    y = x if y is None else as_matrix("y", y).astype(np.float32, copy=False)
    hidden, hidden_bias, mixing, weights, bias = network
    hidden = as_matrix("hidden", hidden)
    if hidden.shape[1] != len(norms):
        raise ValueError(f"hidden must have shape [None, {len(norms)}], received shape {list(hidden.shape)}")
    vectors = [
        as_numbers(name, value, 1)
        for name, value in (("hidden_bias", hidden_bias), ("mixing", mixing), ("weights", weights))
    ]
    scales = [np.zeros(0, np.float32)] * 2
    if "unit_product" in norms:
        scales = [_scales(x, len(y), unit), _scales(y, len(x), unit)]
    hidden = hidden[:, order_of_norms(norms)]
    attributes = {"norms": norms_as_bits(norms), "activation": activation or "none"}
    return (x, y, *scales, hidden, *vectors, as_float("bias", bias)), attributes


def _scales(rows: FloatArray, others: int, unit: str) -> FloatArray:
    """One over the lengths of rows, or over that of all pairs of one side."""
    squared = np.sum(np.square(rows, dtype=np.float32), axis=1)
    if unit == "batch":
        squared = np.full(len(rows), others * squared.sum(dtype=np.float64), np.float32)
    return (1.0 / np.sqrt(np.maximum(squared, np.float32(_LEAST_SQUARE)))).astype(np.float32)


def _by_rows(
    rows: FloatArray, scales: FloatArray, gradient: FloatArray, others: int, unit: str
) -> FloatArray:
    """The gradient of rows by that of their scales: a length that is too small to count has none."""
    by_square = -0.5 * np.where(scales >= np.float32(_LEAST_SQUARE**-0.5), 0.0, scales**3) * gradient
    if unit == "batch":
        by_square = np.full(len(rows), others * by_square.sum(dtype=np.float64))
    return (2.0 * by_square[:, None] * rows).astype(np.float32)
