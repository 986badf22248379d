# SPDX-License-Identifier: MIT
"""Train on pairs of images: same letter or not? The Omniglot notebooks of keras-fsl.

Each image is a query once in an epoch, with a partner of its own class or of another one in turn. The
training ends when the validation loss no longer falls. Box plots show how far the scores of both kinds of
pairs are apart, and a confusion matrix the answers for ten new letters of which five drawings each are known.
"""

from __future__ import annotations

import keras
from example import begin

import fslcore as fsl
from fslcore.data import sequences

example = begin(__doc__, dataset="omniglot")
parts = example.parts()

train = sequences.RandomBalancedPairs(parts["train"], 64, seed=example.options.seed)
val = sequences.RandomBalancedPairs(parts["val"], 64, seed=example.options.seed)
check = sequences.RandomBalancedPairs(parts["test"], 256).batch(0, epoch=0)

ten = parts["test"].take(parts["test"].labels < 10)
known = ten.split(by="image", support=0.25, queries=0.75)

learner = fsl.Siamese(fsl.encoders.conv4(parts["train"].image_shape), kernel="DenseSigmoid")
learner.compile(keras.optimizers.Adam(2e-3), metrics=["binary_accuracy"])
history = learner.fit(
    train.dataset(),
    validation_data=val.dataset(epochs=1, first=0),
    steps_per_epoch=example.choose(40, 2),
    validation_steps=example.choose(10, 1),
    epochs=example.choose(4, 1),
    callbacks=[
        keras.callbacks.ReduceLROnPlateau(patience=1),
        keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True),
        fsl.callbacks.BinaryStatistics({"unseen letters": check}, folder=example.out, every=100),
        fsl.callbacks.ConfusionMatrix(known["queries"], known["support"], folder=example.out, every=100),
    ],
)

example.finish(
    pairs_of_validation=max(history.history["val_binary_accuracy"]),
    accuracy=fsl.evaluate(learner, parts["test"], n_way=5, k_shot=1, episodes=example.choose(1000, 20)),
)
