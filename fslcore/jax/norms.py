# SPDX-License-Identifier: MIT
"""A network on the norms of pairs of rows, and its gradient, differentiable."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fslcore.arguments import MIXED_NORMS, check_norms, norms_as_bits, order_of_norms
from fslcore.jax.handlers import Array, call, first_order_only, floats, like
from fslcore.results import NormsGradient


def pairwise_norms(
    x: Array,
    y: Array | None = None,
    norms: Sequence[str] = MIXED_NORMS,
    *,
    hidden: Array,
    hidden_bias: Array,
    mixing: Array,
    weights: Array,
    bias: Array | float = 0.0,
    activation: str | None = None,
    unit: str = "row",
) -> Array:
    """A network on the norms of every row of `x` with every row of `y`; see `fslcore.kernels.pairwise_norms`.

    Args:
        x: [n, dim]; differentiable, like `y` and the weights of the network.
        y: [m, dim]; None means `x`.
        norms: As for `fslcore.kernels.pairwise_norms`, and so are all others.
        hidden: [filters, norms].
        hidden_bias: [filters].
        mixing: [filters].
        weights: [dim].
        bias: Scalar.
        activation: None or "sigmoid".
        unit: "row" or "batch".

    Returns:
        float32 [n, m].
    """
    norms = check_norms(norms, unit, activation)
    x = floats("x", x, 2)
    y = x if y is None else floats("y", y, 2)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x and y must have the same number of columns, received x: {list(x.shape)}, y: {list(y.shape)}"
        )
    hidden = floats("hidden", hidden, 2)
    if hidden.shape[1] != len(norms):
        raise ValueError(f"hidden must have shape [None, {len(norms)}], received shape {list(hidden.shape)}")
    arrays = {"hidden_bias": hidden_bias, "mixing": mixing, "weights": weights}
    vectors = [floats(name, value, 1) for name, value in arrays.items()]
    for name, array, size in zip(arrays, vectors, (len(hidden), len(hidden), x.shape[1]), strict=True):
        if array.shape != (size,):
            raise ValueError(f"{name} must have shape [{size}], received shape {list(array.shape)}")
    scales = [jnp.zeros(0, jnp.float32)] * 2
    if "unit_product" in norms:
        scales = [_scales(x, len(y), unit), _scales(y, len(x), unit)]
    return _pairwise_norms(
        x,
        y,
        *scales,
        hidden[:, jnp.array(order_of_norms(norms))],
        *vectors,
        floats("bias", bias, 0),
        norms_as_bits(norms),
        activation or "none",
    )


def pairwise_norms_grad(
    x: Array,
    y: Array | None,
    grad: Array,
    norms: Sequence[str] = MIXED_NORMS,
    *,
    hidden: Array,
    hidden_bias: Array,
    mixing: Array,
    weights: Array,
    bias: Array | float = 0.0,
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
    x = floats("x", x, 2)
    arguments = {
        "x": x,
        "y": x if y is None else floats("y", y, 2),
        "hidden": floats("hidden", hidden, 2),
        "hidden_bias": floats("hidden_bias", hidden_bias, 1),
        "mixing": floats("mixing", mixing, 1),
        "weights": floats("weights", weights, 1),
        "bias": floats("bias", bias, 0),
    }
    score = lambda given: pairwise_norms(norms=norms, activation=activation, unit=unit, **given)  # noqa: E731
    out, backward = jax.vjp(score, arguments)
    grad = floats("grad", grad, 2)
    if grad.shape != out.shape:
        raise ValueError(f"grad must have shape {list(out.shape)}, received shape {list(grad.shape)}")
    return NormsGradient(**backward(grad)[0])


def _scales(rows: Array, others: int, unit: str) -> Array:
    """As in `fslcore.kernels`."""
    squared = jnp.sum(rows**2, axis=1)
    if unit == "batch":
        squared = jnp.full(len(rows), others * squared.sum())
    return jax.lax.rsqrt(jnp.maximum(squared, 1e-12))


@functools.partial(jax.custom_vjp, nondiff_argnums=(9, 10))
def _pairwise_norms(*arguments: Any) -> Array:
    *inputs, norms, activation = arguments
    result = jax.ShapeDtypeStruct((inputs[0].shape[0], inputs[1].shape[0]), jnp.float32)
    return call("pairwise_norms", result, *inputs, norms=norms, activation=activation)


def _forward(*arguments: Any) -> tuple[Array, tuple[Array, ...]]:
    out = _pairwise_norms(*arguments)
    return out, (*arguments[:9], out)


def _backward(norms: int, activation: str, saved: Any, grad: Array) -> Any:
    *inputs, out = saved
    return _pairwise_norms_grad(*inputs, grad, out, norms, activation)


_pairwise_norms.defvjp(_forward, _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(11, 12))
def _pairwise_norms_grad(*arguments: Any) -> tuple[Array, ...]:
    *inputs, norms, activation = arguments
    results = like(*inputs[:9])
    return tuple(call("pairwise_norms_grad", results, *inputs, norms=norms, activation=activation))


_pairwise_norms_grad.defvjp(
    lambda *arguments: (_pairwise_norms_grad(*arguments), None), first_order_only("pairwise_norms")
)
