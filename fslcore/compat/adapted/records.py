# SPDX-License-Identifier: MIT
"""`keras_fsl.utils.tfrecord_utils`: codecs of TFRecord files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from fslcore.data import records

_INTEGERS = (tf.int32, tf.uint32, tf.int64, tf.uint64)
DTYPE_TO_PROTO_DTYPE = {tf.string: tf.string, tf.float32: tf.float32, **dict.fromkeys(_INTEGERS, tf.int64)}


def build_tfrecord_encoder_decoder_from_spec(
    spec: Mapping[str, tf.TensorSpec],
) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """`fslcore.data.records.example_codec`: every dtype and rank.

    Args:
        spec: The `element_spec` of a dataset of dicts.

    Returns:
        The encoder, which makes bytes of an element, or a tensor in a graph; and the decoder.
    """
    codec = records.example_codec(dict(spec))

    def encode(element: Any) -> Any:
        record = codec.encode(element)
        return record.numpy() if tf.executing_eagerly() else record

    return encode, codec.decode


def infer_tfrecord_encoder_decoder_from_sample(
    sample: Mapping[str, tf.Tensor],
) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """`build_tfrecord_encoder_decoder_from_spec` of the dtypes and shapes of one element.

    Args:
        sample: An element of a dataset of dicts.
    """
    return build_tfrecord_encoder_decoder_from_spec(
        {name: tf.TensorSpec.from_tensor(tensor) for name, tensor in sample.items()}
    )
