# SPDX-License-Identifier: MIT
"""Programs of the table of Keras' features: the arguments of `compile`, and callbacks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from contract_column import Column, assert_close, changes, dataset, logs_of, moved, plain, trained, weights
from keras.optimizers import SGD


def losses_of_ones_own(column: Column) -> None:
    learner = column.compiled(loss=column.loss())
    (element,) = column.elements(1)
    after, with_default = trained(learner, [element]), plain(column, [element])[-1]
    assert moved(after, column.start())
    assert moved(after, with_default)
    loss = learner.evaluate(dataset([element]), verbose=0, return_dict=True)["loss"]
    assert_close([loss], [float(column.loss()(*column.outputs(learner, element)))])


def loss_weights(column: Column) -> None:
    learner = column.compiled(SGD(0.01), loss=column.loss(), loss_weights=[3.0])
    (element,) = column.elements(1)
    before = weights(learner)
    after = trained(learner, [element])
    once = plain(column, [element], 0.01, own_loss=True)[-1]
    assert moved(once, before)
    assert_close(changes(after, before), [3 * change for change in changes(once, before)])


def spread(y_true: Any, y_pred: Any) -> Any:
    """A metric that neither a loss nor an accuracy equals."""
    return tf.math.reduce_std(tf.cast(y_pred, tf.float32)) + tf.reduce_mean(tf.cast(y_true, tf.float32))


def metrics(column: Column) -> None:
    learner = column.compiled(metrics=[spread])
    (element,) = column.elements(1)
    expected = float(spread(*column.outputs(learner, element)))
    assert_close([learner.evaluate(dataset([element]), verbose=0, return_dict=True)["spread"]], [expected])
    assert "spread" in logs_of(learner, [element])


class WeightSum(keras.metrics.Sum):
    """The sum of the sample weights that a metric receives."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(tf.ones_like(sample_weight) if sample_weight is None else sample_weight)


def weighted_metrics(column: Column) -> None:
    learner = column.compiled(weighted_metrics=[WeightSum(name="weights")])
    (element,) = column.elements(1)
    weighted = column.weighted(element, 3.0)
    logs = learner.evaluate(dataset([weighted]), verbose=0, return_dict=True)
    assert_close([logs["weights"]], [3.0 * weighted[-1].size])


def steps_per_execution(column: Column) -> None:
    learner = column.compiled(steps_per_execution=2)
    elements = column.elements(4)
    assert_close(trained(learner, elements), plain(column, elements)[-1])


def jit_compile(column: Column) -> None:
    learner = column.compiled(jit_compile=True)
    elements = column.elements(2)
    assert learner.jit_compile
    assert_close(trained(learner, elements), plain(column, elements)[-1])


def run_eagerly(column: Column) -> None:
    learner = column.compiled(run_eagerly=True)
    elements = column.elements(2)
    assert_close(trained(learner, elements), plain(column, elements)[-1])


# ---- callbacks


def direction_of_the_loss(column: Column) -> None:
    learner = column.compiled()
    elements = column.elements(2)
    assert_directions(learner, elements, "loss", tf.math.less)


def direction_of_the_accuracy(column: Column) -> None:
    learner = column.compiled(metrics=column.accuracy() or None)
    elements = column.elements(2)
    assert_directions(learner, elements, "accuracy", tf.math.greater)


def assert_directions(learner: keras.Model, elements: list[Any], name: str, better: Any) -> None:
    """The callbacks that watch a metric know without being told whether more of it is better."""
    with tempfile.TemporaryDirectory() as folder:
        for monitor in (name, f"val_{name}"):
            callbacks = [
                keras.callbacks.EarlyStopping(monitor),
                keras.callbacks.ReduceLROnPlateau(monitor),
                keras.callbacks.ModelCheckpoint(
                    Path(folder) / "best.weights.h5", monitor, save_best_only=True, save_weights_only=True
                ),
            ]
            logs_of(learner, elements, validation_data=dataset(elements), callbacks=callbacks)
            for callback in callbacks:
                assert bool(callback.monitor_op(2.0, 1.0)) == bool(better(2.0, 1.0)), (callback, monitor)
            assert (Path(folder) / "best.weights.h5").exists()


PROGRAMS = {
    "`compile(loss=)`": (losses_of_ones_own, "loss"),
    "`compile(loss_weights=)`": (loss_weights, "loss_weights"),
    "`compile(metrics=)`": (metrics, "metrics"),
    "`compile(weighted_metrics=)`": (weighted_metrics, "weighted_metrics|sample_weight"),
    "`compile(steps_per_execution=)`": (steps_per_execution, "steps_per_execution"),
    "`compile(jit_compile=True)`": (jit_compile, "jit_compile"),
    "`compile(run_eagerly=True)`": (run_eagerly, "run_eagerly"),
    'callbacks that watch "loss" or "val_loss"': (direction_of_the_loss, "monitor"),
    'callbacks that watch "accuracy" or "val_accuracy"': (direction_of_the_accuracy, "accuracy"),
}
