# SPDX-License-Identifier: MIT
"""What the learners' own `compile` and `fit` share: arguments by name, and what Keras compares by entry."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import keras
import tensorflow as tf

Method = TypeVar("Method", bound=Callable[..., Any])


def bound(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a method of `keras.Model`, given in any way, by name and without `self`."""
    arguments = dict(inspect.signature(function).bind(None, *args, **kwargs).arguments)
    del arguments["self"]
    others = arguments.pop("kwargs", {})
    return {**arguments, **others}


def takes_arguments_of(function: Callable[..., Any]) -> Callable[[Method], Method]:
    """Decorates a method that hands its arguments on: its signature is that of the function.

    `functools.wraps` would do the same, but type checkers then no longer see a method.
    """

    def marked(method: Method) -> Method:
        vars(method)["__wrapped__"] = function
        return method

    return marked


def of_keras(named: Any) -> list[Any]:
    """Those of a compiled `loss` or `metrics` that are Keras' own, and compare entries of equal shapes."""
    found = []
    for each in tf.nest.flatten(named):
        if each is None:
            continue
        function = getattr(each, "_fn", getattr(each, "fn", each))
        if isinstance(function, str):
            own = ">" not in function  # the name of a class of a package has one
        else:
            module = getattr(function, "__module__", None) or type(function).__module__
            own = module.partition(".")[0] == "keras"
        if own:
            found.append(each)
    return found


def has_entries_of(y_true: Any, y_pred: Any) -> bool:
    """Whether labels may be compared with predictions entry by entry, as far as their shapes are known."""
    if y_true.shape.rank != y_pred.shape.rank:
        return False
    width, expected = y_true.shape[-1], y_pred.shape[-1]
    return width == expected or (width is None and expected is not None)


def name_of(given: Any) -> str:
    """How a message names a loss or a metric."""
    if isinstance(given, str):
        return repr(given)
    return str(getattr(given, "__name__", type(given).__name__))


def is_array(data: Any) -> bool:
    """Whether Keras cuts it into batches: an array or a tensor, as against a dataset or a generator."""
    return hasattr(data, "shape") and hasattr(data, "__getitem__") and not isinstance(data, keras.KerasTensor)
