# SPDX-License-Identifier: MIT
"""Arguments of the ops as tensors: each is cast, and its shape is checked as far as it is known."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import tensorflow as tf

from fslcore.arguments import as_int64

Tensor = Any

_NO_WEIGHTS = np.zeros(0, np.float32)  # the op turns it into a tensor faster than tf.zeros makes one


def float32(value: Any) -> Tensor:
    """The value as a float32 tensor."""
    # Called eagerly, a cast that changes nothing takes as long as the kernel of a small matrix.
    if isinstance(value, tf.Tensor) and value.dtype == tf.float32:
        return value
    return tf.cast(tf.convert_to_tensor(value), tf.float32)


def float32_list(values: Sequence[Any]) -> list[Tensor]:
    """Each of the values as a float32 tensor."""
    return [float32(value) for value in values]


def scalar(value: Any) -> Tensor | float:
    """A Python number as it is, anything else as a float32 tensor."""
    return float(value) if isinstance(value, Real) else float32(value)


def matrix(name: str, value: Any) -> Tensor:
    """The value as a float32 tensor of two axes."""
    return _with_axes(name, float32(value), 2)


def weights_of_metric(value: Any) -> Tensor:
    """The weights of `weighted_manhattan`, float32 of one axis; empty for None."""
    return _NO_WEIGHTS if value is None else _with_axes("weights", float32(value), 1)


def integers(name: str, value: Any, dtype: tf.DType = tf.int64) -> Tensor:
    """The value as a tensor of an integer type; an empty list counts as integers."""
    tensor = tf.convert_to_tensor(value)
    if not tensor.dtype.is_integer and tensor.shape.num_elements() != 0:
        raise ValueError(f"{name} must hold integers, received {tensor.dtype.name}")
    return tf.cast(tensor, dtype)


def whole_number(name: str, value: Any) -> Tensor:
    """A Python integer or a tensor as an int64 tensor."""
    return tf.cast(value if tf.is_tensor(value) else as_int64(name, value), tf.int64)


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
