# SPDX-License-Identifier: MIT
"""Triplets of a batch and the loss on them, by the rule of mining."""

from __future__ import annotations

import numpy.typing as npt

from fslcore import _core
from fslcore.arguments import as_float, as_labels, as_matrix, check_triplets
from fslcore.kernels.types import IntArray
from fslcore.results import TripletResult


def mine_triplets(
    x: npt.ArrayLike, labels: npt.ArrayLike, mining: str = "semihard", metric: str = "sqeuclidean"
) -> tuple[IntArray, IntArray, IntArray]:
    """The triplets of a batch that a rule of mining chooses.

    | mining | a triplet for every | positive | negative |
    |---|---|---|---|
    | `semihard` | (anchor, positive) | every one | nearest strictly beyond the positive, else the farthest |
    | `hard` | anchor | the farthest | the nearest |
    | `easy_positive` | anchor | the nearest | the nearest |

    Of equal distances, the one with the lowest index; a NaN only if there is nothing else. An anchor needs a
    positive, another sample of its class, and a negative, a sample of another class.

    `semihard`: Schroff et al., "FaceNet", 2015, in the form of TensorFlow Addons. `hard`: Hermans et al., "In
    Defense of the Triplet Loss", 2017, eq. 5. `easy_positive`: Xuan et al., "Improved Embeddings with Easy
    Positive Triplet Mining", 2020.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        mining: One of `MININGS`.
        metric: One of `TRIPLET_METRICS`.

    Returns:
        `(anchor, positive, negative)`, int32 [triplets] each, by anchor, then by positive. Empty if no two
        samples share a class, or all do.

    Raises:
        ValueError: For an unknown rule or metric, or labels that do not match `x`.
    """
    check_triplets(mining, metric)
    anchor, positive, negative = _core.mine_triplets(
        as_matrix("x", x), as_labels(labels), mining=mining, metric=metric
    )
    return anchor, positive, negative


def triplet_loss(
    x: npt.ArrayLike,
    labels: npt.ArrayLike,
    mining: str = "semihard",
    margin: float = 1.0,
    metric: str = "sqeuclidean",
) -> TripletResult:
    """The triplet loss on mined triplets, and its gradient, in one pass.

    loss = mean of max(D[anchor, positive] - D[anchor, negative] + margin, 0), over the triplets of
    `mine_triplets`. Memory is O(batch * dim + triplets): the distance matrix is never held.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        mining: One of `MININGS`; see `mine_triplets`.
        margin: The margin.
        metric: One of `TRIPLET_METRICS`.

    Returns:
        A `TripletResult`. Without triplets the loss and the gradient are 0. A NaN in a row makes the loss
        NaN, and the gradient of the rows that it forms triplets with.

    Raises:
        ValueError: For an unknown rule or metric, or labels that do not match `x`.
    """
    check_triplets(mining, metric)
    x, labels, margin = as_matrix("x", x), as_labels(labels), as_float("margin", margin)
    loss, grad, num_pairs = _core.triplet_loss(x, labels, mining=mining, metric=metric, margin=margin)
    return TripletResult(float(loss), grad, int(num_pairs))


def mine_semihard(
    x: npt.ArrayLike, labels: npt.ArrayLike, metric: str = "sqeuclidean"
) -> tuple[IntArray, IntArray, IntArray]:
    """`mine_triplets` with `mining="semihard"`: a triplet for every (anchor, positive) pair."""
    return mine_triplets(x, labels, "semihard", metric)


def mine_hard(
    x: npt.ArrayLike, labels: npt.ArrayLike, metric: str = "sqeuclidean"
) -> tuple[IntArray, IntArray, IntArray]:
    """`mine_triplets` with `mining="hard"`: a triplet for every anchor."""
    return mine_triplets(x, labels, "hard", metric)


def triplet_semihard(
    x: npt.ArrayLike, labels: npt.ArrayLike, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """`triplet_loss` with `mining="semihard"`."""
    return triplet_loss(x, labels, "semihard", margin, metric)


def triplet_hard(
    x: npt.ArrayLike, labels: npt.ArrayLike, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """`triplet_loss` with `mining="hard"`."""
    return triplet_loss(x, labels, "hard", margin, metric)
