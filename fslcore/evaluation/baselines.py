# SPDX-License-Identifier: MIT
"""Baselines that need no training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fslcore import kernels
from fslcore.arguments import ArgumentError

FloatArray = npt.NDArray[np.float32]


class PixelNearestNeighbour:
    """The class of the nearest example, by the squared distance between the pixels."""

    def embed(self, images: npt.ArrayLike, training: bool = False) -> FloatArray:
        """Returns the pixels, float32 `[B, H * W * C]`.

        Raises:
            ArgumentError: `training=True`: there is nothing to normalise.
        """
        if training:
            raise ArgumentError(
                "training", "must be False for PixelNearestNeighbour, which has no statistics", training
            )
        images = np.asarray(images, np.float32)
        return images.reshape(len(images), -1)

    def class_scores(self, support: npt.ArrayLike, query: npt.ArrayLike) -> FloatArray:
        """Returns minus the squared distance to the nearest example of each class, `[Q, n_way]`."""
        support = np.asarray(support, np.float32)
        n_way, k_shot, width = support.shape
        distances = kernels.pairwise(query, support.reshape(n_way * k_shot, width))
        return -distances.reshape(-1, n_way, k_shot).min(axis=-1)
