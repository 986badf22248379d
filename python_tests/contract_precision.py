# SPDX-License-Identifier: MIT
"""Programs of the table of Keras' features: dtype policies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
from contract_column import Column, changes, logs_of, plain, plain_loss, weights
from keras.optimizers import SGD

# Of a policy, how far losses and steps may be from those in float32: sums of some tens of rounded terms.
EPSILONS = {"mixed_float16": 0.02, "mixed_bfloat16": 0.15, "float64": 1e-3, "float16": 0.05, "bfloat16": 0.3}


def as_in_float32(policy: str, column: Column) -> None:
    (element,) = column.elements(1)
    start = column.start()
    expected, loss = changes(plain(column, [element])[-1], start), plain_loss(column, element)
    keras.config.set_dtype_policy(policy)
    try:
        learner = column.compiled(SGD(0.1))
        learner.set_weights(start)
        before = weights(learner)
        logs = logs_of(learner, [element])
        steps = changes(weights(learner), before)
    finally:
        keras.config.set_dtype_policy("float32")
    near = EPSILONS[policy]
    assert abs(logs["loss"] - loss) <= near * abs(loss)
    largest = max(np.abs(step).max() for step in expected)
    assert largest > 0
    for got, wanted in zip(steps, expected, strict=True):
        assert np.abs(got.astype(np.float64) - wanted).max(initial=0) <= near * largest


PROGRAMS: dict[str, tuple[Callable[[Column], None], str]] = {
    f"policy `{policy}`": (partial(as_in_float32, policy), "dtype|policy|precision|float")
    for policy in EPSILONS
}
