# SPDX-License-Identifier: MIT
"""Matching networks (Vinyals et al., "Matching Networks for One Shot Learning", 2016)."""

from __future__ import annotations

import math
import numbers
from typing import Any

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.arguments import ArgumentError, as_bool
from fslcore.learners.episode import EpisodeLearner
from fslcore.learners.ragged import padded


@keras.saving.register_keras_serializable(package="fslcore")
class MatchingNetwork(EpisodeLearner):
    """Classifies a query by its attention to all examples of the support, in the space of a learnt encoder.

    The attention of a query is the softmax, over all images of the support, of the cosine of its embedding
    with theirs, times a temperature. The probability of a class is the sum of the attention to its examples
    (equation 1 of the paper). This is the paper's network without full context embeddings: every image is
    embedded alone, with the same encoder for support and queries.

    Train it on episodes, `learner.fit(store.episodes(n_way, k_shot, n_query), steps_per_epoch=...)`.
    One step encodes all images of one episode in one call, and descends on the cross-entropy. `compile` needs
    only an optimizer. A `loss` on (labels int `[Q]`, scores `[Q, n_way]`) replaces the built-in
    cross-entropy; `metrics` are reported beside the built-in `accuracy`.

    Args:
        encoder: a built Keras model, images `[B, H, W, C]` -> embeddings `[B, D]`.
        temperature: what the cosines are multiplied by, above 0. The paper has none, which is 1: as a cosine
            is at most 1, no class of a 20-way 1-shot episode can then have a probability above 0.28, and
            training is slow.
        learn_temperature: whether the temperature is a weight, which starts with the value given; it stays
            above 0, because its logarithm is what is learnt.
        **kwargs: passed to `keras.Model`.

    Raises:
        ArgumentError: `temperature` is not a finite number above 0, or as for `EmbeddingLearner`.
    """

    def __init__(
        self,
        encoder: keras.Layer,
        temperature: float = 20.0,
        *,
        learn_temperature: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, **kwargs)
        number = isinstance(temperature, numbers.Real) and not isinstance(temperature, bool)
        if not number or not 0 < temperature < math.inf:
            raise ArgumentError("temperature", "must be a finite number above 0", temperature)
        self.initial_temperature = float(temperature)
        self.log_temperature: keras.Variable | None = None
        if as_bool("learn_temperature", learn_temperature):
            self.log_temperature = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(math.log(temperature)),
                dtype="float32",
                autocast=False,  # half precision would cost digits of what all cosines are multiplied by
                name="log_temperature",
            )

    @property
    def temperature(self) -> tf.Tensor:
        """What the cosines are multiplied by, a float32 scalar."""
        if self.log_temperature is None:
            return tf.constant(self.initial_temperature, tf.float32)
        return tf.exp(tf.convert_to_tensor(self.log_temperature))

    def class_scores(self, support: tf.Tensor, query: tf.Tensor, counts: Any = None) -> tf.Tensor:
        """Scores queries against classes given by embedded examples.

        Args:
            support: `[n_way, k_shot, D]` embeddings, or a `tf.RaggedTensor` `[n_way, None, D]`.
            query: `[Q, D]` embeddings.
            counts: how many examples of each class there are, integers `[n_way]` from 1 to `k_shot`: the
                first ones count, whatever stands behind them. None: all.

        Returns:
            float32 `[Q, n_way]`: logarithms of the probabilities of the classes; larger = more alike.
        """
        support, there = padded(support, counts)
        n_way, k_shot = tf.shape(support)[0], tf.shape(support)[1]
        examples = tf.reshape(support, (n_way * k_shot, support.shape[-1] or tf.shape(support)[2]))
        cosines = 1.0 - ops.pairwise(query, examples, metric="cosine")
        logits = tf.reshape(self.temperature * cosines, (tf.shape(query)[0], n_way, k_shot))
        if there is not None:
            logits = tf.where(there, logits, -math.inf)
        # Logarithms of sums of exponentials: the attention to a class may be too small for float32.
        of_classes = tf.reduce_logsumexp(logits, axis=2)
        return tf.nn.log_softmax(of_classes, axis=1)

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        return {
            **super().get_config(),
            "temperature": self.initial_temperature,
            "learn_temperature": self.log_temperature is not None,
        }
