# SPDX-License-Identifier: MIT
"""First a usual classifier, then a Siamese network: content_crops.py of keras-fsl.

A softmax over the classes of the training is a simple baseline of few-shot learning: its last layer is thrown
away, and new classes are compared by the features before it. They are then trained further on triplets. Both
are measured, and so is the same training from random weights.
"""

from __future__ import annotations

import keras
from example import begin

import fslcore as fsl
from fslcore.data import sequences

example = begin(__doc__, dataset="glyphs")
parts = example.parts()
train, seed = parts["train"], example.options.seed
episodes = example.choose(1000, 20)


def measured(encoder: keras.Model) -> fsl.Report:
    """New classes, compared with the mean of their examples by the cosine."""
    learner = fsl.Prototypical(encoder, metric="cosine")
    return fsl.evaluate(learner, parts["test"], n_way=5, k_shot=1, episodes=episodes)


def trained_on_triplets(encoder: keras.Model, rate: float) -> keras.Model:
    """The encoder after a training on batches of 16 classes with 4 images."""
    learner = fsl.Siamese(encoder, "euclidean", output="embeddings")
    learner.compile(keras.optimizers.Adam(rate))
    batches = train.pk_batches(classes=example.choose(16, 8), samples=4, seed=seed)
    learner.fit(batches, steps_per_epoch=example.choose(40, 2), epochs=example.choose(3, 1))
    return encoder


encoder = fsl.encoders.conv4(train.image_shape)
classifier = keras.Sequential([encoder, keras.layers.Dense(train.n_classes)])
classifier.compile(
    keras.optimizers.Adam(2e-3),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
batches = sequences.Deterministic(train, 64, shuffle=True, to_categorical=False, seed=seed).dataset()
history = classifier.fit(batches, steps_per_epoch=example.choose(40, 2), epochs=example.choose(3, 1))

features = measured(encoder)
tuned = measured(trained_on_triplets(encoder, 1e-3))
alone = measured(trained_on_triplets(fsl.encoders.conv4(train.image_shape), 2e-3))
example.finish(
    training_accuracy_of_the_classifier=history.history["accuracy"][-1],
    classifier=features,
    classifier_then_triplets=tuned,
    triplets_alone=alone,
)
