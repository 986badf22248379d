# SPDX-License-Identifier: MIT
"""`pairwise` and its gradient."""

from __future__ import annotations

from numbers import Real
from typing import Any

import tensorflow as tf

from fslcore.arguments import check_pairwise, check_precision
from fslcore.ops._library import raw_ops
from fslcore.ops._tensors import matrix, scalar, weights_of_metric

Tensor = Any


def pairwise(
    x: Tensor,
    y: Tensor | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: Tensor | None = None,
    bias: Tensor | float = 0.0,
    activation: str | None = None,
    precision: str = "float32",
) -> Tensor:
    """The metric of every row of `x` with every row of `y`; see `fslcore.kernels.pairwise`.

    Args:
        x: [n, dim].
        y: [m, dim]; None means `x`.
        metric: One of `fslcore.kernels.METRICS`.
        weights: [dim], for `weighted_manhattan` only; differentiable.
        bias: Scalar, for `weighted_manhattan` only; differentiable.
        activation: None or "sigmoid", for `weighted_manhattan` only.
        precision: One of `PRECISIONS`, for products on a GPU in `sqeuclidean`, `euclidean`, `cosine`, `dot`
            and their gradients: "float32", exact; or on tensor cores "tf32" (11 bits), "3xtf32" (about 21)
            or "bfloat16" (8). Sums are in float32. A CPU always uses "float32".

    Returns:
        float32 [n, m].
    """
    check_precision(precision)
    bias_given = not isinstance(bias, Real) or bias != 0
    check_pairwise(metric, weights is not None, bias_given, activation)
    x = matrix("x", x)
    y = x if y is None else matrix("y", y)
    known = x.shape.is_fully_defined() and y.shape.is_fully_defined()
    if known and x.shape[1] != y.shape[1]:
        raise ValueError(
            "x and y must have the same number of columns, received "
            f"x: {x.shape.as_list()}, y: {y.shape.as_list()}"
        )
    return raw_ops.fslcore_pairwise(
        x=x,
        y=y,
        weights=weights_of_metric(weights),
        bias=scalar("bias", bias),
        metric=metric,
        activation=activation or "none",
        precision=precision,
    )


def pairwise_grad(
    x: Tensor,
    y: Tensor | None,
    grad: Tensor,
    metric: str = "sqeuclidean",
    *,
    weights: Tensor | None = None,
    bias: Tensor | float = 0.0,
    activation: str | None = None,
    out: Tensor | None = None,
    precision: str = "float32",
) -> tuple[Tensor, ...]:
    """The gradient of a scalar loss through `pairwise`; see `fslcore.kernels.pairwise_grad`.

    Args:
        x: [n, dim].
        y: [m, dim]; None means `x`.
        grad: [n, m], the gradient of the loss with respect to `pairwise(x, y)`.
        metric: One of `fslcore.kernels.METRICS`.
        weights: As for `pairwise`.
        bias: As for `pairwise`.
        activation: As for `pairwise`.
        out: [n, m], what `pairwise` has returned for the same arguments; None: it is computed again.
        precision: As for `pairwise`.

    Returns:
        `(dx [n, dim], dy [m, dim])`, for `weighted_manhattan` also `dweights [dim]` and the scalar `dbias`.
    """
    if out is None:
        out = pairwise(x, y, metric, weights=weights, bias=bias, activation=activation, precision=precision)
    x = matrix("x", x)
    gradients = raw_ops.fslcore_pairwise_grad(
        x=x,
        y=x if y is None else matrix("y", y),
        weights=weights_of_metric(weights),
        bias=scalar("bias", bias),
        grad=matrix("grad", grad),
        out=matrix("out", out),
        metric=metric,
        activation=activation or "none",
        precision=precision,
    )
    return tuple(gradients) if metric == "weighted_manhattan" else (gradients.dx, gradients.dy)


@tf.RegisterGradient("FslcorePairwise")
def _pairwise_gradient(op: Any, grad: Tensor) -> Tensor:
    return raw_ops.fslcore_pairwise_grad(
        *op.inputs,
        grad=grad,
        out=op.outputs[0],
        metric=op.get_attr("metric"),
        activation=op.get_attr("activation"),
        precision=op.get_attr("precision"),
    )
