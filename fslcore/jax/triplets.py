# SPDX-License-Identifier: MIT
"""Triplets of a batch and the differentiable loss on them."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fslcore.arguments import TRIPLET_METRICS, as_float, check_metric
from fslcore.jax.handlers import Array, call, floats, integers, like
from fslcore.results import TripletResult


class MinedTriplets(NamedTuple):
    """What `mine_semihard` and `mine_hard` return: shapes in JAX do not depend on values.

    Attributes:
        anchor: int32 [most], most = batch * (batch - 1), or batch for `mine_hard`. The first `num_pairs`
            entries are triplets, the others 0.
        positive: int32 [most], likewise.
        negative: int32 [most], likewise.
        num_pairs: int32 scalar, the number of triplets.
    """

    anchor: Array
    positive: Array
    negative: Array
    num_pairs: Array


def mine_semihard(x: Array, labels: Array, metric: str = "sqeuclidean") -> MinedTriplets:
    """Semi-hard triplets of a batch; see `fslcore.kernels.mine_semihard`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        A `MinedTriplets`, by anchor, then by positive.
    """
    return _mine("semihard", x, labels, metric)


def mine_hard(x: Array, labels: Array, metric: str = "sqeuclidean") -> MinedTriplets:
    """The hardest triplets of a batch; see `fslcore.kernels.mine_hard`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        A `MinedTriplets`, by anchor.
    """
    return _mine("hard", x, labels, metric)


def triplet_semihard(
    x: Array, labels: Array, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """The triplet loss on semi-hard triplets; see `fslcore.kernels.triplet_semihard`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        margin: The margin, a Python number.
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        A `TripletResult` of arrays; `loss` is differentiable with respect to `x`.
    """
    return _triplet_loss("semihard", x, labels, margin, metric)


def triplet_hard(x: Array, labels: Array, margin: float = 1.0, metric: str = "sqeuclidean") -> TripletResult:
    """The triplet loss on the hardest triplets; see `fslcore.kernels.triplet_hard`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        margin: The margin, a Python number.
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        A `TripletResult` of arrays; `loss` is differentiable with respect to `x`.
    """
    return _triplet_loss("hard", x, labels, margin, metric)


def _mine(mining: str, x: Array, labels: Array, metric: str) -> MinedTriplets:
    check_metric(metric, TRIPLET_METRICS)
    x, labels = floats("x", x, 2), integers("labels", labels, 1)
    batch = x.shape[0]
    most = 0 if batch == 1 else batch if mining == "hard" else batch * (batch - 1)
    indices = (jax.ShapeDtypeStruct((most,), jnp.int32),) * 3
    results = (*indices, jax.ShapeDtypeStruct((), jnp.int32))
    rows = jnp.int32(batch)
    return MinedTriplets(*call("mine_triplets", results, x, labels, rows, mining=mining, metric=metric))


def _triplet_loss(mining: str, x: Array, labels: Array, margin: float, metric: str) -> TripletResult:
    check_metric(metric, TRIPLET_METRICS)
    inputs = floats("x", x, 2), integers("labels", labels, 1)
    return TripletResult(*_triplets(*inputs, mining, metric, as_float("margin", margin)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _triplets(x: Array, labels: Array, mining: str, metric: str, margin: float) -> Any:
    results = (jax.ShapeDtypeStruct((), jnp.float32), *like(x), jax.ShapeDtypeStruct((), jnp.int64))
    attributes = {"mining": mining, "metric": metric, "margin": margin}
    return tuple(call("triplet_loss", results, x, labels, jnp.int32(x.shape[0]), **attributes))


def _triplets_forward(*arguments: Any) -> tuple[Any, Array]:
    results = _triplets(*arguments)
    return results, results[1]


def _triplets_backward(*arguments: Any) -> tuple[Array, None]:
    *_, grad, upstream = arguments
    return upstream[0] * grad, None


_triplets.defvjp(_triplets_forward, _triplets_backward)
