# SPDX-License-Identifier: MIT
"""Which kernel with which loss? triplet_loss_cifar10.py and triplet_loss_cifar100.py of keras-fsl.

Distances and similarities, fixed and learnt, under the triplet loss, the binary cross-entropy and the class
consistency loss; each with the embeddings as they are, and divided by their length. All start from the same
weights. Some runs of the original end at chance: all embeddings are then equal, and `Collapse` says so.
"""

from __future__ import annotations

import keras
from example import begin

import fslcore as fsl
from fslcore import losses
from fslcore.layers import LearntNorms, MixedNorms

example = begin(__doc__, dataset="glyphs", image_size=16)
parts = example.parts()
train, seed = parts["train"], example.options.seed

triplets, narrow = losses.TripletLoss(1.0), losses.TripletLoss(0.1)
distances = ["squared", "absolute"]
experiments = {
    "l2, triplets": ("sqeuclidean", triplets),
    "l1, triplets": ("manhattan", triplets),
    "cosine, triplets": ("cosine", narrow),
    "mixed norms, triplets": (MixedNorms(distances, activation="relu"), triplets),
    "learnt norms, triplets": (LearntNorms(activation="relu"), triplets),
    "mixed, cross-entropy": (MixedNorms(distances), losses.BinaryCrossentropy(balanced=True)),
    "learnt, cross-entropy": (LearntNorms(), losses.BinaryCrossentropy(balanced=True)),
    "mixed, consistency": (MixedNorms(distances), losses.ClassConsistencyLoss()),
    "learnt, consistency": (LearntNorms(), losses.ClassConsistencyLoss()),
}
projectors = {"as they are": [], "of length 1": [keras.layers.UnitNormalization()]}
network = fsl.encoders.CifarCNN(train.image_shape)
start = network.get_weights()
batches = train.pk_batches(classes=8, samples=4, seed=seed)
results, boxes = {}, {}

for name, (kernel, loss) in list(experiments.items())[: example.choose(None, 1)]:
    for projector, layers in projectors.items():
        network.set_weights(start)
        encoder = keras.Sequential([keras.Input(train.image_shape), network, *layers])
        # Each run has a kernel of its own; a distance is small for images that are alike.
        own = kernel if isinstance(kernel, str) else kernel.from_config(kernel.get_config())
        is_distance = isinstance(loss, losses.TripletLoss)
        learner = fsl.Siamese(encoder, own, larger_is_alike=not is_distance)
        learner.compile("adam", loss, metrics=[fsl.metrics.classification_accuracy(ascending=is_distance)])
        learner.fit(batches, steps_per_epoch=example.choose(50, 1), verbose=2)

        report = fsl.evaluate(learner, parts["test"], 5, 1, episodes=example.choose(300, 10))
        collapse = fsl.metrics.Collapse()
        images, labels = next(iter(parts["test"].pk_batches(classes=16, samples=4)))
        collapse.update_state(labels, learner.embed(images))
        results[f"{name}; {projector}"] = {"accuracy": report, "collapse": float(collapse.result())}
        boxes.setdefault(name, {})[projector] = report.episode_accuracies

example.save(accuracies=fsl.plots.boxes(boxes, "accuracy of 300 tasks", "Kernels, losses and projectors"))
example.finish(**results)
