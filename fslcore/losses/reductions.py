# SPDX-License-Identifier: MIT
"""What a loss makes of the losses of all pairs of a batch, besides their mean.

Each is a function of losses [batch, batch] that returns a scalar: 0 without pairs, NaN if one of them is NaN.
Where several pairs decide alike, the first of them, row by row, has the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_float
from fslcore.twins.rows import root

Tensor = Any

# Keras' own.
_OF_KERAS = (None, "none", "sum", "sum_over_batch_size", "mean", "mean_with_sample_weight")


def greatest(losses: Tensor) -> Tensor:
    """The greatest loss."""
    some = tf.concat([_flat(losses), [-float("inf")]], axis=0)
    return _defined(tf.gather(some, tf.argmax(some)), losses)


def deviation(losses: Tensor) -> Tensor:
    """The standard deviation of the losses, dividing by their number; equal losses have gradient 0."""
    flat = _flat(losses)
    count = tf.maximum(tf.cast(tf.size(flat), tf.float32), 1.0)
    mean = tf.reduce_sum(flat) / count
    return root(tf.reduce_sum(tf.square(flat - mean)) / count)


@keras.saving.register_keras_serializable(package="fslcore")
class Percentile:
    """The loss below which `q` percent of the losses are.

    Between two losses it is their midpoint, as of `tfp.stats.percentile(..., interpolation="midpoint")`.

    Args:
        q: From 0, the least, to 100, the greatest.

    Raises:
        ValueError: If `q` is no number from 0 to 100.
    """

    def __init__(self, q: float = 50.0) -> None:
        self.q = as_float("q", q)
        if not 0 <= self.q <= 100:
            raise ArgumentError("q", "must be from 0 to 100", q)

    def __call__(self, losses: Tensor) -> Tensor:
        """The percentile of losses [batch, batch], a scalar."""
        flat = _flat(losses)
        some = tf.concat([flat, [float("inf")]], axis=0)
        order = tf.argsort(tf.stop_gradient(some), stable=True)
        place = tf.cast(tf.maximum(tf.size(flat) - 1, 0), tf.float64) * self.q / 100.0
        lower, upper = (tf.cast(rounded(place), tf.int32) for rounded in (tf.floor, tf.math.ceil))
        ends = [tf.gather(some, tf.gather(order, end)) for end in (lower, upper)]
        return _defined(0.5 * (ends[0] + ends[1]), losses)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"q": self.q}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Percentile:
        """The object that `get_config` describes."""
        return cls(**config)


def own_reduction(reduction: Any) -> Callable[[Tensor], Tensor] | None:
    """The function that a reduction stands for, or None for one of Keras.

    Args:
        reduction: None or a name of Keras, "max", "std", "percentile", or a function.

    Raises:
        ArgumentError: It is something else.
    """
    if callable(reduction):
        return reduction
    named: dict[str, Callable[[Tensor], Tensor]] = {
        "max": greatest,
        "std": deviation,
        "percentile": Percentile(),
    }
    if isinstance(reduction, str) and reduction in named:
        return named[reduction]
    if reduction not in _OF_KERAS:
        known = ", ".join(str(name) for name in (*_OF_KERAS, *named))
        raise ArgumentError(
            "reduction", f"must be one of {known} or a function of losses [batch, batch]", reduction
        )
    return None


def _flat(losses: Tensor) -> Tensor:
    return tf.reshape(losses, [-1])


def _defined(value: Tensor, losses: Tensor) -> Tensor:
    """The value, 0 if there are no losses, NaN if one of them is: sorting and comparing would lose it."""
    value = tf.where(tf.size(losses) == 0, 0.0, value)
    return value * tf.where(tf.reduce_any(tf.math.is_nan(losses)), float("nan"), 1.0)
