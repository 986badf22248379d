# SPDX-License-Identifier: MIT
"""Baselines that need no training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

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

    def class_scores(
        self, support: npt.ArrayLike, query: npt.ArrayLike, counts: npt.ArrayLike | None = None
    ) -> FloatArray:
        """Returns minus the squared distance to the nearest example of each class, `[Q, n_way]`.

        Args:
            support: `[n_way, k_shot, D]`.
            query: `[Q, D]`.
            counts: how many examples of each class there are, integers `[n_way]`: the first ones. None: all.

        Raises:
            ArgumentError: a count is not from 1 to `k_shot`.
        """
        support = np.asarray(support, np.float32)
        n_way, k_shot, width = support.shape
        if counts is None:
            distances = kernels.pairwise(query, support.reshape(n_way * k_shot, width))
            return -distances.reshape(-1, n_way, k_shot).min(axis=-1)
        counts = np.asarray(counts)
        if counts.shape != (n_way,) or counts.dtype.kind not in "iu" or not _are_within(counts, 1, k_shot):
            raise ArgumentError("counts", f"must be integers [{n_way}] from 1 to {k_shot}", counts)
        there = np.arange(k_shot) < counts[:, np.newaxis]
        distances = kernels.pairwise(query, support[there])
        return -np.minimum.reduceat(distances, np.cumsum(counts) - counts, axis=1)

    def scores_of_tables(
        self, embeddings: FloatArray, tables: Iterable[npt.NDArray[np.int32]], k_shot: int
    ) -> Iterator[FloatArray]:
        """`class_scores` of many episodes of the same images, which are compared once.

        It pays where there are fewer images than pixels: photographs are wide.

        Args:
            embeddings: `[N, D]`.
            tables: of each episode the rows of its images, `[n_way, k_shot + n_query]`.
            k_shot: how many of a class are its examples.
        """
        distances = kernels.pairwise(embeddings)
        for table in tables:
            support, query = table[:, :k_shot], table[:, k_shot:].ravel()
            yield -distances[query[:, np.newaxis], support.ravel()].reshape(-1, *support.shape).min(axis=-1)


def _are_within(values: npt.NDArray[Any], least: int, largest: int) -> bool:
    return bool(np.all((values >= least) & (values <= largest)))
