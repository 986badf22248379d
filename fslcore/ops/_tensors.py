# SPDX-License-Identifier: MIT
"""Arguments of the ops as tensors: each is cast, and its shape is checked as far as it is known."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import tensorflow as tf

from fslcore.arguments import as_int64
from fslcore.tensors import real, unmasked

Tensor = Any

_NO_WEIGHTS = np.zeros(0, np.float32)  # the op turns it into a tensor faster than tf.zeros makes one


def real_list(name: str, values: Sequence[Any]) -> list[Tensor]:
    """Each of the values as a float32 tensor."""
    return [real(f"{name}[{i}]", value) for i, value in enumerate(values)]


def scalar(name: str, value: Any) -> Tensor | float:
    """A Python number as it is, anything else as a float32 tensor."""
    return float(value) if isinstance(value, Real) else real(name, value)


def matrix(name: str, value: Any) -> Tensor:
    """The value as a float32 tensor of two axes."""
    return _with_axes(name, real(name, value), 2)


def vector(name: str, value: Any) -> Tensor:
    """The value as a float32 tensor of one axis."""
    return _with_axes(name, real(name, value), 1)


def weights_of_metric(value: Any) -> Tensor:
    """The weights of `weighted_manhattan`, float32 of one axis; empty for None."""
    return _NO_WEIGHTS if value is None else vector("weights", value)


def integers(name: str, value: Any, dtype: tf.DType = tf.int64) -> Tensor:
    """The value as a tensor of an integer type; an empty list counts as integers."""
    tensor = unmasked(name, value)
    if not tensor.dtype.is_integer and tensor.shape.num_elements() != 0:
        raise ValueError(f"{name} must hold integers, received {tensor.dtype.name}")
    return tf.cast(tensor, dtype)


def whole_number(name: str, value: Any) -> Tensor:
    """A Python integer or a tensor of integers as an int64 tensor."""
    if not tf.is_tensor(value):
        return tf.constant(as_int64(name, value), tf.int64)
    if not value.dtype.is_integer:
        raise ValueError(f"{name} must be a whole number, received {value.dtype.name}")
    return tf.cast(value, tf.int64)


def labels_of_batch(labels: Any) -> Tensor:
    """Class ids as an int64 tensor of one axis."""
    return _with_axes("labels", integers("labels", labels), 1)


def check_axes(name: str, tensor: Tensor, axes: int) -> None:
    """Raises ValueError if the tensor is known to have another number of axes."""
    if tensor.shape.rank not in (None, axes):
        plural = "axis" if axes == 1 else "axes"
        raise ValueError(f"{name} must have {axes} {plural}, received shape {tensor.shape.as_list()}")


def check_shape(name: str, tensor: Tensor, expected: Sequence[int | None] | tf.TensorShape) -> None:
    """Raises ValueError if the tensor is known to have another shape."""
    expected = tf.TensorShape(expected)
    if not tensor.shape.is_compatible_with(expected):
        raise ValueError(
            f"{name} must have shape {expected.as_list()}, received shape {tensor.shape.as_list()}"
        )


def _with_axes(name: str, tensor: Tensor, axes: int) -> Tensor:
    check_axes(name, tensor, axes)
    return tensor
