# SPDX-License-Identifier: MIT
"""Prototypical networks (Snell et al., "Prototypical Networks for Few-shot Learning", 2017)."""

from __future__ import annotations

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.learners.episode import EpisodeLearner


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

    def class_scores(self, support: tf.Tensor, query: tf.Tensor) -> tf.Tensor:
        """Scores queries against classes given by embedded examples.

        Args:
            support: `[n_way, k_shot, D]` embeddings.
            query: `[Q, D]` embeddings.

        Returns:
            float32 `[Q, n_way]`: minus the squared distance to each prototype; larger = more alike.
        """
        # Means in half precision would lose digits that the distances need.
        prototypes = tf.reduce_mean(tf.cast(support, tf.float32), axis=1)
        return -ops.pairwise(query, prototypes, metric="sqeuclidean")
