# SPDX-License-Identifier: MIT
"""What the learners that compare embeddings and are trained on episodes share."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.learners.embedding import EmbeddingLearner


class EpisodeLearner(EmbeddingLearner):
    """An `EmbeddingLearner` that is trained to classify the queries of episodes; a subclass scores them.

    Train it on episodes, `learner.fit(store.episodes(n_way, k_shot, n_query), steps_per_epoch=...)`.
    One step encodes all images of one episode in one call, scores the queries against the support with
    `class_scores`, and descends on the cross-entropy of the softmax over the classes. `compile` needs only an
    optimizer. A `loss` on (labels int `[Q]`, scores `[Q, n_way]`) replaces the built-in cross-entropy;
    `metrics` are reported beside the built-in `accuracy`.

    Args:
        encoder: a built Keras model, images `[B, H, W, C]` -> embeddings `[B, D]`.
        **kwargs: passed to `keras.Model`.
    """

    def __init__(self, encoder: keras.Layer, **kwargs: Any) -> None:
        super().__init__(encoder, **kwargs)
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        """Embeds images, or scores the queries of an episode.

        Args:
            inputs: images `[B, H, W, C]`, or `(support [n_way, k_shot, H, W, C],
                query [n_way, n_query, H, W, C])`.
            training: as for any Keras layer.

        Returns:
            Embeddings `[B, D]`, or scores `[n_way * n_query, n_way]`, class-major.
        """
        if not isinstance(inputs, (tuple, list)):
            return self.encode(inputs, training=training)
        support, query = inputs
        n_way, k_shot, n_query = tf.shape(support)[0], tf.shape(support)[1], tf.shape(query)[1]
        images = tf.concat([support, query], axis=1)
        embeddings = self.encode(tf.reshape(images, (-1, *images.shape[2:])), training=training)
        embeddings = tf.reshape(embeddings, (n_way, k_shot + n_query, embeddings.shape[-1]))
        query = tf.reshape(embeddings[:, k_shot:], (n_way * n_query, embeddings.shape[-1]))
        return self.class_scores(embeddings[:, :k_shot], query)

    def class_scores(self, support: tf.Tensor, query: tf.Tensor) -> tf.Tensor:
        """Scores queries against classes given by embedded examples.

        Args:
            support: `[n_way, k_shot, D]` embeddings.
            query: `[Q, D]` embeddings.

        Returns:
            float32 `[Q, n_way]`: logits of the classes; larger = more alike.
        """
        raise NotImplementedError

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """One step on one episode `(support, query)`."""
        return super().train_step(_with_labels(data))

    def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """Scores one episode `(support, query)` with the moving averages of BatchNormalization."""
        return super().test_step(_with_labels(data))

    def default_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> tf.Tensor:  # noqa: ARG002
        """Cross-entropy of the softmax over the classes."""
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=y_pred)
        return tf.reduce_mean(cross_entropy)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Updates `accuracy`, the loss and the metrics given to `compile`."""
        self.accuracy.update_state(y, y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _with_labels(data: tuple[tf.Tensor, tf.Tensor]) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Appends the labels `[n_way * n_query]` of the queries, which come class by class in an episode."""
    support, query = data[:2]  # train_on_batch appends a sample weight of None
    n_way, n_query = tf.shape(query)[0], tf.shape(query)[1]
    return (support, query), tf.repeat(tf.range(n_way), n_query)
