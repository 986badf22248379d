# SPDX-License-Identifier: MIT
"""The truth about optimizers: plain NumPy loops in float64, like those of oracles.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class AdamStep(NamedTuple):
    """What adam_step returns."""

    weights: list[Array]
    squares: list[Array]
    power: float


def adam_step(
    weights: Sequence[ArrayLike],
    gradients: Sequence[ArrayLike],
    squares: Sequence[ArrayLike],
    power: float,
    *,
    learning_rate: float,
    beta_2: float,
    epsilon: float,
) -> AdamStep:
    """Number by number: Kingma and Ba (2015), algorithm 1, whose t-th power of beta_2 is the new power.

    With beta_1 = 0 the momentum is the gradient. The correction of its square moves into the learning rate,
    as at the end of their section 2, epsilon being that of the uncorrected root.
    """
    power = float(power * beta_2)
    rate = learning_rate * np.sqrt(1.0 - power)
    new_weights, new_squares = [], []
    for tensor in zip(weights, gradients, squares, strict=True):
        w, g, s = (np.array(array, np.float64) for array in tensor)
        for i in np.ndindex(w.shape):
            s[i] = beta_2 * s[i] + (1.0 - beta_2) * g[i] ** 2
            w[i] -= rate * g[i] / (np.sqrt(s[i]) + epsilon)
        new_weights.append(w)
        new_squares.append(s)
    return AdamStep(new_weights, new_squares, power)
