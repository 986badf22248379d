# SPDX-License-Identifier: MIT
"""The twin of `fslcore.ops.adam_step`. It runs on any device, and supplies the gradients of that op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from fslcore.tensors import real
from fslcore.twins.rows import root

Tensor = Any


class AdamStepResult(NamedTuple):
    """What `adam_step` returns.

    Attributes:
        weights: A list of float32 tensors in the shapes of the weights.
        squares: Likewise, the running means of the squared gradients.
        power: float32 scalar, beta_2 to the power of the steps so far.
    """

    weights: list[Tensor]
    squares: list[Tensor]
    power: Tensor


def adam_step(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    squares: Sequence[Tensor],
    power: Tensor,
    *,
    learning_rate: float,
    beta_2: float,
    epsilon: float,
) -> AdamStepResult:
    """The step of `fslcore.ops.adam_step`, with its arguments.

    The gradient of the root at 0 is 0. With respect to a zero gradient that is the limit; with respect to the
    mean of squares it stands for infinity.
    """
    weights, gradients, squares = (
        [real(f"{name}[{i}]", tensor) for i, tensor in enumerate(tensors)]
        for name, tensors in (("weights", weights), ("gradients", gradients), ("squares", squares))
    )
    power = beta_2 * real("power", power)
    squares = [beta_2 * s + (1.0 - beta_2) * tf.square(g) for s, g in zip(squares, gradients, strict=True)]
    rate = learning_rate * tf.sqrt(1.0 - power)
    weights = [
        w - rate * g / (root(s) + epsilon) for w, g, s in zip(weights, gradients, squares, strict=True)
    ]
    return AdamStepResult(weights, squares, power)
