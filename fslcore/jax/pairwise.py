# SPDX-License-Identifier: MIT
"""Pairwise matrices and their gradient, differentiable."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fslcore.arguments import check_pairwise, check_precision
from fslcore.jax.handlers import Array, call, first_order_only, floats, like


def pairwise(
    x: Array,
    y: Array | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: Array | None = None,
    bias: Array | float = 0.0,
    activation: str | None = None,
    precision: str = "float32",
) -> Array:
    """The metric of every row of `x` with every row of `y`; see `fslcore.kernels.pairwise`.

    Args:
        x: [n, dim]; differentiable, like `y`, `weights` and `bias`.
        y: [m, dim]; None means `x`.
        metric: One of `fslcore.kernels.METRICS`.
        weights: [dim], for `weighted_manhattan` only.
        bias: Scalar, for `weighted_manhattan` only.
        activation: None or "sigmoid", for `weighted_manhattan` only.
        precision: The precision of products on a GPU; see `fslcore.ops.pairwise`.

    Returns:
        float32 [n, m].
    """
    inputs, attributes = _pairwise_arguments(x, y, metric, weights, bias, activation, precision)
    return _pairwise(*inputs, *attributes)


def pairwise_grad(
    x: Array,
    y: Array | None,
    grad: Array,
    metric: str = "sqeuclidean",
    *,
    weights: Array | None = None,
    bias: Array | float = 0.0,
    activation: str | None = None,
    out: Array | None = None,
    precision: str = "float32",
) -> tuple[Array, ...]:
    """The gradient of a scalar loss through `pairwise`; see `fslcore.kernels.pairwise_grad`.

    Args:
        x: [n, dim].
        y: [m, dim]; None means `x`.
        grad: [n, m], the gradient of the loss with respect to `pairwise(x, y)`.
        metric: As for `pairwise`.
        weights: As for `pairwise`.
        bias: As for `pairwise`.
        activation: As for `pairwise`.
        out: [n, m], what `pairwise` has returned for the same arguments; None: it is computed again.
        precision: As for `pairwise`.

    Returns:
        `(dx [n, dim], dy [m, dim])`, for `weighted_manhattan` also `dweights [dim]` and the scalar `dbias`.
    """
    inputs, attributes = _pairwise_arguments(x, y, metric, weights, bias, activation, precision)
    grad = floats("grad", grad, 2)
    out = _pairwise(*inputs, *attributes) if out is None else floats("out", out, 2)
    pairs = (inputs[0].shape[0], inputs[1].shape[0])
    for name, matrix in (("grad", grad), ("out", out)):
        if matrix.shape != pairs:
            raise ValueError(
                f"{name} must be {list(pairs)}, one number per pair of rows, received {list(matrix.shape)}"
            )
    gradients = _pairwise_grad(*inputs, grad, out, *attributes)
    return gradients if metric == "weighted_manhattan" else gradients[:2]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _pairwise(
    x: Array, y: Array, weights: Array, bias: Array, metric: str, activation: str, precision: str
) -> Array:
    result = jax.ShapeDtypeStruct((x.shape[0], y.shape[0]), jnp.float32)
    attributes = {"metric": metric, "activation": activation, "precision": precision}
    return call("pairwise", result, x, y, weights, bias, **attributes)


def _pairwise_forward(*arguments: Any) -> tuple[Array, tuple[Array, ...]]:
    out = _pairwise(*arguments)
    return out, (*arguments[:4], out)


def _pairwise_backward(metric: str, activation: str, precision: str, saved: Any, grad: Array) -> Any:
    *inputs, out = saved
    return _pairwise_grad(*inputs, grad, out, metric, activation, precision)


_pairwise.defvjp(_pairwise_forward, _pairwise_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(6, 7, 8))
def _pairwise_grad(
    x: Array,
    y: Array,
    weights: Array,
    bias: Array,
    grad: Array,
    out: Array,
    metric: str,
    activation: str,
    precision: str,
) -> tuple[Array, ...]:
    attributes = {"metric": metric, "activation": activation, "precision": precision}
    inputs = x, y, weights, bias
    return tuple(call("pairwise_grad", like(*inputs), *inputs, grad, out, **attributes))


_pairwise_grad.defvjp(lambda *arguments: (_pairwise_grad(*arguments), None), first_order_only("pairwise"))


def _pairwise_arguments(
    x: Array, y: Array, metric: str, weights: Array, bias: Array, activation: str | None, precision: str
) -> tuple[tuple[Array, ...], tuple[str, str, str]]:
    check_precision(precision)
    bias_given = isinstance(bias, jax.Array | np.ndarray) or bias != 0
    check_pairwise(metric, weights is not None, bias_given, activation)
    x = floats("x", x, 2)
    y = x if y is None else floats("y", y, 2)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x and y must have the same number of columns, received x: {list(x.shape)}, y: {list(y.shape)}"
        )
    weights = floats("weights", () if weights is None else weights, 1)
    if metric == "weighted_manhattan" and weights.shape != x.shape[1:]:
        raise ValueError(
            f"weights must hold one number per column of x ({x.shape[1]}) for weighted_manhattan, "
            f"received {weights.shape[0]}"
        )
    return (x, y, weights, floats("bias", bias, 0)), (metric, activation or "none", precision)
