# SPDX-License-Identifier: MIT
"""The nearest rows, differentiable."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from fslcore.arguments import check_nearest
from fslcore.jax.handlers import Array, call, floats
from fslcore.results import NearestResult


def nearest(queries: Array, rows: Array, k: int, metric: str = "sqeuclidean") -> NearestResult:
    """The `k` rows that are nearest to each query; see `fslcore.kernels.nearest`.

    Args:
        queries: [n, dim]; differentiable, like `rows`.
        rows: [m, dim].
        k: From 1 to m, a Python number.
        metric: One of `fslcore.kernels.SEARCH_METRICS`.

    Returns:
        A `NearestResult`: `values` float32 [n, k] and `indices` int32 [n, k].
    """
    k = check_nearest(k, metric)
    queries, rows = floats("queries", queries, 2), floats("rows", rows, 2)
    if queries.shape[1] != rows.shape[1]:
        raise ValueError(
            "queries and rows must have the same number of columns, received "
            f"queries: {list(queries.shape)}, rows: {list(rows.shape)}"
        )
    if k > rows.shape[0]:
        raise ValueError(f"k must be at most the number of rows ({rows.shape[0]}), received {k}")
    return NearestResult(*_nearest(queries, rows, k, metric))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _nearest(queries: Array, rows: Array, k: int, metric: str) -> tuple[Array, Array]:
    shape = (queries.shape[0], k)
    results = (jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct(shape, jnp.int32))
    return tuple(call("nearest", results, queries, rows, jnp.int32(rows.shape[0]), metric=metric, k=k))


def _forward(queries: Array, rows: Array, k: int, metric: str) -> Any:
    results = _nearest(queries, rows, k, metric)
    return results, (queries, rows, results[1])


def _backward(_: int, metric: str, saved: Any, gradients: Any) -> tuple[Array, Array]:
    queries, rows, indices = saved
    of_inputs = jax.vjp(lambda x, y: _DISTANCES[metric](x[:, None], y[indices]), queries, rows)[1]
    return of_inputs(gradients[0])


_nearest.defvjp(_forward, _backward)


# With gradient 0 where rows coincide.


def _squared(x: Array, y: Array) -> Array:
    return jnp.sum((x - y) ** 2, axis=-1)


def _root(squared: Array) -> Array:
    is_zero = squared == 0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squared)))


def _cosine(x: Array, y: Array) -> Array:
    (x, x_is_zero), (y, y_is_zero) = _unit(x), _unit(y)
    return jnp.where(x_is_zero | y_is_zero, 1.0, 0.5 * _squared(x, y))


def _unit(x: Array) -> tuple[Array, Array]:
    is_zero = jnp.all(x == 0, axis=-1, keepdims=True)
    scale = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True, initial=0.0))
    x = x / jnp.where(is_zero, 1.0, scale)
    squared = jnp.where(is_zero, 1.0, jnp.sum(x**2, axis=-1, keepdims=True))
    return x / jnp.sqrt(squared), is_zero[..., 0]


def _chebyshev(x: Array, y: Array) -> Array:
    difference = jnp.abs(x - y)
    if difference.shape[-1] == 0:
        return jnp.zeros(difference.shape[:-1])
    first = jnp.argmax(difference, axis=-1)[..., None]
    return jnp.take_along_axis(difference, first, axis=-1)[..., 0]


_DISTANCES = {
    "sqeuclidean": _squared,
    "euclidean": lambda x, y: _root(_squared(x, y)),
    "cosine": _cosine,
    "dot": lambda x, y: jnp.sum(x * y, axis=-1),
    "manhattan": lambda x, y: jnp.sum(jnp.abs(x - y), axis=-1),
    "chebyshev": _chebyshev,
}


def metric_of_rows(x: Array, y: Array, metric: str, weights: Array) -> Array:
    """The metric of rows of the same place, `weighted_manhattan` included."""
    if metric == "weighted_manhattan":
        return jnp.sum(weights * jnp.abs(x - y), axis=-1)
    return _DISTANCES[metric](x, y)
