# SPDX-License-Identifier: MIT
"""Prototypical networks (Snell et al., "Prototypical Networks for Few-shot Learning", 2017)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.learners.episode import EpisodeLearner
from fslcore.learners.ragged import padded


@keras.saving.register_keras_serializable(package="fslcore")
class Prototypical(EpisodeLearner):
    """Classifies a query by its nearest class mean (prototype) in the space of a learnt encoder.

    Train it on episodes, `learner.fit(store.episodes(n_way, k_shot, n_query), steps_per_epoch=...)`.
    One step encodes all images of one episode in one call, takes the squared Euclidean distances of the
    queries to the means of their support (equations 1 and 2 of the paper), and descends on the cross-entropy.
    `compile` needs only an optimizer. A `loss` on (labels int `[Q]`, scores `[Q, n_way]`) replaces the
    built-in cross-entropy; `metrics` are reported beside the built-in `accuracy`.

    Args:
        encoder: a built Keras model, images `[B, H, W, C]` -> embeddings `[B, D]`.
        **kwargs: passed to `keras.Model`.
    """

    def class_scores(self, support: tf.Tensor, query: tf.Tensor, counts: Any = None) -> tf.Tensor:
        """Scores queries against classes given by embedded examples.

        Args:
            support: `[n_way, k_shot, D]` embeddings, or a `tf.RaggedTensor` `[n_way, None, D]`.
            query: `[Q, D]` embeddings.
            counts: how many examples of each class there are, integers `[n_way]` from 1 to `k_shot`: the
                first ones count, whatever stands behind them. None: all.

        Returns:
            float32 `[Q, n_way]`: minus the squared distance to each prototype; larger = more alike.
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
        return -ops.pairwise(query, prototypes, metric="sqeuclidean")
