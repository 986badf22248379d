# SPDX-License-Identifier: MIT
"""The replicas of a `tf.distribute` strategy, and how what does not support them refuses."""

from __future__ import annotations

import tensorflow as tf


def count_replicas() -> int:
    """How many replicas of the current strategy train together; 1 without a strategy."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def refuse_replicas(what: str) -> None:
    """Refuses a strategy with several replicas, under which `what` would compute something else.

    Args:
        what: the subject of the sentence, such as a class.

    Raises:
        NotImplementedError: the current strategy has several replicas.
    """
    replicas = count_replicas()
    if replicas > 1:
        raise NotImplementedError(
            f"{what} does not support a tf.distribute strategy with several replicas, received one with "
            f"{replicas}: use one device"
        )
