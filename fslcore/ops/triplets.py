# SPDX-License-Identifier: MIT
"""Mining of triplets, and the triplet loss that never holds the matrix of distances."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.arguments import as_float, check_triplets
from fslcore.ops._library import raw_ops
from fslcore.ops._tensors import labels_of_batch, matrix
from fslcore.results import TripletResult

Tensor = Any


def mine_triplets(
    x: Tensor, labels: Tensor, mining: str = "semihard", metric: str = "sqeuclidean"
) -> tuple[Tensor, Tensor, Tensor]:
    """The triplets of a batch that a rule of mining chooses; see `fslcore.kernels.mine_triplets`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        mining: One of `fslcore.kernels.MININGS`.
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        `(anchor, positive, negative)`, int32 [triplets] each, to gather with. Inside XLA each occupies
        batch * (batch - 1) integers for `semihard`, batch for the other rules.
    """
    check_triplets(mining, metric)
    return tuple(
        raw_ops.fslcore_mine_triplets(
            x=matrix("x", x), labels=labels_of_batch(labels), mining=mining, metric=metric
        )
    )


def triplet_loss(
    x: Tensor, labels: Tensor, mining: str = "semihard", margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """The triplet loss on mined triplets; see `fslcore.kernels.triplet_loss`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        mining: One of `fslcore.kernels.MININGS`.
        margin: The margin, a Python number.
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        A `TripletResult` of tensors; `loss` is differentiable with respect to `x`.
    """
    check_triplets(mining, metric)
    return TripletResult(
        *raw_ops.fslcore_triplet_loss(
            x=matrix("x", x),
            labels=labels_of_batch(labels),
            mining=mining,
            metric=metric,
            margin=as_float("margin", margin),
        )
    )


def mine_semihard(x: Tensor, labels: Tensor, metric: str = "sqeuclidean") -> tuple[Tensor, Tensor, Tensor]:
    """`mine_triplets` with `mining="semihard"`: a triplet for every (anchor, positive) pair."""
    return mine_triplets(x, labels, "semihard", metric)


def mine_hard(x: Tensor, labels: Tensor, metric: str = "sqeuclidean") -> tuple[Tensor, Tensor, Tensor]:
    """`mine_triplets` with `mining="hard"`: a triplet for every anchor."""
    return mine_triplets(x, labels, "hard", metric)


def triplet_semihard(
    x: Tensor, labels: Tensor, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """`triplet_loss` with `mining="semihard"`."""
    return triplet_loss(x, labels, "semihard", margin, metric)


def triplet_hard(
    x: Tensor, labels: Tensor, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """`triplet_loss` with `mining="hard"`."""
    return triplet_loss(x, labels, "hard", margin, metric)


@tf.RegisterGradient("FslcoreTripletLoss")
def _triplet_loss_gradient(op: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor, None]:
    return grad_loss * op.outputs[1], None


tf.no_gradient("FslcoreMineTriplets")
