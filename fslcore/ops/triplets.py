# SPDX-License-Identifier: MIT
"""Mining of triplets, and the triplet loss that never holds the matrix of distances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fslcore import twins
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
        A `TripletResult` of tensors; `loss` is differentiable with respect to `x`, more than once. `grad` is
        not: to differentiate it is a LookupError, so take the gradient of `loss` instead.
    """
    check_triplets(mining, metric)
    loss, grad, num_pairs = raw_ops.fslcore_triplet_loss(
        x=matrix("x", x),
        labels=labels_of_batch(labels),
        mining=mining,
        metric=metric,
        margin=as_float("margin", margin),
    )
    return TripletResult(loss, tf.raw_ops.PreventGradient(input=grad, message=_NO_GRADIENT), num_pairs)


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


_NO_GRADIENT = "the output grad of triplet_loss has none; differentiate the gradient of its loss instead"


@tf.RegisterGradient("FslcoreTripletLoss")
def _triplet_loss_gradient(op: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor, None]:
    # The output is the gradient already. What a tape or graph remembers of it is how it depends on x.
    x, labels = op.inputs
    mining, metric = (op.get_attr(name).decode() for name in ("mining", "metric"))

    def by_twin(x: Tensor) -> Tensor:
        mined = raw_ops.fslcore_mine_triplets(x=x, labels=labels, mining=mining, metric=metric)
        return twins.loss_of_triplets(x, mined, op.get_attr("margin"), metric)

    return grad_loss * _gradient_of(by_twin, x, op.outputs[1]), None


def _gradient_of(function: Callable[[Tensor], Tensor], x: Tensor, value: Tensor) -> Tensor:
    """The gradient of a function at x, whose value is known; `function` is for its own gradient."""

    @tf.custom_gradient
    def gradient(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def second_order(upstream: Tensor) -> Tensor:
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    result = function(x)
                first_order = inner.gradient(result, x)
            return outer.gradient(first_order, x, output_gradients=upstream)

        return tf.stop_gradient(value), second_order

    return gradient(x)


tf.no_gradient("FslcoreMineTriplets")
