# SPDX-License-Identifier: MIT
"""The outer step: what an optimizer of `compile` is given."""

from __future__ import annotations

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.learners.inner import Tensors


def apply_gradients(optimizer: keras.Optimizer, gradients: Tensors, variables: list[keras.Variable]) -> None:
    """One step of an optimizer.

    Args:
        optimizer: the optimizer.
        gradients: of a loss that the optimizer has scaled.
        variables: those that are trained.

    Raises:
        ArgumentError: it was built for other variables.
    """
    try:
        optimizer.apply(gradients, variables)
    except ValueError as error:
        if "Unknown variable" not in str(error):
            raise
        raise ArgumentError(
            "optimizer",
            "must know every weight that is trained: compile again after layers are made trainable",
            described="one that was built for fewer",
        ) from error


def scaled_as_gradients(optimizer: keras.Optimizer, values: Tensors) -> Tensors:
    """Values that an optimizer is to take as gradients; it divides them by the factor of its losses."""
    one = tf.ones(())
    factor = optimizer.scale_loss(one)
    return values if factor is one else [value * tf.cast(factor, value.dtype) for value in values]
