# SPDX-License-Identifier: MIT
"""Prototypical networks: the ProtoNets notebook of keras-fsl.

The training plays what will be asked: episodes of some classes with a few examples each, whose mean is the
prototype of the class. Pictures at the start and at the end show what is learnt: blocks in the matrix of all
distances, clusters in the plane, answers on the diagonal. The learner is saved; evaluate.py and serving.py
use it.
"""

from __future__ import annotations

import keras
from example import begin

import fslcore as fsl

example = begin(__doc__, dataset="omniglot")
parts = example.parts()

# Ten letters that are not in the training, for the pictures.
shown = parts["test"].take(parts["test"].labels < 10)
halves = shown.split(by="image", support=0.25, queries=0.75)
epochs = example.choose(4, 1)
at_the_ends = {"folder": example.out, "every": epochs, "at_start": not example.options.quick}

learner = fsl.Prototypical(fsl.encoders.conv4(parts["train"].image_shape))
learner.compile(keras.optimizers.Adam(2e-3))
learner.fit(
    parts["train"].episodes(n_way=example.choose(30, 5), k_shot=5, n_query=5, seed=example.options.seed),
    validation_data=parts["val"].episodes(n_way=5, k_shot=5, n_query=5, episodes=example.choose(50, 1)),
    steps_per_epoch=example.choose(40, 2),
    epochs=epochs,
    callbacks=[
        fsl.callbacks.DistanceMatrix(shown, **at_the_ends),
        fsl.callbacks.EmbeddingMap(shown, **at_the_ends),
        fsl.callbacks.ConfusionMatrix(halves["queries"], halves["support"], **at_the_ends),
    ],
)
learner.save(example.out / "learner.keras")

episodes = example.choose(1000, 20)
example.finish(
    five_way=fsl.evaluate(learner, parts["test"], n_way=5, k_shot=5, episodes=episodes),
    twenty_way=fsl.evaluate(learner, parts["test"], n_way=20, k_shot=5, episodes=episodes),
)
