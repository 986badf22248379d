# SPDX-License-Identifier: MIT
"""Compare images with the means of the classes: batch_centroids_loss_training.py of keras-fsl.

`CentroidsMatrix` compares each image of a batch with the mean of every class of the batch, here by a learnt
mixture of norms, and a softmax makes class probabilities of the scores: the loss is the usual cross-entropy.
`embed` and `class_scores` are all that `fsl.evaluate` wants of a learner of your own.
"""

from __future__ import annotations

import keras
import tensorflow as tf
from example import begin

import fslcore as fsl

example = begin(__doc__, dataset="glyphs")
parts = example.parts()

encoder = fsl.encoders.conv4(parts["train"].image_shape)
centroids = fsl.layers.CentroidsMatrix(fsl.layers.MixedNorms(activation=None), activation="softmax")
images, one_hot = keras.Input(parts["train"].image_shape), keras.Input((None,))
model = keras.Model([images, one_hot], centroids([encoder(images), one_hot]))


def batches(part: str) -> tf.data.Dataset:
    """Images of 16 classes; the model is given the labels too, as it needs the means of the classes."""

    def with_labels(images: tf.Tensor, labels: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor]:
        dummies, _ = fsl.data.get_dummies(labels)
        return (images, dummies), dummies

    return parts[part].pk_batches(classes=16, samples=4, seed=example.options.seed).map(with_labels)


class ByCentroid:
    """The model as a learner: queries against the means of the examples."""

    def embed(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeddings."""
        return encoder(images, training=training)

    def class_scores(self, support: tf.Tensor, query: tf.Tensor, counts: object = None) -> tf.Tensor:
        """Scores of queries for classes of which there are `support` [n_way, k_shot, D]."""
        return centroids.pairwise(query, tf.reduce_mean(support, axis=1))


model.compile(keras.optimizers.Adam(2e-3), "categorical_crossentropy", metrics=["categorical_accuracy"])
model.fit(
    batches("train"),
    validation_data=batches("val"),
    validation_steps=example.choose(10, 1),
    steps_per_epoch=example.choose(40, 2),
    epochs=example.choose(4, 1),
)
episodes = example.choose(1000, 20)
example.finish(
    one_shot=fsl.evaluate(ByCentroid(), parts["test"], n_way=16, k_shot=1, episodes=episodes),
    four_shot=fsl.evaluate(ByCentroid(), parts["test"], n_way=16, k_shot=4, episodes=episodes),
)
