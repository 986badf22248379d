# SPDX-License-Identifier: MIT
"""The types of `keras_fsl.utils.types`."""

from collections.abc import Mapping

import tensorflow as tf

TF_TENSOR = tf.Tensor
TF_TENSOR_SPEC = tf.TensorSpec
TENSOR_DTYPE_STR = str
TENSOR_NDIM = int
TENSOR_SHAPE = list[int]
TENSOR_MAP = Mapping[str, TF_TENSOR]
TENSOR_SPEC_MAP = Mapping[str, TF_TENSOR_SPEC]
