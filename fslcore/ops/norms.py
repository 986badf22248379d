# SPDX-License-Identifier: MIT
"""`pairwise_norms` and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fslcore.arguments import MIXED_NORMS, check_norms, norms_as_bits, order_of_norms
from fslcore.ops._library import raw_ops
from fslcore.ops._tensors import check_shape, matrix, scalar, vector
from fslcore.results import NormsGradient
from fslcore.twins.norms import scales_of_rows

Tensor = Any


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

    Args:
        x: [n, dim]; differentiable, like `y` and the weights of the network.
        y: [m, dim]; None means `x`.
        norms: Different names among `fslcore.kernels.NORMS`.
        hidden: [filters, norms].
        hidden_bias: [filters].
        mixing: [filters].
        weights: [dim].
        bias: Scalar.
        activation: None or "sigmoid".
        unit: "row" or "batch", the lengths of `unit_product`.

    Returns:
        float32 [n, m].
    """
    norms = check_norms(norms, unit, activation)
    x = matrix("x", x)
    y = x if y is None else matrix("y", y)
    hidden = matrix("hidden", hidden)
    check_shape("hidden", hidden, [None, len(norms)])
    order = order_of_norms(norms)
    if order != sorted(order):
        hidden = tf.gather(hidden, order, axis=1)
    scaled = "unit_product" in norms
    x_scales, y_scales = scales_of_rows(x, y, unit) if scaled else (tf.zeros([0]), tf.zeros([0]))
    return raw_ops.fslcore_pairwise_norms(
        x=x,
        y=y,
        x_scales=x_scales,
        y_scales=y_scales,
        hidden=hidden,
        hidden_bias=vector("hidden_bias", hidden_bias),
        mixing=vector("mixing", mixing),
        weights=vector("weights", weights),
        bias=scalar("bias", bias),
        norms=norms_as_bits(norms),
        activation=activation or "none",
    )


def pairwise_norms_grad(
    x: Tensor,
    y: Tensor | None,
    grad: Tensor,
    norms: Sequence[str] = MIXED_NORMS,
    *,
    hidden: Tensor,
    hidden_bias: Tensor,
    mixing: Tensor,
    weights: Tensor,
    bias: Tensor | float = 0.0,
    activation: str | None = None,
    unit: str = "row",
) -> NormsGradient:
    """The gradient of a scalar loss through `pairwise_norms`; see `fslcore.kernels.pairwise_norms_grad`.

    Args:
        x: [n, dim].
        y: [m, dim]; None means `x`.
        grad: [n, m], the gradient of the loss with respect to `pairwise_norms(x, y, ...)`.
        norms: As for `pairwise_norms`, and so are all others.
        hidden: [filters, norms].
        hidden_bias: [filters].
        mixing: [filters].
        weights: [dim].
        bias: Scalar.
        activation: None or "sigmoid".
        unit: "row" or "batch".

    Returns:
        A `NormsGradient`.
    """
    x = matrix("x", x)
    arguments = {
        "x": x,
        "y": tf.identity(x) if y is None else matrix("y", y),
        "hidden": matrix("hidden", hidden),
        "hidden_bias": vector("hidden_bias", hidden_bias),
        "mixing": vector("mixing", mixing),
        "weights": vector("weights", weights),
        "bias": tf.convert_to_tensor(scalar("bias", bias), tf.float32),
    }
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        out = pairwise_norms(norms=norms, activation=activation, unit=unit, **arguments)
    grad = matrix("grad", grad)
    if not grad.shape.is_compatible_with(out.shape):
        raise ValueError(f"grad must have shape {out.shape.as_list()}, received shape {grad.shape.as_list()}")
    return NormsGradient(**tape.gradient(out, arguments, output_gradients=grad))


@tf.RegisterGradient("FslcorePairwiseNorms")
def _pairwise_norms_gradient(op: Any, grad: Tensor) -> Tensor:
    return raw_ops.fslcore_pairwise_norms_grad(
        *op.inputs,
        grad=grad,
        out=op.outputs[0],
        norms=op.get_attr("norms"),
        activation=op.get_attr("activation"),
    )
