# SPDX-License-Identifier: MIT
"""Triplets of a batch and the differentiable loss on them."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from fslcore.arguments import PAIR_MININGS, ArgumentError, as_float, check_triplets
from fslcore.jax.handlers import Array, call, first_order_only, floats, integers, like
from fslcore.results import TripletResult


class MinedTriplets(NamedTuple):
    """What `mine_triplets` returns: shapes in JAX do not depend on values.

    Attributes:
        anchor: int32 [most], most = batch * (batch - 1) for `semihard`, batch for the other rules. The first
            `num_pairs` entries are triplets, the others 0.
        positive: int32 [most], likewise.
        negative: int32 [most], likewise.
        num_pairs: int32 scalar, the number of triplets.
    """

    anchor: Array
    positive: Array
    negative: Array
    num_pairs: Array


def mine_triplets(
    x: Array, labels: Array, mining: str = "semihard", metric: str = "sqeuclidean"
) -> MinedTriplets:
    """The triplets of a batch that a rule of mining chooses; see `fslcore.kernels.mine_triplets`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        mining: One of `fslcore.kernels.MININGS`.
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        A `MinedTriplets`, by anchor, then by positive.
    """
    x, labels = _batch(x, labels, mining, metric)
    batch = x.shape[0]
    most = 0 if batch == 1 else batch * (batch - 1) if mining in PAIR_MININGS else batch
    if most >= 2**31:
        raise ArgumentError(
            "x", f"must have fewer rows for mining={mining!r}: at most 46341", described=f"{batch} rows"
        )
    indices = (jax.ShapeDtypeStruct((most,), jnp.int32),) * 3
    results = (*indices, jax.ShapeDtypeStruct((), jnp.int32))
    rows = jnp.int32(batch)
    return MinedTriplets(*call("mine_triplets", results, x, labels, rows, mining=mining, metric=metric))


def triplet_loss(
    x: Array, labels: Array, mining: str = "semihard", margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """The triplet loss on mined triplets; see `fslcore.kernels.triplet_loss`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        mining: One of `fslcore.kernels.MININGS`.
        margin: The margin, a Python number.
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        A `TripletResult` of arrays; `loss` is differentiable with respect to `x`.
    """
    inputs = _batch(x, labels, mining, metric)
    return TripletResult(*_triplets(*inputs, mining, metric, as_float("margin", margin)))


def mine_semihard(x: Array, labels: Array, metric: str = "sqeuclidean") -> MinedTriplets:
    """`mine_triplets` with `mining="semihard"`: a triplet for every (anchor, positive) pair."""
    return mine_triplets(x, labels, "semihard", metric)


def mine_hard(x: Array, labels: Array, metric: str = "sqeuclidean") -> MinedTriplets:
    """`mine_triplets` with `mining="hard"`: a triplet for every anchor."""
    return mine_triplets(x, labels, "hard", metric)


def triplet_semihard(
    x: Array, labels: Array, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """`triplet_loss` with `mining="semihard"`."""
    return triplet_loss(x, labels, "semihard", margin, metric)


def triplet_hard(x: Array, labels: Array, margin: float = 1.0, metric: str = "sqeuclidean") -> TripletResult:
    """`triplet_loss` with `mining="hard"`."""
    return triplet_loss(x, labels, "hard", margin, metric)


def _batch(x: Array, labels: Array, mining: str, metric: str) -> tuple[Array, Array]:
    check_triplets(mining, metric)
    x, labels = floats("x", x, 2), integers("labels", labels, 1)
    if x.shape[0] != labels.shape[0]:
        raise ValueError(
            f"labels must hold one label per row of x ({x.shape[0]}), received {labels.shape[0]}"
        )
    return x, labels


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _triplets(x: Array, labels: Array, mining: str, metric: str, margin: float) -> Any:
    results = (jax.ShapeDtypeStruct((), jnp.float32), *like(x), jax.ShapeDtypeStruct((), jnp.int64))
    attributes = {"mining": mining, "metric": metric, "margin": margin}
    return tuple(call("triplet_loss", results, x, labels, jnp.int32(x.shape[0]), **attributes))


def _triplets_forward(x: Any, labels: Any, *attributes: Any) -> tuple[Any, Array]:
    results = _triplets(x.value, labels.value, *attributes)
    return results, results[1]


def _triplets_backward(*arguments: Any) -> tuple[Array, None]:
    *_, grad, (of_loss, of_grad, _) = arguments
    if not isinstance(of_grad, SymbolicZero):  # the result `grad`, or a derivative of the second order
        _refuse()
    return jnp.zeros_like(grad) if isinstance(of_loss, SymbolicZero) else of_loss * grad, None


_refuse = first_order_only("triplet_loss")
_triplets.defvjp(_triplets_forward, _triplets_backward, symbolic_zeros=True)
