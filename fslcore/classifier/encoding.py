# SPDX-License-Identifier: MIT
"""The encoder of a support set: prepared images -> embeddings, by a learner or any Keras model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fslcore import kernels
from fslcore.arguments import ArgumentError
from fslcore.classifier import own
from fslcore.classifier.preparing import check_finite
from fslcore.classifier.rules import OF_METRIC, Rule, check_rule
from fslcore.data.preparation import Preparation
from fslcore.encoders.embedding import encoder_digest
from fslcore.learners import AdaptiveLearner, EmbeddingLearner
from fslcore.learners.inference import GraphEncoder, images_at_a_time
from fslcore.learners.networks import embedding_width

FloatArray = npt.NDArray[np.float32]


class Encoder:
    """Embeds images the same way wherever they come from: support, queries, a service.

    Args:
        model: A learner, or a built Keras model or layer, images [B, H, W, C] of 0
            to 1 -> embeddings [B, D]; more axes are flattened.

    Raises:
        ArgumentError: It is none of these.

    Attributes:
        model: What was given.
        network: The Keras layer that takes the images.
        digest: 32 hex digits of its layers and weights.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        _check(model)
        learns = isinstance(model, (AdaptiveLearner, EmbeddingLearner))
        self.network: keras.Layer = model.of_images if learns else model
        self._graph = GraphEncoder()
        self.digest = encoder_digest(self.model)

    @property
    def width(self) -> int | None:
        """D of the embeddings; None for a network that does not say."""
        if isinstance(self.model, AdaptiveLearner):
            return math.prod(self.network.input_shape[1:])
        return embedding_width(self.network)

    @property
    def temperature(self) -> float:
        """What scores are divided by to be the logits that a learner was trained with."""
        return own.temperature_of(self.model)

    def preparation(self, given: Preparation | None) -> Preparation:
        """How images become those that the network takes.

        Args:
            given: How they were prepared for its training; None: stretched to the size of its input.

        Raises:
            ArgumentError: It makes images of another shape than the network takes, or must be given.
        """
        shape: Any = getattr(self.network, "input_shape", None)
        known = isinstance(shape, tuple) and len(shape) == 4
        height, width, channels = cast("tuple[Any, Any, Any]", shape[1:] if known else (None,) * 3)
        if given is not None:
            if not isinstance(given, Preparation):
                raise ArgumentError("preparation", "must be a fslcore.data.Preparation", given)
            made = given.image_size, given.image_size, given.channels
            if any(
                size not in (None, own) for size, own in zip((height, width, channels), made, strict=True)
            ):
                raise ArgumentError(
                    "preparation",
                    f"must make images {[height, width, channels]} for the encoder {self.network.name!r}",
                    described=f"one of images {list(made)}",
                )
            return given
        if None in (height, width, channels):
            raise ArgumentError(
                "preparation",
                f"must be given for the encoder {self.network.name!r}, which says no size of images",
                None,
            )
        if height != width or channels not in (1, 3):
            raise ArgumentError(
                "encoder",
                "must take square images with 1 or 3 channels",
                described=f"{self.network.name!r} for images {[height, width, channels]}",
            )
        return Preparation(int(height), int(channels))

    def rule(self, rule: Any, options: Mapping[str, Any] | None = None) -> Rule:
        """A rule that suits the encoder.

        Args:
            rule: A name, a rule, or None: the one that the learner was trained for.
            options: Arguments of a rule that is given by its name, such as `k`.

        Raises:
            ArgumentError: There is no such rule, or the encoder does not have it.
        """
        if rule is None:
            rule = own.default_rule(self.model)
        check_rule(rule)
        if not isinstance(rule, str):
            return rule
        if rule in OF_METRIC and not isinstance(self.model, AdaptiveLearner):
            return OF_METRIC[rule](**{"metric": own.metric_of(self.model), **(options or {})})
        return own.rule_of(rule, self.model, options or {})

    def embed(self, pictures: npt.NDArray[np.uint8]) -> FloatArray:
        """Embeddings float32 [n, D] of prepared images uint8 [n, S, S, C].

        Raises:
            ArgumentError: An embedding is not finite.
        """
        # The scaling of `ImageStore`, to the bit.
        scaled = kernels.gather_images(pictures, np.arange(len(pictures), dtype=np.int32))
        if isinstance(self.model, AdaptiveLearner):  # its classifier takes images
            return scaled.reshape(len(scaled), -1)
        images = tf.constant(scaled)
        if isinstance(self.model, EmbeddingLearner):
            embeddings = self.model.embed(images)
        else:
            count = images_at_a_time(images.shape[1:], self.network)
            parts = [
                self._graph(self.network, self._flat, images[first : first + count], "alone")
                for first in range(0, len(pictures), count)
            ]
            embeddings = parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)
        rows = np.array(tf.cast(embeddings, tf.float32))
        check_finite("encoder", rows)
        return rows

    def _flat(self, images: tf.Tensor) -> tf.Tensor:
        embeddings = self.network(images, training=False)
        if not tf.is_tensor(embeddings):
            raise ArgumentError(
                "encoder",
                "must map images to one tensor of embeddings",
                described=f"{self.network.name!r}, which has several outputs",
            )
        return embeddings if len(embeddings.shape) == 2 else tf.reshape(embeddings, (tf.shape(images)[0], -1))


def _check(model: Any) -> None:
    if not isinstance(model, keras.Layer):
        raise ArgumentError("encoder", "must be a learner, or a Keras model or layer", model)
    if not model.built and not isinstance(model, EmbeddingLearner):
        raise ArgumentError(
            "encoder",
            "must be built: give it a keras.Input, or call it on images first",
            described=f"{model.name!r} without weights",
        )
