# SPDX-License-Identifier: MIT
"""Prototypical networks (Snell et al., "Prototypical Networks for Few-shot Learning", 2017)."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.arguments import ArgumentError, as_float, check_one_of
from fslcore.learners.episode import EpisodeLearner
from fslcore.learners.ragged import padded

METRICS = ("sqeuclidean", "cosine")


@keras.saving.register_keras_serializable(package="fslcore")
class Prototypical(EpisodeLearner):
    """Classifies a query by its nearest class mean (prototype) in the space of a learnt encoder.

    Train it on episodes, `learner.fit(store.episodes(n_way, k_shot, n_query), steps_per_epoch=...)`.
    One step encodes all images of one episode in one call, takes the squared Euclidean distances of the
    queries to the means of their support (equations 1 and 2 of the paper), and descends on the cross-entropy.
    `compile` needs only an optimizer. A `loss` on (labels int `[Q]`, scores `[Q, n_way]`) replaces the
    built-in cross-entropy; `metrics` are reported beside the built-in `accuracy`.

    With `metric="cosine"` the score is the cosine of query and prototype, times a temperature, as in Chen et
    al., "Meta-Baseline: Exploring Simple Meta-Learning for Few-Shot Learning" (2021). Embeddings of length 1,
    such as those of `layers.CentredPCA`, need no training then.

    Args:
        encoder: a built Keras model, images `[B, H, W, C]` -> embeddings `[B, D]`.
        metric: "sqeuclidean" or "cosine".
        temperature: what cosines are multiplied by, above 0; it changes training, and no answer.
        **kwargs: passed to `keras.Model`.

    Raises:
        ArgumentError: `metric` or `temperature` is none of these, or as for `EmbeddingLearner`.
    """

    def __init__(
        self, encoder: keras.Layer, metric: str = "sqeuclidean", *, temperature: float = 10.0, **kwargs: Any
    ) -> None:
        super().__init__(encoder, **kwargs)
        check_one_of("metric", metric, METRICS)
        if not 0 < as_float("temperature", temperature) < math.inf:
            raise ArgumentError("temperature", "must be a finite number above 0", temperature)
        self.metric, self.temperature = metric, float(temperature)

    def class_scores(self, support: tf.Tensor, query: tf.Tensor, counts: Any = None) -> tf.Tensor:
        """Scores queries against classes given by embedded examples.

        Args:
            support: `[n_way, k_shot, D]` embeddings, or a `tf.RaggedTensor` `[n_way, None, D]`.
            query: `[Q, D]` embeddings.
            counts: how many examples of each class there are, integers `[n_way]` from 1 to `k_shot`: the
                first ones count, whatever stands behind them. None: all.

        Returns:
            float32 `[Q, n_way]`: minus the squared distance to each prototype, or their cosine times the
            temperature; larger = more alike.
        """
        support, there = padded(support, counts)
        # Means in half precision would lose digits that the distances need.
        support = tf.cast(support, tf.float32)
        if there is None:
            prototypes = tf.reduce_mean(support, axis=1)
        else:
            prototypes = (
                tf.reduce_sum(support, axis=1) / tf.reduce_sum(tf.cast(there, tf.float32), 1)[:, None]
            )
        if self.metric == "cosine":
            return self.temperature * (1.0 - ops.pairwise(query, prototypes, metric="cosine"))
        return -ops.pairwise(query, prototypes, metric="sqeuclidean")

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        return {**super().get_config(), "metric": self.metric, "temperature": self.temperature}
