# SPDX-License-Identifier: MIT
"""The triplet loss on embeddings and on a Gram matrix: triplet_loss_mnist.py of keras-fsl.

The semi-hard loss of TensorFlow Addons never holds the matrix of distances. With the matrix, any kernel can
take the place of the distance: l1, cosine, or one that is learnt. All five trainings start from the same
weights. --dataset tfds:mnist is the original's data.
"""

from __future__ import annotations

import keras
import numpy as np
from example import begin

import fslcore as fsl
from fslcore.losses import TripletLoss, TripletSemiHardLoss

example = begin(__doc__, dataset="glyphs")
parts = example.parts()
test = parts["test"]

encoder = fsl.encoders.MnistCNN(parts["train"].image_shape)
start = encoder.get_weights()
mixed = fsl.layers.MixedNorms(activation="relu")
runs = {
    "embeddings": ("sqeuclidean", "embeddings", TripletSemiHardLoss(distance_metric="squared-L2")),
    "matrix, l2": ("sqeuclidean", "gram", TripletLoss(1.0)),
    "matrix, l1": ("manhattan", "gram", TripletLoss(1.0)),
    "matrix, cosine": ("cosine", "gram", TripletLoss(0.1)),
    "matrix, learnt norm": (mixed, "gram", TripletLoss(1.0)),
}

results = {}
for name, (kernel, output, loss) in list(runs.items())[: example.choose(5, 2)]:
    encoder.set_weights(start)
    learner = fsl.Siamese(encoder, kernel, output=output, larger_is_alike=False)
    learner.compile(keras.optimizers.Adam(1e-3), loss)
    batches = parts["train"].pk_batches(classes=8, samples=4, seed=example.options.seed)
    learner.fit(batches, steps_per_epoch=example.choose(100, 2), verbose=2)
    results[name] = fsl.evaluate(learner, test, n_way=5, k_shot=1, episodes=example.choose(1000, 10))
    # For https://projector.tensorflow.org and for TensorBoard.
    images = test.gather(np.arange(min(200, len(test))))
    names = [test.class_names[label] for label in test.labels[: len(images)]]
    fsl.callbacks.write_projector(example.out / name.replace(", ", "-"), learner.embed(images), names, images)

example.finish(**results)
