# SPDX-License-Identifier: MIT
"""A support set as one graph of plain TensorFlow: preparation, encoder, comparison, threshold, labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.classifier.encoding import Encoder
from fslcore.classifier.export import preparing
from fslcore.classifier.export.scoring import Scorer
from fslcore.classifier.growing import Label
from fslcore.classifier.rules import Rule
from fslcore.classifier.state import State
from fslcore.data import Preparation
from fslcore.learners import AdaptiveLearner

Tensor = Any
Answers = dict[str, Tensor]

_TOP = 5
_UNKNOWN = ""  # no label is empty
# Ops that call Python: they exist in the process that made them only.
_PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
_OURS = "Fslcore"


class ExportedClassifier(tf.Module):
    """What a SavedModel holds. Every function takes a batch of any size.

    Args:
        encoder: The encoder of the support set.
        preparation: How pictures become its input.
        rule: The rule.
        state: The support set.

    Raises:
        ArgumentError: The set is empty, two of its labels have one name, or as for `Scorer`.
    """

    def __init__(self, encoder: Encoder, preparation: Preparation, rule: Rule, state: State) -> None:
        super().__init__(name="classifier")
        self._encoder, self._preparation = encoder, preparation
        # Keras' variables are wrapped: a SavedModel keeps those of TensorFlow.
        self.encoder_variables = [variable.value for variable in encoder.network.variables]
        self.scorer = Scorer(rule, state, encoder.model)
        self._names = tf.constant(names_of(state.labels))
        self._counts = tf.constant(state.counts)
        self.threshold = -np.inf if state.threshold is None else state.threshold
        self.temperature = state.temperature
        self._takes_images = isinstance(encoder.model, AdaptiveLearner)  # its classifier does
        self.dim = state.dim
        self.image_shape = (preparation.image_size, preparation.image_size, preparation.channels)

    def of_pixels(self, images: Tensor) -> Answers:
        """Answers for pictures of one size, uint8 [B, H, W, C]."""
        return self._answers(preparing.of_pixels(images, self._preparation))

    def of_floats(self, images: Tensor) -> Answers:
        """Answers for pictures of one size, float32 [B, H, W, C] from 0 to 1."""
        return self._answers(preparing.of_floats(images, self._preparation))

    def of_files(self, image_bytes: Tensor) -> Answers:
        """Answers for files, string [B]."""
        return self._answers(preparing.of_files(image_bytes, self._preparation))

    def of_crops(self, image_bytes: Tensor, crop_window: Tensor) -> Answers:
        """Answers for parts of files, string [B] and int32 [B, 4]: y, x, height, width; zeros: all of it."""
        return self._answers(preparing.of_files(image_bytes, self._preparation, crop_window))

    def support_set(self) -> Answers:
        """The labels by name, how many images each has, and its mean embedding."""
        return {
            "labels": tf.identity(self._names),
            "counts": tf.identity(self._counts),
            "prototypes": tf.identity(self.scorer.prototypes),
            "threshold": tf.constant(self.threshold, tf.float32),
            "temperature": tf.constant(self.temperature, tf.float32),
        }

    def embed(self, prepared: Tensor) -> Tensor:
        """Embeddings float32 [B, D] of prepared images uint8 [B, S, S, C]."""
        # The product of `fslcore.kernels.gather_images`.
        images = tf.cast(prepared, tf.float32) * np.float32(1 / 255)
        if self._takes_images:
            return tf.reshape(images, (-1, self.dim))
        embeddings = self._encoder.network(images, training=False)
        return tf.reshape(tf.cast(embeddings, tf.float32), (-1, self.dim))

    def _answers(self, prepared: Tensor) -> Answers:
        scores = self.scorer.in_blocks(self.embed(prepared))
        probabilities = tf.nn.softmax(scores / self.temperature, axis=1)
        best, places = tf.math.top_k(scores, min(_TOP, self._names.shape[0]))
        known = best[:, 0] >= self.threshold
        labels = tf.where(known[:, None], tf.gather(self._names, places), _UNKNOWN)
        likely = tf.gather(probabilities, places, batch_dims=1)
        return {
            "label": labels[:, 0],
            "known": known,
            "score": best[:, 0],
            "probability": likely[:, 0],
            "top_labels": labels,
            "top_scores": best,
            "top_probabilities": likely,
            "scores": scores,
        }

    def signatures(self) -> dict[str, Any]:
        """The functions by the names under which they are served."""
        pixels = {"images": tf.TensorSpec((None, None, None, None), tf.uint8, "images")}
        floats = {"images": tf.TensorSpec((None, None, None, None), tf.float32, "images")}
        files = {"image_bytes": tf.TensorSpec((None,), tf.string, "image_bytes")}
        windows = {"crop_window": tf.TensorSpec((None, 4), tf.int32, "crop_window")}
        given: dict[str, tuple[Callable[..., Answers], dict[str, tf.TensorSpec]]] = {
            "images": (self.of_pixels, pixels),
            "images_float": (self.of_floats, floats),
            "image_bytes": (self.of_files, files),
            "image_bytes_crop": (self.of_crops, {**files, **windows}),
            "support_set": (self.support_set, {}),
        }
        found = {name: _traced(function, specs) for name, (function, specs) in given.items()}
        return {"serving_default": found["images"], **found}


def names_of(labels: tuple[Label, ...]) -> list[str]:
    """The labels as strings, which graphs have.

    Raises:
        ArgumentError: Two of them are the same string, as 1 and "1".
    """
    names = [str(label) for label in labels]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ArgumentError(
            "labels",
            "must differ as strings to be exported",
            described=f"{int(twice)!r} and {twice!r}",
        )
    return names


def _traced(function: Callable[..., Answers], specs: dict[str, tf.TensorSpec]) -> Any:
    traced = tf.function(function, autograph=False).get_concrete_function(**specs)
    check_plain(traced)
    return traced


def check_plain(traced: Any) -> None:
    """Raises ArgumentError for a graph with ops that plain TensorFlow does not have."""
    graph = traced.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    foreign = sorted({node.op for node in nodes if node.op in _PYTHON or node.op.startswith(_OURS)})
    if foreign:
        raise ArgumentError(
            "encoder",
            "must consist of TensorFlow's own ops to be exported",
            described=f"one with {', '.join(foreign)}",
        )
