# SPDX-License-Identifier: MIT
"""Programs of the table of Keras' features: dtype policies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
from contract_column import Column, changes, logs_of, weights
from keras.optimizers import SGD

# Of a policy, how far losses and steps may be from those in float32: sums of some tens of rounded terms.
EPSILONS = {"mixed_float16": 0.02, "mixed_bfloat16": 0.15, "float64": 1e-3, "float16": 0.05, "bfloat16": 0.3}


def as_in_float32(policy: str, column: Column) -> None:
    steps, logs = {}, {}
    start: list[np.ndarray] = []
    for name in ("float32", policy):
        keras.config.set_dtype_policy(name)
        try:
            learner = column.compiled(SGD(0.1))
            element = column.element(learner, 0)
            start = start or weights(learner)
            learner.set_weights(start)
            before = weights(learner)
            logs[name] = logs_of(learner, [element])
            steps[name] = changes(weights(learner), before)
        finally:
            keras.config.set_dtype_policy("float32")
    near = EPSILONS[policy]
    assert abs(logs[policy]["loss"] - logs["float32"]["loss"]) <= near * abs(logs["float32"]["loss"])
    largest = max(np.abs(step).max() for step in steps["float32"])
    assert largest > 0
    for got, expected in zip(steps[policy], steps["float32"], strict=True):
        assert np.abs(got.astype(np.float64) - expected).max(initial=0) <= near * largest


PROGRAMS: dict[str, tuple[Callable[[Column], None], str]] = {
    f"policy `{policy}`": (partial(as_in_float32, policy), "dtype|policy|precision|float")
    for policy in EPSILONS
}
