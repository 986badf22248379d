# SPDX-License-Identifier: MIT
"""Mining of triplets, and the triplet loss that never holds the matrix of distances."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.arguments import TRIPLET_METRICS, as_float, check_metric
from fslcore.ops._library import raw_ops
from fslcore.ops._tensors import labels_of_batch, matrix
from fslcore.results import TripletResult

Tensor = Any


def mine_semihard(x: Tensor, labels: Tensor, metric: str = "sqeuclidean") -> tuple[Tensor, Tensor, Tensor]:
    """Semi-hard triplets of a batch; see `fslcore.kernels.mine_semihard`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        `(anchor, positive, negative)`, int32 [pairs] each, to gather with. Inside XLA each occupies
        batch * (batch - 1) integers.
    """
    return _mine("semihard", x, labels, metric)


def mine_hard(x: Tensor, labels: Tensor, metric: str = "sqeuclidean") -> tuple[Tensor, Tensor, Tensor]:
    """The hardest triplets of a batch; see `fslcore.kernels.mine_hard`.

    Returns:
        `(anchor, positive, negative)`, int32 [anchors] each, to gather with. Inside XLA each occupies batch
        integers.
    """
    return _mine("hard", x, labels, metric)


def triplet_semihard(
    x: Tensor, labels: Tensor, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """The triplet loss on semi-hard triplets; see `fslcore.kernels.triplet_semihard`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        margin: The margin, a Python number.
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        A `TripletResult` of tensors; `loss` is differentiable with respect to `x`.
    """
    return _triplet_loss("semihard", x, labels, margin, metric)


def triplet_hard(
    x: Tensor, labels: Tensor, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """The triplet loss on the hardest triplets; see `fslcore.kernels.triplet_hard`.

    Arguments and result are as for `triplet_semihard`.
    """
    return _triplet_loss("hard", x, labels, margin, metric)


def _mine(mining: str, x: Tensor, labels: Tensor, metric: str) -> tuple[Tensor, Tensor, Tensor]:
    check_metric(metric, TRIPLET_METRICS)
    return tuple(
        raw_ops.fslcore_mine_triplets(
            x=matrix("x", x), labels=labels_of_batch(labels), mining=mining, metric=metric
        )
    )


def _triplet_loss(mining: str, x: Tensor, labels: Tensor, margin: float, metric: str) -> TripletResult:
    check_metric(metric, TRIPLET_METRICS)
    return TripletResult(
        *raw_ops.fslcore_triplet_loss(
            x=matrix("x", x),
            labels=labels_of_batch(labels),
            mining=mining,
            metric=metric,
            margin=as_float("margin", margin),
        )
    )


@tf.RegisterGradient("FslcoreTripletLoss")
def _triplet_loss_gradient(op: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor, None]:
    return grad_loss * op.outputs[1], None


tf.no_gradient("FslcoreMineTriplets")
