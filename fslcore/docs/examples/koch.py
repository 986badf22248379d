# SPDX-License-Identifier: MIT
"""One-shot learning with a Siamese network: the reproduction of Koch et al. that most people have read.

Batches of pairs, half of one letter, half of two; after each epoch the network takes one-shot tests of 20 new
letters, and the best weights are kept. The network is small, for 28 pixels. That of the paper, which needs a
GPU, is `--encoder koch --image-size 105`.
"""

from __future__ import annotations

import keras
from example import begin

import fslcore as fsl
from fslcore.data import sequences

example = begin(__doc__, dataset="omniglot", encoder="conv4")
parts = example.parts()
way = example.choose(20, 5)


class OneShotTests(keras.callbacks.Callback):
    """Measures one-shot accuracy at the end of an epoch, for the callbacks behind it."""

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """As for every callback."""
        report = fsl.evaluate(learner, parts["val"], way, 1, 1, episodes=example.choose(550, 10))
        logs["val_one_shot"] = report.accuracy


encoder = fsl.encoders.build(example.options.encoder, parts["train"].image_shape)
learner = fsl.Siamese(encoder, kernel="DenseSigmoid")
learner.compile(keras.optimizers.Adam(example.choose(2e-3, 1e-3)))
pairs = sequences.ClassPairs(
    parts["train"], example.choose(64, 16), batches=example.choose(40, 2), seed=example.options.seed
)
best = example.out / "best.weights.h5"
history = learner.fit(
    pairs.dataset(),
    steps_per_epoch=len(pairs),
    epochs=example.choose(5, 1),
    callbacks=[
        OneShotTests(),
        keras.callbacks.ModelCheckpoint(
            best, monitor="val_one_shot", mode="max", save_best_only=True, save_weights_only=True
        ),
    ],
)
learner.load_weights(best)

# The picture of the article: accuracy against the number of letters to choose from.
ways = example.choose([2, 5, 10, 20, 30, 40, 50, 60], [2, 5])
episodes = example.choose(450, 10)
curves = fsl.accuracy_versus_way(
    {"new letters": learner, "pixels": fsl.PixelNearestNeighbour()}, parts["test"], ways, episodes=episodes
)
of_training = fsl.accuracy_versus_way(
    {"letters of the training": learner}, parts["train"], ways, episodes=episodes
)
example.save(accuracy_versus_way=fsl.plots.accuracy_versus_way({**curves, **of_training}))
example.finish(
    validation=history.history["val_one_shot"],
    accuracy=fsl.evaluate(learner, parts["test"], way, 1, 1, episodes=example.choose(1000, 10)),
)
