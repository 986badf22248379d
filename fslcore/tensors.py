# SPDX-License-Identifier: MIT
"""Arguments as tensors of the dtype that the arithmetic has."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

Tensor = Any


def real(name: str, value: Any) -> Tensor:
    """The value as a float32 tensor.

    Raises:
        ValueError: If it is complex, or a masked array: a cast would drop the imaginary part or the mask.
    """
    # Called eagerly, a cast that changes nothing takes as long as the kernel of a small matrix.
    if isinstance(value, tf.Tensor) and value.dtype == tf.float32:
        return value
    tensor = unmasked(name, value)
    if tensor.dtype.is_complex:
        raise ValueError(f"{name} must hold real numbers, received {tensor.dtype.name}")
    return tf.cast(tensor, tf.float32)


def unmasked(name: str, value: Any) -> Tensor:
    """The value as a tensor, or a ValueError for a masked array."""
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name} must hold a value for each element, received a masked array")
    return tf.convert_to_tensor(value)
