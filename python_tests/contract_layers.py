# SPDX-License-Identifier: MIT
"""Programs of the table of Keras' features: losses of layers, and layers that are frozen."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from contract_column import Column, assert_close, changes, first_layer, logs_of, moved, weights
from keras.optimizers import SGD
from tiny_networks import assert_same


def regularisers(column: Column) -> None:
    factor = 0.3
    learner = column.compiled(made={"regularizer": keras.regularizers.L2(factor)})
    plain = column.compiled()
    (element,) = column.elements(1)
    before = weights(plain)
    regularised = [v for v in learner.trainable_variables if v.regularizer is not None]
    assert len(regularised) == 1
    assert_same([regularised[0].numpy()], [before[index := position(learner, regularised[0])]])
    added = factor * np.sum(np.square(before[index]))
    logs, plain_logs = logs_of(learner, [element]), logs_of(plain, [element])
    if not column.once:
        assert logs["loss"] > plain_logs["loss"] + 0.3 * added
        norms = [np.linalg.norm(weights(each)[index]) for each in (learner, plain)]
        assert norms[0] < 0.99 * norms[1]
        return
    assert_close([logs["loss"] - plain_logs["loss"]], [added], 1e-3)
    difference = changes(weights(learner), weights(plain))[index]
    assert_close([difference], [-0.1 * 2 * factor * before[index]], 1e-3)


def position(learner: keras.Model, variable: Any) -> int:
    """Where the value of a variable is in the weights."""
    return next(i for i, v in enumerate(learner.weights) if v is variable)


@keras.saving.register_keras_serializable(package="contract")
class Activity(keras.layers.Layer):
    """Adds the mean square of what passes, three times, to the losses."""

    def call(self, x: Any) -> Any:
        self.add_loss(3.0 * tf.reduce_mean(tf.square(x)))
        return x


def add_loss(column: Column) -> None:
    learner = column.compiled(made={"extra": Activity()})
    plain = column.compiled(made={"extra": keras.layers.Identity()})
    (element,) = column.elements(1)
    logs, plain_logs = logs_of(learner, [element]), logs_of(plain, [element])
    assert logs["loss"] > plain_logs["loss"] * 1.0001
    assert moved(weights(learner), weights(plain))


def freezing_before(column: Column) -> None:
    learner = column.make()
    (element,) = column.elements(1)
    first_layer(learner).trainable = False
    learner.compile(SGD(0.1), **column.options)
    assert_only_the_first_stays(learner, element)


def freezing_after_compile(column: Column) -> None:
    learner = column.compiled()
    (element,) = column.elements(1)
    first_layer(learner).trainable = False
    assert_only_the_first_stays(learner, element)


def freezing_between_fits(column: Column) -> None:
    learner = column.compiled()
    (element,) = column.elements(1)
    layer = first_layer(learner)
    before = weights_of(layer)
    logs_of(learner, [element])
    assert moved(weights_of(layer), before)
    layer.trainable = False
    assert_only_the_first_stays(learner, element, layer)


def freezing_and_compiling_again(column: Column) -> None:
    learner = column.compiled()
    (element,) = column.elements(1)
    layer = first_layer(learner)
    logs_of(learner, [element])
    layer.trainable = False
    learner.compile(SGD(0.1), **column.options)
    assert_only_the_first_stays(learner, element, layer)
    layer.trainable = True
    learner.compile(SGD(0.1), **column.options)
    before = weights_of(layer)
    logs_of(learner, [element])
    assert moved(weights_of(layer), before)


def weights_of(layer: keras.Layer) -> list[np.ndarray]:
    return [np.array(weight) for weight in layer.get_weights()]


def assert_only_the_first_stays(learner: keras.Model, element: Any, layer: Any = None) -> None:
    layer = layer or next(each for each in learner._flatten_layers() if each.weights and not each.trainable)
    frozen, before = weights_of(layer), weights(learner)
    logs_of(learner, [element])
    assert_same(weights_of(layer), frozen)
    assert moved(weights(learner), before)


PROGRAMS = {
    "regularisers": (regularisers, "regularizer"),
    "`add_loss` in a layer": (add_loss, "add_loss"),
    "freezing before `compile`": (freezing_before, "trainable"),
    "freezing between `compile` and `fit`": (freezing_after_compile, "trainable"),
    "freezing between two `fit`": (freezing_between_fits, "trainable"),
    "freezing, and compiling again": (freezing_and_compiling_again, "trainable"),
}
