# SPDX-License-Identifier: MIT
"""Losses over the pairs of a batch without their matrix, differentiable."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from fslcore.jax.handlers import Array, call, first_order_only, floats, integers, like
from fslcore.jax.search import metric_of_rows
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
    x: Array,
    labels: Array,
    terms: Sequence[PairTerm],
    y: Array | None = None,
    y_labels: Array | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: Array | None = None,
    levels: Array | None = None,
    leading: bool = False,
) -> PairReductions:
    """One or two numbers for each row from its pairs; see `fslcore.kernels.pair_reductions`.

    Args:
        x: [batch, dim]; differentiable, like `y`, `weights`, the scales and offsets of the terms, and the
            levels of `lifted`.
        labels: Integers [batch].
        terms: One or two of `PairTerm`.
        y: [m, dim]; None means `x`.
        y_labels: Integers [m], with `y`.
        metric: One of `fslcore.kernels.PAIR_METRICS`.
        weights: [dim], for `weighted_manhattan`.
        levels: [terms, batch].
        leading: Whether `y` begins with the rows of `x`.

    Returns:
        A `PairReductions` of arrays.
    """
    inputs, attributes, count = _inputs(x, labels, terms, y, y_labels, metric, weights, levels, leading)
    return PairReductions(*(part[:count] for part in _reductions(*inputs, attributes)))


def pair_reductions_grad(
    x: Array,
    labels: Array,
    terms: Sequence[PairTerm],
    values: Array,
    grad: Array,
    y: Array | None = None,
    y_labels: Array | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: Array | None = None,
    levels: Array | None = None,
    leading: bool = False,
) -> tuple[Array, Array]:
    """The gradient of a scalar loss through `pair_reductions`; see `fslcore.kernels.pair_reductions_grad`."""
    check_smooth(terms)
    inputs, attributes, _ = _inputs(x, labels, terms, y, y_labels, metric, weights, levels, leading)
    values, grad = _padded(floats("values", values, 2)), _padded(floats("grad", grad, 2))
    dx, dy, *_ = _gradients(inputs, values, grad, attributes)
    return (dx, dy) if weights is None else (dx * inputs[4], dy * inputs[4])


def pair_sums(
    x: Array,
    labels: Array,
    terms: Sequence[PairTerm],
    y: Array | None = None,
    y_labels: Array | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: Array | None = None,
    levels: Array | None = None,
    leading: bool = False,
    factors: Sequence[Array] | None = None,
) -> PairSums:
    """The sum of terms over all pairs with its gradient in one pass; see `fslcore.kernels.pair_sums`.

    Args:
        x: [batch, dim]; `total` is differentiable with respect to it, and to `y`, `weights`, `levels`, the
            scales and offsets of the terms. The factors have no derivative, nor has any other result.
        labels: Integers [batch].
        terms: One or two of `PairTerm`, of the reduction "sum".
        y: [m, dim]; None means `x`.
        y_labels: Integers [m], with `y`.
        metric: One of `fslcore.kernels.PAIR_METRICS`.
        weights: [dim], for `weighted_manhattan`.
        levels: [0 to 8, batch].
        leading: Whether `y` begins with the rows of `x`.
        factors: One number per term.

    Returns:
        A `PairSums` of arrays.
    """
    numbers = check_sums(terms, factors)
    inputs, attributes, count = _inputs(x, labels, terms, y, y_labels, metric, weights, None, leading)
    inputs[6] = inputs[6] if levels is None else floats("levels", levels, 2)
    constants = jnp.asarray([jnp.asarray(value, jnp.float32) for value in numbers])
    total, counts, slopes, dx, dy, _ = _sums(*inputs, constants, attributes)
    dx, dy = (dx, dy) if weights is None else (dx * inputs[4], dy * inputs[4])
    return PairSums(total, counts[:count], slopes, dx, dy)


def _inputs(
    x: Array,
    labels: Array,
    terms: Sequence[PairTerm],
    y: Array | None,
    y_labels: Array | None,
    metric: str,
    weights: Array | None,
    levels: Array | None,
    leading: bool,
) -> tuple[list[Array], tuple[tuple[str, str], ...], int]:
    terms = check_terms(terms, metric, y is not None, y_labels is not None, weights is not None, leading)
    x = floats("x", x, 2)
    own = integers("labels", labels, 1)
    others = jnp.zeros(0, jnp.int64) if y_labels is None else integers("y_labels", y_labels, 1)
    if own.shape[0] != x.shape[0]:
        raise ValueError(f"labels must hold one label per row of x ({x.shape[0]}), received {own.shape[0]}")
    rows = jnp.asarray([[jnp.asarray(value, jnp.float32) for value in row] for row in parameters_of(terms)])
    inputs = [
        x,
        jnp.zeros((0, x.shape[1]), jnp.float32) if y is None else floats("y", y, 2),
        own ^ NO_LABEL,
        others ^ NO_LABEL,
        jnp.zeros(0, jnp.float32) if weights is None else floats("weights", weights, 1),
        rows,
        jnp.zeros((0, x.shape[0]), jnp.float32) if levels is None else _padded(floats("levels", levels, 2)),
    ]
    attributes = attributes_of(terms, metric, y is not None, leading)
    return inputs, tuple(attributes.items()), len(terms)


def _padded(rows: Array) -> Array:
    """Rows for both terms of the op, where one is given."""
    return jnp.concatenate([rows, jnp.zeros_like(rows)]) if rows.shape[0] == 1 else rows


@functools.partial(jax.custom_vjp, nondiff_argnums=(7,))
def _reductions(
    x: Array, y: Array, x_labels: Array, y_labels: Array, weights: Array, parameters: Array, levels: Array,
    attributes: Any,
) -> tuple[Array, ...]:  # fmt: skip
    shape = (2, x.shape[0])
    results = tuple(jax.ShapeDtypeStruct(shape, dtype) for dtype in (jnp.float32, jnp.int32, jnp.float32))
    inputs = (x, y, x_labels, y_labels, weights, parameters, levels)
    return tuple(call("pair_reductions", results, *inputs, **dict(attributes)))


def _forward(*arguments: Any) -> Any:
    *inputs, attributes = arguments
    results = _reductions(*inputs, attributes)
    return results, (inputs, results[0], results[1])


def _backward(attributes: Any, saved: Any, upstream: Any) -> tuple[Array | None, ...]:
    inputs, values, indices = saved
    x, y, _, _, weights, parameters, _ = inputs
    options = dict(attributes)
    is_extreme = [options[f"{name}_reduction"] in ("max", "min") for name in ("first", "second")]
    smooth = jnp.where(jnp.asarray(is_extreme)[:, None], 0.0, upstream[0])
    dx, dy, dlevels, sums = _gradients(inputs, values, smooth, attributes)
    dweights = jnp.zeros_like(weights)
    if options["metric"] == "weighted_manhattan":
        dweights = jnp.sum(x * dx, axis=0) + jnp.sum(y * dy, axis=0)
        dx, dy = dx * weights, dy * weights
    by_offset, by_scale = jnp.sum(sums, axis=2).T
    dparameters = jnp.stack([by_scale, by_offset, *[jnp.zeros(2, jnp.float32)] * 2], axis=1)
    gradients = [dx, dy, dweights, dparameters]
    for term, extreme in enumerate(is_extreme):
        if extreme:
            of = functools.partial(_values_at, indices[term], options, term)
            more = jax.vjp(of, x, y, weights, parameters)[1](upstream[0][term])
            gradients = [a + b for a, b in zip(gradients, more, strict=True)]
    dx, dy, dweights, dparameters = gradients
    return dx, dy, None, None, dweights, dparameters, dlevels


_reductions.defvjp(_forward, _backward)


def _gradients(inputs: Any, values: Array, grad: Array, attributes: Any) -> tuple[Array, ...]:
    x, y, *_, levels = inputs
    results = (*like(x, y, levels), jax.ShapeDtypeStruct((2, 2, x.shape[0]), jnp.float32))
    return tuple(call("pair_reductions_grad", results, *inputs, values, grad, **dict(attributes)))


def _values_at(
    index: Array, options: dict[str, str], term: int, x: Array, y: Array, weights: Array, parameters: Array
) -> Array:
    """function(t) of each row and the one at its index; 0 without one."""
    rows = x if options["rows"] == "batch" else y
    if rows.shape[0] == 0:
        return jnp.zeros(x.shape[0]) + 0.0 * jnp.sum(parameters)
    scale, offset, gain, shift = parameters[term]
    other = rows[jnp.maximum(index, 0)]
    t = scale * metric_of_rows(x, other, options["metric"], weights) + offset
    positive = jax.nn.relu(t)
    value = {
        "linear": lambda: t,
        "hinge": lambda: positive,
        "squared_hinge": lambda: positive**2,
        "softplus": lambda: jax.nn.softplus(t),
        "circle": lambda: gain * jax.lax.stop_gradient(positive) * (t - shift),
    }[options[("first", "second")[term] + "_function"]]()
    return jnp.where(index < 0, 0.0, value)


@functools.partial(jax.custom_vjp, nondiff_argnums=(8,))
def _sums(
    x: Array, y: Array, x_labels: Array, y_labels: Array, weights: Array, parameters: Array, levels: Array,
    factors: Array, attributes: Any,
) -> tuple[Array, ...]:  # fmt: skip
    def numbers(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    results = (numbers(), numbers(2), *like(levels, x, y), numbers(2, 2))
    inputs = (x, y, x_labels, y_labels, weights, parameters, levels, factors)
    return tuple(call("pair_sums", results, *inputs, **dict(attributes)))


def _sums_forward(*arguments: Any) -> Any:
    *given, attributes = arguments
    if given[-1].perturbed:
        raise NotImplementedError("the factors of pair_sums have no derivative")
    inputs = [argument.value for argument in given]
    results = _sums(*inputs, attributes)
    return results, (*inputs[:2], inputs[4], results[2:])


def _sums_backward(attributes: Any, saved: Any, upstream: Any) -> tuple[Array | None, ...]:
    x, y, weights, results = saved
    of_total, *of_others = upstream
    if not all(isinstance(part, SymbolicZero) for part in of_others):  # also of the second order
        _refuse_sums()
    factor = jnp.float32(0) if isinstance(of_total, SymbolicZero) else of_total
    slopes, dx, dy, dparameters = (factor * part for part in results)
    dweights = jnp.zeros_like(weights)
    if dict(attributes)["metric"] == "weighted_manhattan":
        dweights = jnp.sum(x * dx, axis=0) + jnp.sum(y * dy, axis=0)
        dx, dy = dx * weights, dy * weights
    dparameters = jnp.pad(dparameters, ((0, 0), (0, 2)))
    return dx, dy, None, None, dweights, dparameters, -slopes, jnp.zeros(2, jnp.float32)


_refuse_sums = first_order_only("pair_sums")
_sums.defvjp(_sums_forward, _sums_backward, symbolic_zeros=True)
