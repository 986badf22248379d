# SPDX-License-Identifier: MIT
"""Siamese networks for production: the training of the talk, and siamese_nets_training.py of keras-fsl.

A network that has seen ImageNet learns from pairs of pictures in four phases: frozen, the last fifth thawed,
the last half, all of it, each from the best weights so far. Its kernel mixes four norms. The two pictures of
the talk are made on the way: all distances within known classes, in which blocks appear, and new pictures
against a support set.
"""

from __future__ import annotations

from example import begin

import fslcore as fsl
from fslcore.data import sequences
from fslcore.experiments import Phase, fit_in_phases

example = begin(__doc__, dataset="emoji", image_size=32, network="efficientnet-lite0")
parts = {name: part.with_min_images(4) for name, part in example.parts().items()}
size, seed = example.options.image_size, example.options.seed

network = fsl.encoders.build(example.options.network, parts["train"].image_shape)
kernel = fsl.layers.MixedNorms(["unit_product", "absolute", "softmax", "squared"])
learner = fsl.Siamese(network, kernel)

shown = parts["train"].take(parts["train"].labels < 12)
unseen = parts["test"].take(parts["test"].labels < 12).split(by="image", support=2, queries=2)
phases = [
    Phase("frozen", 2, 1e-3),
    Phase("top=20%", 1, 1e-4),
    Phase("top=50%", 1, 5e-5),
    Phase("all", 1, 2e-5),
]
fit_in_phases(
    learner,
    example.choose(phases, [Phase("top=50%", 1, 1e-3)]),
    lambda epoch: sequences.RandomBalancedPairs(parts["train"], 32, seed=seed, epoch=epoch).dataset(),
    network=network,
    validation_data=sequences.RandomBalancedPairs(parts["val"], 32).dataset(epochs=1, first=0),
    validation_steps=example.choose(4, 1),
    steps_per_epoch=example.choose(15, 2),
    compile_options={"loss": "binary_crossentropy", "metrics": ["binary_accuracy"]},
    callbacks=lambda: [
        fsl.callbacks.DistanceMatrix(shown, folder=example.out, every=100, at_start=True),
        fsl.callbacks.QueriesVersusSupport(
            unseen["queries"], unseen["support"], folder=example.out, every=100
        ),
    ],
)

episodes = example.choose(1000, 10)
example.finish(
    five_way=fsl.evaluate(learner, parts["test"], n_way=5, k_shot=1, n_query=3, episodes=episodes),
    ten_way=fsl.evaluate(learner, parts["test"], n_way=10, k_shot=3, n_query=1, episodes=episodes),
)
