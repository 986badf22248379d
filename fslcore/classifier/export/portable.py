# SPDX-License-Identifier: MIT
"""The part of an exported classifier that other runtimes have: prepared images -> scores."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.classifier.export.model import ExportedClassifier, check_plain

Tensor = Any


def specification(model: ExportedClassifier) -> tf.TensorSpec:
    """The input: prepared images uint8 [B, S, S, C]."""
    return tf.TensorSpec((None, *model.image_shape), tf.uint8, "images")


def answers(model: ExportedClassifier) -> Any:
    """A function of prepared images: scores and probabilities float32 [B, C], number int32 [B].

    The number is the place of the answer among the labels, -1 for "unknown".
    """

    def of_images(images: Tensor) -> dict[str, Tensor]:
        scores = model.scorer(model.embed(images))
        known = tf.reduce_max(scores, axis=1) >= model.threshold
        return {
            "scores": scores,
            "probabilities": tf.nn.softmax(scores / model.temperature, axis=1),
            "number": tf.where(known, tf.argmax(scores, axis=1, output_type=tf.int32), -1),
        }

    return of_images


def traced(model: ExportedClassifier) -> Any:
    """The function as a graph.

    Raises:
        ArgumentError: The graph has ops that plain TensorFlow does not have.
    """
    function = tf.function(answers(model), autograph=False)
    concrete = function.get_concrete_function(images=specification(model))
    check_plain(concrete)
    return concrete
