# SPDX-License-Identifier: MIT
"""Reptile on Omniglot: the example of the Keras documentation.

1,000 steps towards the weights of one task each, of five letters with 20 drawings; the original takes 2,000.
It measures five images per step; here 1,000 tasks of new letters are measured at the end. Its gradients are
sums, its batch normalisation is idle, and its tasks repeat images; the preset corrects these.
"""

from __future__ import annotations

import keras
from example import begin

import fslcore as fsl
from fslcore.presets import REPTILE_PRESETS

example = begin(__doc__, dataset="omniglot")
parts = example.parts()
seed = example.options.seed

learner = fsl.Reptile.from_preset("keras-example", parts["train"].image_shape)
preset = REPTILE_PRESETS["keras-example"]
steps = example.choose(1000, 10)
falling = keras.optimizers.schedules.PolynomialDecay(preset.meta_step, steps, end_learning_rate=0.0)
held_out = parts["val"].episodes(n_way=5, k_shot=5, n_query=5, tasks=40).take(1)
learner.compile(keras.optimizers.SGD(falling), steps_per_execution=10)
history = learner.fit(
    learner.tasks(parts["train"], preset.train_shots, seed=seed),
    validation_data=example.choose(held_out, None),
    steps_per_epoch=max(10, steps // 20),
    epochs=example.choose(20, 1),
)
rows = [
    {"epoch": epoch + 1, **{name: values[epoch] for name, values in history.history.items()}}
    for epoch in history.epoch
]

# A task: the learner is shown five drawings of five new letters, and adapts in five steps.
support, query = next(
    iter(parts["test"].episodes(n_way=5, k_shot=5, n_query=example.choose(6, 1), episodes=1, seed=seed))
)
classifier = learner.adapt(support)
scores = classifier.predict(keras.ops.reshape(query, (-1, *parts["test"].image_shape)), verbose=0)
letters = parts["train"].gather([[20 * letter + drawing for drawing in range(5)] for letter in range(5)])
example.save(
    letters=fsl.plots.class_grid(letters, title="Five letters of the training"),
    curve=fsl.plots.training_curve(rows, "Reptile"),
    task=fsl.plots.episode_with_predictions(support, query, scores),
)
episodes = example.choose(1000, 4)
example.finish(accuracy=fsl.evaluate(learner, parts["test"], n_way=5, k_shot=5, episodes=episodes, seed=seed))
