# SPDX-License-Identifier: MIT
"""Learn without labels: unsupervised_cifar10.py and unsupervised_cifar100.py of keras-fsl.

Each image is a class of its own, whose members are its variations: mirrored, turned, shifted, zoomed, in
other colours. The labels are used for the test alone. A pair of two images may well be of one class; the
clipped cross-entropy therefore leaves out pairs that are far from their target. InfoNCE is today's usual
loss.
"""

from __future__ import annotations

import tensorflow as tf
from example import begin

import fslcore as fsl
from fslcore.augmentation import Chain, RandomAffine, RandomColour
from fslcore.data import sequences

example = begin(__doc__, dataset="emoji", image_size=32)
parts = example.parts()
shape = parts["train"].image_shape
views, images = 8, example.choose(8, 4)

variation = Chain(
    [
        RandomAffine(
            rotation=30, shear_x=0.15, zoom=(0.8, 1.2), shift_x=0.15, shift_y=0.15, flip_x=0.5,
            seed=example.options.seed,
        ),
        RandomColour(brightness=0.2, contrast=0.3, seed=example.options.seed),
    ]
)  # fmt: skip


def varied(step: tf.Tensor, batch: tuple[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """`views` variations of each picture, and the number of the picture as their label."""
    (pictures,) = batch
    labels = tf.repeat(tf.range(tf.shape(pictures)[0]), views)
    return variation.vary(tf.repeat(pictures, views, axis=0), step), labels


unlabelled = sequences.Deterministic(
    parts["train"], images, shuffle=True, labels_in_output=False, seed=example.options.seed
)
batches = unlabelled.dataset().enumerate().map(varied)

encoder = fsl.encoders.CifarCNN(shape, normalize=True)
start = encoder.get_weights()
runs = {
    "clipped cross-entropy": ("LearntNorms", "gram", fsl.losses.ClippedBinaryCrossentropy(upper=0.75)),
    "class consistency": ("LearntNorms", "gram", fsl.losses.ClassConsistencyLoss()),
    "InfoNCE": ("cosine", "embeddings", fsl.losses.InfoNCELoss(temperature=0.1)),
}
episodes = example.choose(1000, 10)
protocol = {"n_way": 5, "k_shot": 1, "n_query": 3, "episodes": episodes}
results = {"pixels": fsl.evaluate(fsl.PixelNearestNeighbour(), parts["test"], **protocol)}
for name, (kernel, output, loss) in list(runs.items())[example.choose(slice(None), slice(1, 2))]:
    encoder.set_weights(start)
    learner = fsl.Siamese(encoder, kernel, output=output)
    learner.compile("adam", loss)
    learner.fit(batches, steps_per_epoch=example.choose(60, 2), verbose=2)
    results[name] = fsl.evaluate(fsl.Prototypical(encoder), parts["test"], **protocol)

pictures, _ = next(iter(batches))
grid = tf.reshape(pictures, (images, views, *shape))[:6]
example.save(
    variations=fsl.plots.class_grid(tf.clip_by_value(grid, 0, 1), title="One image, eight variations")
)
example.finish(**results)
