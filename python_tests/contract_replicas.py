# SPDX-License-Identifier: MIT
"""A program of the table of Keras' features: a strategy with two replicas, in a process with two CPU devices.

Run as a program, it prints how each column of the table fares: {name: None or the error}.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import warm
from contract_column import Column, assert_close, changes, moved, weights
from keras.optimizers import SGD

ERRORS = {"NotImplementedError": NotImplementedError, "ValueError": ValueError, "ArgumentError": ValueError}


def two_replicas(column: Column) -> None:
    """Each replica has half of a batch, and the step is the mean of those that the halves make.

    A loss that gathers the embeddings of all replicas makes the step of the whole batch instead.
    """
    kind, message = outcomes()[column.name] or (None, None)
    if kind is not None:
        raise {"NotImplementedError": NotImplementedError, "ValueError": ValueError}.get(
            kind, AssertionError
        )(message)


@cache
def outcomes() -> dict[str, Any]:
    found = warm.run([__file__])
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout.splitlines()[-1])


@cache
def strategy() -> tf.distribute.Strategy:
    # One for all: those of a process confuse the keys of their collective operations.
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def step_on_two(column: Column) -> None:
    # Their part of the loss, too, must count once, not once per replica.
    made = {"regularizer": keras.regularizers.L2(0.3)}
    with strategy().scope():
        learner = column.compiled(SGD(0.1), made=made)
    halves = column.elements(2)
    before = weights(learner)
    whole = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *halves)
    learner.fit(tf.data.Dataset.from_tensors(whole), verbose=0)
    single = []
    for element in [whole] if column.gathers else halves:
        alone = column.compiled(SGD(0.1), made=made)
        alone.set_weights(before)
        alone.train_on_batch(*element)
        single.append(changes(weights(alone), before))
    assert moved(weights(learner), before)
    expected = [np.mean(parts, axis=0) for parts in zip(*single, strict=True)]
    assert_close(changes(weights(learner), before), expected, 1e-3)


def main() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras_contract

    results: dict[str, Any] = {}
    for column in keras_contract.COLUMNS:
        try:
            step_on_two(column)
            results[column.name] = None
        except Exception as error:
            results[column.name] = (type(error).__name__, str(error))
    print(json.dumps(results))


PROGRAMS = {"a strategy with two replicas": (two_replicas, "replicas")}

if __name__ == "__main__":
    main()
