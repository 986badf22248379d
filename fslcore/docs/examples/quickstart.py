# SPDX-License-Identifier: MIT
"""Compare all pairs of a batch: the quickstart of keras-fsl.

An encoder, a learnt kernel on all pairs of the embeddings of a batch, and the binary cross-entropy of that
matrix. keras-fsl draws 64 of 20,000 images for a batch, which then has hardly two of one class; here a batch
has 16 classes of 4 images, and pairs of one class weigh as much as the others.
"""

from __future__ import annotations

from example import begin

import fslcore as fsl

example = begin(__doc__, dataset="omniglot")
parts = example.parts()

learner = fsl.Siamese(fsl.encoders.BasicCNN(parts["train"].image_shape), kernel="DenseSigmoid")
learner.compile(
    "adam",
    loss=fsl.losses.BinaryCrossentropy(balanced=True),
    metrics=[fsl.metrics.classification_accuracy(), fsl.metrics.MinEigenvalue()],
)
learner.fit(
    parts["train"].pk_batches(classes=16, samples=4, seed=example.options.seed),
    validation_data=parts["val"].pk_batches(classes=16, samples=4, batches=example.choose(10, 1)),
    steps_per_epoch=example.choose(60, 2),
    epochs=example.choose(3, 1),
)

# 5 classes that were not in the training, one example of each; the baseline compares pixels.
episodes = example.choose(1000, 20)
example.finish(
    accuracy=fsl.evaluate(learner, parts["test"], n_way=5, k_shot=1, episodes=episodes),
    pixels=fsl.evaluate(fsl.PixelNearestNeighbour(), parts["test"], n_way=5, k_shot=1, episodes=episodes),
)
