# SPDX-License-Identifier: MIT
"""A column of the table of Keras' features: a learner, its data, and what is expected of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Element = Any


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """One learner of the table.

    Attributes:
        name: heading of the column.
        make: (regularizer=None, extra=None) -> a learner that is not compiled, with the same weights in every
            call; `regularizer` is for the kernel of one of its layers, `extra` a layer to be put among them.
        element: (learner, seed) -> one training batch, arrays in a tuple, as `fit` takes it.
        cells: feature -> "heeded" or "refused".
        outputs: (learner, training batch) -> (y_true, y_pred) as losses and metrics must receive them when
            the batch is evaluated.
        loss: makes a loss for `compile` other than the default.
        inputs: (training batch) -> what `predict` takes; the predictions must be those of the learner called
            on it.
        weighted: (training batch, factor) -> the batch with sample weights, `factor` or, for None, different
            ones.
        exported: (training batch) -> what the exported learner takes.
        classes: how many labels `class_weight` must name.
        accuracy: what `compile(metrics=)` needs, so that the logs have an "accuracy".
        options: what `compile` needs beside the optimizer.
        called: (learner, inputs) -> what it predicts for them, from other methods or from calling it.
        once: whether a step adds the losses of layers once, at the weights before it; a learner that adapts
            adds them in every inner step too.
        gathers: whether a batch over several replicas is one batch to the loss, not one per replica.
    """

    name: str
    make: Callable[..., keras.Model]
    element: Callable[[keras.Model, int], Element]
    cells: dict[str, str]
    outputs: Callable[[keras.Model, Element], tuple[Any, Any]]
    loss: Callable[[], Any]
    inputs: Callable[[Element], Any] = lambda element: element[0]
    weighted: Callable[[Element, float | None], Element] = lambda element, factor: (
        *element,
        np.full(len(element[1]), factor, np.float32) if factor else np.arange(len(element[1])).astype("f4"),
    )
    exported: Callable[[Element], Any] = lambda element: element[0]
    classes: int = 10
    accuracy: Callable[[], list[Any]] = list
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    called: Callable[[keras.Model, Any], Any] = lambda learner, inputs: learner(inputs)
    once: bool = True
    gathers: bool = False

    def elements(self, count: int, seed: int = 0) -> list[Element]:
        """Training batches, all different."""
        return [_element(self, seed + i) for i in range(count)]

    def start(self) -> list[np.ndarray]:
        """The weights of a new learner."""
        return _reference(self, False)[1]

    def trainable(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Those of the weights that the optimizer changes."""
        weights = _reference(self, False)[0].weights
        return [value for value, v in zip(values, weights, strict=True) if v.trainable]

    def compiled(
        self, optimizer: Any = None, made: dict[str, Any] | None = None, **options: Any
    ) -> keras.Model:
        """A learner that is compiled, by default with plain gradient descent."""
        learner = self.make(**(made or {}))
        learner.compile(optimizer or keras.optimizers.SGD(0.1), **{**self.options, **options})
        return learner


@cache
def _element(column: Column, seed: int) -> Element:
    return column.element(_reference(column, False)[0], seed)


@cache
def _reference(column: Column, own_loss: bool) -> tuple[keras.Model, list[np.ndarray]]:
    """A learner that takes plain steps for all comparisons of a column, and its weights before any."""
    learner = column.compiled(jit_compile=False, **({"loss": column.loss()} if own_loss else {}))
    return learner, weights(learner)


def plain(
    column: Column, elements: list[Element], rate: float = 0.1, *, own_loss: bool = False
) -> list[list[np.ndarray]]:
    """What features are compared with: the weights of a new learner after 0, 1, ... steps.

    The steps are those of `train_on_batch` with plain gradient descent. That an epoch of `fit` is as many of
    them is what the row of finite datasets shows, with learners of its own.
    """
    return [column.start(), *(after for after, _ in _steps(column, elements, rate, own_loss))]


def plain_loss(column: Column, element: Element) -> float:
    """The loss that the logs of a step of a new learner hold."""
    ((_, loss),) = _steps(column, [element])
    return loss


def _steps(
    column: Column, elements: list[Element], rate: float = 0.1, own_loss: bool = False
) -> list[tuple[list[np.ndarray], float]]:
    """The weights after each step, and its loss."""
    learner, start = _reference(column, own_loss)
    learner.set_weights(start)
    for optimizer in getattr(learner, "optimizers", [learner.optimizer]):
        optimizer.learning_rate = rate
        optimizer.iterations.assign(0)
    found = []
    for element in elements:
        learner.reset_metrics()
        logs = learner.train_on_batch(*element, return_dict=True)
        found.append((weights(learner), float(logs["loss"])))
    return found


def dataset(elements: list[Element]) -> tf.data.Dataset:
    """A finite dataset of training batches."""
    stacked = tf.nest.map_structure(lambda *parts: np.stack(parts), *elements)
    return tf.data.Dataset.from_tensor_slices(stacked)


def logs_of(learner: keras.Model, elements: list[Element], **options: Any) -> dict[str, float]:
    """The logs of one epoch of `fit`, by name."""
    history = learner.fit(dataset(elements), shuffle=False, verbose=0, **options).history
    return {name: values[-1] for name, values in history.items()}


def trained(learner: keras.Model, elements: list[Element], **options: Any) -> list[np.ndarray]:
    """The trainable weights after one epoch of `fit`."""
    logs_of(learner, elements, **options)
    return weights(learner)


def weights(learner: keras.Model) -> list[np.ndarray]:
    """Copies of all weights."""
    return [np.array(values) for values in learner.get_weights()]


def first_layer(learner: keras.Model) -> keras.Layer:
    """The first layer with weights of its own that can be trained."""
    layers = learner._flatten_layers(include_self=False)
    return next(layer for layer in layers if layer.trainable_weights and not isinstance(layer, keras.Model))


def assert_close(one: list[Any], other: list[Any], relative: float = 1e-4) -> None:
    """The arrays of two lists are equal up to rounding, relative to the largest entry of each."""
    for a, b in zip(one, other, strict=True):
        b = np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=relative * max(1e-2, np.abs(b).max(initial=0)))


def changes(after: list[np.ndarray], before: list[np.ndarray]) -> list[np.ndarray]:
    return [a - b for a, b in zip(after, before, strict=True)]


def moved(after: list[np.ndarray], before: list[np.ndarray]) -> bool:
    return any(np.any(change) for change in changes(after, before))
