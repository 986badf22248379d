# SPDX-License-Identifier: MIT
"""The data of a pairwise benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

HEAD = "weighted_manhattan"
TITLES = {
    "sqeuclidean": "sqeuclidean",
    "euclidean": "euclidean",
    "cosine": "cosine",
    "dot": "dot",
    "manhattan": "manhattan",
    HEAD: "weighted_manhattan + sigmoid",
}


@dataclass(frozen=True)
class Problem:
    """Two batches of normal numbers and a metric; `weighted_manhattan` ends in a sigmoid.

    Attributes:
        metric: A key of `TITLES`.
        batch: Rows of x and of y.
        dim: Their columns.
    """

    metric: str
    batch: int
    dim: int

    @cached_property
    def x(self) -> FloatArray:
        """[batch, dim]."""
        return self._normal(0, self.batch, self.dim)

    @cached_property
    def y(self) -> FloatArray:
        """[batch, dim]."""
        return self._normal(1, self.batch, self.dim)

    @cached_property
    def weights(self) -> FloatArray:
        """[dim], of either sign."""
        return self._normal(2, self.dim) / np.float32(self.dim)

    @cached_property
    def upstream(self) -> FloatArray:
        """[batch, batch], the gradient of a loss with respect to the metric."""
        return self._normal(3, self.batch, self.batch)

    @property
    def has_weights(self) -> bool:
        """Whether the metric takes `weights`, and has a gradient with respect to them."""
        return self.metric == HEAD

    def pair_bytes(self, tensors: int) -> int:
        """Bytes of so many float32 tensors [batch, batch, dim]."""
        return tensors * 4 * self.batch**2 * self.dim

    def _normal(self, seed: int, *shape: int) -> FloatArray:
        return np.random.default_rng(seed).standard_normal(shape, np.float32)
