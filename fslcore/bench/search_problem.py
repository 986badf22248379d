# SPDX-License-Identifier: MIT
"""The data of a search benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Search:
    """Normal numbers, among which the nearest by the squared distance are sought.

    Attributes:
        count: Queries.
        among: Rows.
        dim: Columns.
        k: How many of the nearest.
    """

    count: int
    among: int
    dim: int
    k: int

    @cached_property
    def queries(self) -> npt.NDArray[np.float32]:
        """[count, dim]."""
        return np.random.default_rng(0).standard_normal((self.count, self.dim), np.float32)

    @cached_property
    def rows(self) -> npt.NDArray[np.float32]:
        """[among, dim]."""
        return np.random.default_rng(1).standard_normal((self.among, self.dim), np.float32)
