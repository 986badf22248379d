# SPDX-License-Identifier: MIT
"""Matrices of distances with the names of `tensorflow_addons.losses.metric_learning`."""

from __future__ import annotations

from typing import Any

from fslcore import ops
from fslcore.arguments import as_bool

Tensor = Any


def pairwise_distance(feature: Tensor, squared: bool = False) -> Tensor:
    """The Euclidean distances of all rows; the diagonal is 0, and so is the gradient at distance 0.

    Args:
        feature: [batch, dim].
        squared: Whether the squares of the distances are returned.

    Returns:
        float32 [batch, batch].
    """
    return ops.pairwise(feature, metric="sqeuclidean" if as_bool("squared", squared) else "euclidean")


def angular_distance(feature: Tensor) -> Tensor:
    """1 minus the cosine of the angle between all rows.

    Args:
        feature: [batch, dim].

    Returns:
        float32 [batch, batch].
    """
    return ops.pairwise(feature, metric="cosine")
