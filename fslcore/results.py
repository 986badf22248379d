# SPDX-License-Identifier: MIT
"""What functions of the same name return, whatever computes them: NumPy, TensorFlow or JAX."""

from __future__ import annotations

from typing import Any, NamedTuple


class NearestResult(NamedTuple):
    """What `nearest` returns.

    Attributes:
        values: float32 [queries, k], distances in increasing or, of `dot`, products in decreasing order.
        indices: int32 [queries, k], the rows that they belong to.
    """

    values: Any
    indices: Any


class TripletResult(NamedTuple):
    """What `triplet_loss` returns.

    Attributes:
        loss: Mean over the triplets, a scalar.
        grad: float32 [batch, dim], the gradient of the loss with respect to the embeddings.
        num_pairs: The number of triplets: of (anchor, positive) pairs that have a negative, or of anchors.
    """

    loss: Any
    grad: Any
    num_pairs: Any


class NormsGradient(NamedTuple):
    """What `pairwise_norms_grad` returns: the gradient with respect to each argument, in its shape.

    Attributes:
        x: float32 [n, dim].
        y: float32 [m, dim].
        hidden: float32 [filters, norms].
        hidden_bias: float32 [filters].
        mixing: float32 [filters].
        weights: float32 [dim].
        bias: A scalar.
    """

    x: Any
    y: Any
    hidden: Any
    hidden_bias: Any
    mixing: Any
    weights: Any
    bias: Any
