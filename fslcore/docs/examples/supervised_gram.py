# SPDX-License-Identifier: MIT
"""Known classes, new images: a softmax against a Gram matrix. supervised_gram_matrix.py of keras-fsl.

The same network is trained as a usual classifier, and with the dot products of all pairs of a batch as logits
of "the same class". The second one then classifies by its support set, which is the training set, for several
numbers of dimensions. Its embeddings are written for TensorBoard's projector.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from example import begin

import fslcore as fsl

example = begin(__doc__, dataset="glyphs")
store = example.parts()["test"]
store = store.take(store.labels < example.choose(60, 8))
parts = store.split(by="image", train=0.7, test=0.3)
train, test = parts["train"], parts["test"]
train_images, test_images = (part.gather(np.arange(len(part))) for part in (train, test))
epochs = example.choose(8, 1)


@keras.saving.register_keras_serializable("examples")
def alike(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """The probability that two images are of one class: the sigmoid of their dot product, in proportion."""
    return tf.sigmoid(tf.reduce_sum(left * right, axis=-1) / left.shape[-1] ** 0.5)


def network(outputs: int, activation: str | None) -> keras.Model:
    """The encoder with a last layer."""
    layers = [fsl.encoders.conv4(store.image_shape), keras.layers.Dense(outputs, activation=activation)]
    return keras.Sequential(layers)


classifier = network(train.n_classes, "softmax")
classifier.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
classifier.fit(train_images, train.labels, batch_size=64, epochs=epochs)
softmax = classifier.evaluate(test_images, test.labels, return_dict=True)["accuracy"]

accuracies = {}
for width in example.choose([2, 32], [4]):
    embedder = network(width, None)
    model = keras.Sequential([embedder, fsl.layers.GramMatrix(alike)])
    model.compile(keras.optimizers.Adam(2e-3), fsl.losses.BinaryCrossentropy(balanced=True))
    batches = train.pk_batches(classes=min(16, train.n_classes), samples=4, seed=example.options.seed)
    model.fit(batches, steps_per_epoch=-(-len(train) // 64), epochs=epochs)

    # The class with the best mean of the kernel.
    support = fsl.SupportSet(fsl.Siamese(embedder, model.layers[-1]), "kernel")
    for number, name in enumerate(train.class_names):
        support.add(name, train.images[train.labels == number])
    answers, _ = support.predict(test.images)
    names = np.array(test.class_names, object)[test.labels]
    accuracies[width] = float(np.mean(answers == names))

fsl.callbacks.write_projector(example.out / "projector", embedder.predict(test_images), names, test_images)
matrix = np.zeros((test.n_classes, test.n_classes + 1), int)
np.add.at(matrix, (test.labels, [support.labels.index(answer) for answer in answers]), 1)
example.save(confusion=fsl.plots.confusion_matrix(matrix, test.class_names, "Answers", rates=True))
example.finish(softmax=softmax, images=len(test), gram_by_width=accuracies)
