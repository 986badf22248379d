# SPDX-License-Identifier: MIT
"""Programs of the table of Keras' features: what optimizers do beside a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from contract_column import Column, assert_close, changes, moved, plain, trained, weights
from keras.optimizers import SGD
from keras.optimizers.schedules import PiecewiseConstantDecay


def states(column: Column, optimizer: Any, elements: list[Any]) -> list[list[np.ndarray]]:
    """The weights after 0, 1, ... training batches."""
    learner = column.compiled(optimizer)
    found = [weights(learner)]
    for element in elements:
        learner.train_on_batch(*element)
        found.append(weights(learner))
    return found


def gradient_accumulation(column: Column) -> None:
    elements = column.elements(2)
    start, between, end = states(column, SGD(0.1, gradient_accumulation_steps=2), elements)
    assert not trainable_moved(column, between, start)
    alone = [plain(column, [element])[1] for element in elements]
    assert moved(alone[0], start)
    expected = [(a + b) / 2 for a, b in zip(*(changes(each, start) for each in alone), strict=True)]
    assert_close(column.trainable(changes(end, start)), column.trainable(expected))


def moving_average_of_weights(column: Column) -> None:
    elements = column.elements(3)
    optimizer = SGD(0.1, use_ema=True, ema_momentum=0.5)
    learner = column.compiled(optimizer)
    _, first, second, third = plain(column, elements)
    expected = [0.25 * a + 0.25 * b + 0.5 * c for a, b, c in zip(first, second, third, strict=True)]
    got = trained(learner, elements)
    assert moved(third, second)
    assert_close(column.trainable(got), column.trainable(expected))


def clipnorm(column: Column) -> None:
    elements = column.elements(1)
    start, free = plain(column, elements, 1.0)
    norms = [np.linalg.norm(change) for change in column.trainable(changes(free, start))]
    bound = 0.5 * max(norms)
    _, clipped = states(column, SGD(1.0, clipnorm=bound), elements)
    factors = [min(1.0, bound / max(norm, 1e-9)) for norm in norms]
    expected = [f * c for f, c in zip(factors, column.trainable(changes(free, start)), strict=True)]
    assert min(factors) < 1
    assert_close(column.trainable(changes(clipped, start)), expected)


def schedules(column: Column) -> None:
    elements = column.elements(3)
    _, first, second, third = states(column, SGD(PiecewiseConstantDecay([0, 1], [0.1, 0.1, 0.0])), elements)
    assert trainable_moved(column, second, first)
    assert not trainable_moved(column, third, second)


def trainable_moved(column: Column, after: list[np.ndarray], before: list[np.ndarray]) -> bool:
    return moved(column.trainable(after), column.trainable(before))


PROGRAMS = {
    "gradient accumulation": (gradient_accumulation, "gradient_accumulation_steps"),
    "moving average of weights (`use_ema`)": (moving_average_of_weights, "use_ema"),
    "`clipnorm`": (clipnorm, "clipnorm"),
    "learning rate schedules": (schedules, "learning_rate"),
}
