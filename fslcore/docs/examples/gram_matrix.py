# SPDX-License-Identifier: MIT
"""From a table of pictures to a learnt similarity: batch_gram_matrix_training.py of keras-fsl.

A DataFrame names pictures and labels; whole labels go to training, validation and test. Batches have some
pictures of some labels. A network that has seen ImageNet is frozen at first and then thawed; a mixture of
four norms compares all pairs of a batch, and the loss compares the mean scores of the classes with 1 and 0.
"""

from __future__ import annotations

import keras
import tensorflow as tf
from example import begin

import fslcore as fsl
from fslcore.data import frames
from fslcore.experiments import Phase, fit_in_phases

example = begin(__doc__, dataset="emoji", image_size=32, network="efficientnet-lite0")
size, seed = example.options.image_size, example.options.seed
frame = example.frame()  # or pd.read_csv("your_own.csv") with the columns filename and label
frame = frame.groupby("label").filter(lambda rows: len(rows) >= 4)
frame = frame.pipe(frames.RandomAssignment("label", seed=seed))
parts = {part: rows for part, rows in frame.groupby("random_split")}
test = fsl.data.load(parts["test"][["filename", "label"]], image_size=size)
k_shot, n_way = 4, example.choose(16, 4)


def varied(picture: tf.Tensor) -> tf.Tensor:
    """The picture, or its mirror image, a little darker or brighter."""
    return tf.image.random_brightness(tf.image.random_flip_left_right(picture), 0.2)


def batches(part: str, preprocessing: object = None) -> tf.data.Dataset:
    """`n_way` labels with `k_shot` pictures each, in passes without end."""
    channels = test.image_shape[2]
    to_dataset = frames.ToKShotDataset(k_shot, preprocessing, image_size=size, channels=channels, seed=seed)
    return parts[part].pipe(to_dataset).repeat().batch(k_shot * n_way)


network = fsl.encoders.build(example.options.network, test.image_shape)
norms = fsl.layers.MixedNorms(["unit_product", "absolute", "softmax", "squared"])
model = keras.Sequential([network, fsl.layers.GramMatrix(norms)])
phases = [Phase("frozen", 2, 1e-3), Phase("top=20%", 1, 1e-4), Phase("all", 1, 5e-5)]
history = fit_in_phases(
    model,
    example.choose(phases, [Phase("all", 1, 1e-3)]),
    batches("train", varied),
    network=network,
    folder=example.out / "training",
    validation_data=batches("val"),
    validation_steps=example.choose(4, 1),
    steps_per_epoch=example.choose(15, 2),
    compile_options={
        "loss": fsl.losses.ClassConsistencyLoss(),
        "metrics": [fsl.metrics.classification_accuracy(), fsl.metrics.MinEigenvalue()],
    },
)

learner = fsl.Siamese(network, kernel=model.layers[-1])
example.finish(
    epochs=[{name: round(value, 4) for name, value in row.items()} for row in history],
    accuracy=fsl.evaluate(learner, test, n_way=5, k_shot=1, n_query=3, episodes=example.choose(1000, 10)),
)
