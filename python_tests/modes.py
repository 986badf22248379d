# SPDX-License-Identifier: MIT
"""The ways in which TensorFlow runs a function of tensors; `parametrize("mode", MODES, ids=name)`.

In `unknown_batch` and `compiled` the graph is traced without knowing the first axis of any tensor, which is
how Keras traces a model: whatever works there works with the axis known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Function = Callable[..., Any]


def eager(function: Function) -> Function:
    """As it stands."""
    return function


def graph(function: Function) -> Function:
    """In a tf.function that knows all shapes."""
    return tf.function(function)


def unknown_batch(function: Function, jit_compile: bool = False) -> Function:
    """In a tf.function, traced once, that does not know the first axis of its arguments."""
    traced = None

    def call(*arrays: Any) -> Any:
        nonlocal traced
        tensors = [tf.convert_to_tensor(array) for array in arrays]
        if traced is None:
            signature = [
                tf.TensorSpec([None, *t.shape[1:]] if t.shape.rank else [], t.dtype) for t in tensors
            ]
            traced = tf.function(function, input_signature=signature, jit_compile=jit_compile)
        return traced(*tensors)

    return call


def compiled(function: Function) -> Function:
    """In XLA."""
    return unknown_batch(function, jit_compile=True)


MODES = [eager, graph, unknown_batch, compiled]


def name(mode: Function) -> str:
    """The id of a test in that mode."""
    return mode.__name__


def with_gradient(function: Function) -> Function:
    """(the value, its gradient with respect to the first argument) of a scalar function."""

    def call(x: Any, *others: Any) -> tuple[Any, Any]:
        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x, *others)
        return value, tape.gradient(value, x, unconnected_gradients="zero")

    return call
