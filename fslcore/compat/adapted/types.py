# SPDX-License-Identifier: MIT
"""The types of `keras_fsl.utils.types`."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

TF_TENSOR: Any = tf.Tensor
TF_TENSOR_SPEC: Any = tf.TensorSpec
TENSOR_DTYPE_STR = str
TENSOR_NDIM = int
TENSOR_SHAPE = list[int]
TENSOR_MAP: Any = Mapping[str, TF_TENSOR]
TENSOR_SPEC_MAP: Any = Mapping[str, TF_TENSOR_SPEC]
