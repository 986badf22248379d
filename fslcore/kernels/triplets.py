# SPDX-License-Identifier: MIT
"""Triplets of a batch and the loss on them."""

from __future__ import annotations

import numpy.typing as npt

from fslcore import _core
from fslcore.arguments import TRIPLET_METRICS, as_float, as_labels, as_matrix, check_metric
from fslcore.kernels.types import IntArray
from fslcore.results import TripletResult


def mine_semihard(
    x: npt.ArrayLike, labels: npt.ArrayLike, metric: str = "sqeuclidean"
) -> tuple[IntArray, IntArray, IntArray]:
    """Semi-hard triplets of a batch (Schroff et al., "FaceNet", 2015, in the form of TensorFlow Addons).

    For every ordered pair (anchor, positive) of one class, the negative is the nearest sample of another
    class that is strictly farther from the anchor than the positive, or else the farthest one; of equal
    distances, the lowest index.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        metric: One of `TRIPLET_METRICS`.

    Returns:
        `(anchor, positive, negative)`, int32 [pairs] each, by anchor, then by positive. Empty if no two
        samples share a class, or all do.

    Raises:
        ValueError: For an unknown metric or labels that do not match `x`.
    """
    return _mine("semihard", x, labels, metric)


def mine_hard(
    x: npt.ArrayLike, labels: npt.ArrayLike, metric: str = "sqeuclidean"
) -> tuple[IntArray, IntArray, IntArray]:
    """The hardest triplets of a batch (Hermans et al., "In Defense of the Triplet Loss", 2017, eq. 5).

    For every anchor that has a positive and a negative, its farthest positive and its nearest negative; of
    equal distances, the lowest index.

    Args:
        x: As for `mine_semihard`.
        labels: As for `mine_semihard`.
        metric: As for `mine_semihard`.

    Returns:
        `(anchor, positive, negative)`, int32 [anchors] each, by anchor. Empty if no two samples share a
        class, or all do.

    Raises:
        ValueError: As for `mine_semihard`.
    """
    return _mine("hard", x, labels, metric)


def triplet_semihard(
    x: npt.ArrayLike, labels: npt.ArrayLike, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """The triplet loss on semi-hard triplets, and its gradient, in one pass.

    loss = mean over the pairs of max(D[anchor, positive] - D[anchor, negative] + margin, 0), with the
    triplets of `mine_semihard`. Memory is O(batch * dim + pairs): the distance matrix is never held.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        margin: The margin.
        metric: One of `TRIPLET_METRICS`.

    Returns:
        A `TripletResult`. Without pairs the loss and the gradient are 0. A NaN in a row makes the loss NaN,
        and the gradient of the rows that it forms triplets with.

    Raises:
        ValueError: For an unknown metric or labels that do not match `x`.
    """
    return _triplet_loss("semihard", x, labels, margin, metric)


def triplet_hard(
    x: npt.ArrayLike, labels: npt.ArrayLike, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """The triplet loss on the hardest triplets, and its gradient, in one pass.

    loss = mean over the anchors of max(D[anchor, positive] - D[anchor, negative] + margin, 0), with the
    triplets of `mine_hard`. Memory is O(batch * dim): the distance matrix is never held.

    Args:
        x: As for `triplet_semihard`.
        labels: As for `triplet_semihard`.
        margin: As for `triplet_semihard`.
        metric: As for `triplet_semihard`.

    Returns:
        A `TripletResult`, as from `triplet_semihard`.

    Raises:
        ValueError: As for `triplet_semihard`.
    """
    return _triplet_loss("hard", x, labels, margin, metric)


def _mine(
    mining: str, x: npt.ArrayLike, labels: npt.ArrayLike, metric: str
) -> tuple[IntArray, IntArray, IntArray]:
    check_metric(metric, TRIPLET_METRICS)
    anchor, positive, negative = _core.mine_triplets(
        as_matrix("x", x), as_labels(labels), mining=mining, metric=metric
    )
    return anchor, positive, negative


def _triplet_loss(
    mining: str, x: npt.ArrayLike, labels: npt.ArrayLike, margin: float, metric: str
) -> TripletResult:
    check_metric(metric, TRIPLET_METRICS)
    x, labels, margin = as_matrix("x", x), as_labels(labels), as_float("margin", margin)
    loss, grad, num_pairs = _core.triplet_loss(x, labels, mining=mining, metric=metric, margin=margin)
    return TripletResult(float(loss), grad, int(num_pairs))
