# SPDX-License-Identifier: MIT
"""What functions of the same name return, whatever computes them: NumPy, TensorFlow or JAX."""

from __future__ import annotations

from typing import Any, NamedTuple


class TripletResult(NamedTuple):
    """What `triplet_semihard` and `triplet_hard` return.

    Attributes:
        loss: Mean over the pairs, a scalar.
        grad: float32 [batch, dim], the gradient of the loss with respect to the embeddings.
        num_pairs: The number of (anchor, positive) pairs that have a negative. `triplet_hard` counts one pair
            for each anchor.
    """

    loss: Any
    grad: Any
    num_pairs: Any
