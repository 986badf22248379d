# SPDX-License-Identifier: MIT
"""The functions that a learner has traced, for many threads and for layers that are frozen later."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from fslcore.learners import adaptation

# Layers keep lists of their losses while they are called, and learners may share layers: one trace at a time.
_TRACING = threading.RLock()


class Functions(NamedTuple):
    """Traced functions of a learner, all of them pure.

    Attributes:
        adapt: `adaptation.adapted`.
        score: `adaptation.scores`.
        predict: (values of `network.variables`, images) -> outputs of the network in inference mode.
    """

    adapt: Callable[..., Any]
    score: Callable[..., Any]
    predict: Callable[..., Any]


class Traces:
    """Makes the functions of a learner, and makes them anew when what they were traced from has changed.

    Args:
        learner: an `AdaptiveLearner`.
    """

    def __init__(self, learner: Any) -> None:
        self._learner = learner
        self._lock = threading.Lock()
        self._of: Hashable = None
        self._functions: Functions | None = None
        self._keras: dict[str, Hashable] = {}

    def functions(self) -> Functions:
        """The functions for the layers that are trained now."""
        traced_from = self._traced_from()
        with self._lock:
            if self._functions is None or self._of != traced_from:
                learner = self._learner
                self._of = traced_from
                self._functions = Functions(
                    tf.function(_one_at_a_time(partial(adaptation.adapted, learner))),
                    tf.function(_one_at_a_time(partial(adaptation.scores, learner)), reduce_retracing=True),
                    tf.function(_one_at_a_time(partial(_outputs, learner.network)), reduce_retracing=True),
                )
            return self._functions

    def is_stale(self, name: str) -> bool:
        """Whether a function of Keras, such as the train function, was traced from other layers.

        It is asked for right before Keras makes the function, and remembers what it is made from.
        """
        before, now = self._keras.get(name), self._traced_from()
        self._keras[name] = now
        return before is not None and before != now

    def _traced_from(self) -> Hashable:
        layers = self._learner._flatten_layers()
        return (
            tuple(layer.trainable for layer in layers),
            tuple(variable.trainable for variable in self._learner.network.variables),
            self._learner._compile_loss,
        )


class PerShape:
    """A train or test function of Keras for each shape of batches, which take the part of one.

    Keras makes one function for all shapes, whose tensors have unknown sizes, and even an unknown rank, once
    batches differ; the number of classes and of images per class must be known.

    Args:
        make: makes such a function.
    """

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._make = make
        self._functions: dict[Hashable, Callable[[Any], Any]] = {}

    def __call__(self, batches: Any) -> Any:
        """Runs the function for the shape of the batches that an iterator returns."""
        if isinstance(batches, (tf.data.Iterator, tf.distribute.DistributedIterator)):
            like = batches.element_spec
        else:
            like, *further = batches
            batches = iter([like, *further])
        shapes = tuple(_but_the_first_axis(part) for part in tf.nest.flatten(like))
        if shapes not in self._functions:
            self._functions[shapes] = self._make()
        return self._functions[shapes](batches)


def _but_the_first_axis(part: Any) -> Hashable:
    shape = getattr(part, "shape", None)
    if shape is None:
        return str(type(part))
    shape = tf.TensorShape(shape)
    return None if shape.rank is None else (shape.rank, *shape.as_list()[1:])


def _one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function; its body, which runs only while it is traced, waits for other traces."""

    def traced(*args: Any, **kwargs: Any) -> Any:
        with _TRACING:
            return function(*args, **kwargs)

    return traced


def _outputs(network: keras.Model, values: list[tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    with keras.StatelessScope(state_mapping=list(zip(network.variables, values, strict=True))):
        return network(images, training=False)
