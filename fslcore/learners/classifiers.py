# SPDX-License-Identifier: MIT
"""The classifier that a learner makes for one task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fslcore.learners.inner import Tensors


def classifier(
    network: keras.Model,
    weights: Tensors,
    state: Tensors,
    outputs: Callable[[list[tf.Tensor], tf.Tensor], tf.Tensor],
) -> keras.Model:
    """A copy of a network with other values.

    All copies predict by the same function, which is traced once per shape: Keras would trace one for each.

    Args:
        network: a built classifier.
        weights: values of its trainable variables.
        state: values of its other variables.
        outputs: (values of `network.variables`, images) -> outputs of the network.

    Returns:
        A Keras model of its own variables.
    """
    copy = keras.models.clone_model(network)
    variables = [*network.trainable_variables, *network.non_trainable_variables]
    values = {id(variable): value for variable, value in zip(variables, [*weights, *state], strict=True)}
    for variable, original in zip(copy.variables, network.variables, strict=True):
        variable.assign(values[id(original)])

    def predict_function(batches: list[Any]) -> tf.Tensor:
        (batch,) = batches
        images, *_ = keras.utils.unpack_x_y_sample_weight(batch)
        return outputs([tf.convert_to_tensor(variable) for variable in copy.variables], images)

    # `compile` puts one of Keras' own in its place.
    copy.predict_function = predict_function
    return copy
