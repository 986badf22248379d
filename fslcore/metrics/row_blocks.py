# SPDX-License-Identifier: MIT
"""A function of the rows of a matrix [batch, batch], of which a block is held at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Tensor = Any

_MOST_ROWS = 256


def map_row_blocks(function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """function(rows) for all rows, float32 [batch].

    Args:
        function: Takes the numbers of at most 256 rows, int32 [rows], and returns float32 [rows].
        batch: The number of rows.
    """
    blocks = tf.maximum((batch + _MOST_ROWS - 1) // _MOST_ROWS, 1)
    size = (batch + blocks - 1) // blocks

    def step(block: Tensor, values: Any) -> tuple[Tensor, Any]:
        # The last block may take the last row more than once.
        rows = tf.minimum(block * size + tf.range(size), batch - 1)
        return block + 1, values.write(block, function(rows))

    # One block at a time: a graph would otherwise start ten.
    _, values = tf.while_loop(
        lambda block, _: block < blocks,
        step,
        (0, tf.TensorArray(tf.float32, blocks)),
        parallel_iterations=1,
    )
    return tf.reshape(values.stack(), [blocks * size])[:batch]
