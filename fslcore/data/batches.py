# SPDX-License-Identifier: MIT
"""Training batches as `tf.data.Dataset`s: P classes x K images, and the mini-batches of inner loops."""

from __future__ import annotations

import warnings
from typing import Any

import tensorflow as tf

from fslcore import random
from fslcore.data.checks import check_count
from fslcore.data.pixels import constant, unconverted
from fslcore.data.sampling import Source, mapped


def pk_batches(
    source: Source,
    classes: int,
    samples: int,
    seed: int,
    first: int,
    count: int | None,
    rotations: bool,
) -> tf.data.Dataset:
    """Batches of P classes with K images each, for losses over all pairs or triplets of a batch.

    Args:
        source: Where the images come from.
        classes: P, the number of distinct classes of a batch.
        samples: K, the number of distinct images per class.
        seed: Seed of the sampler.
        first: Index of the first batch: element i is exactly batch `first + i` of this seed.
        count: How many batches; without end if None.
        rotations: Count each class turned by 0, 90, 180 and 270 degrees (counter-clockwise) as four classes.

    Returns:
        A dataset of (images float32 [P * K, H, W, C] in [0, 1], labels int32 [P * K]), the K images of a
        class in a row. A label is the class index of the source; with rotations, class index + n_classes *
        quarter turns.

    Raises:
        ArgumentError: An argument is out of range, there are fewer than `classes` classes, or a class has
            fewer than `samples` images. Raised here, not when the dataset is iterated.

    Warns:
        UserWarning: `classes` or `samples` is 1, and all images of a batch are of one class or of different
            ones.
    """
    check_count("samples", samples, 1)
    check_count("first", first, 0)
    if count is not None:
        check_count("batches", count, 1)
    source.check("classes", classes, "samples", samples, rotations)
    for argument, value in (("classes", classes), ("samples", samples)):
        if value == 1:
            warnings.warn(
                f"{argument}=1: no image has both another of its class and one of another class beside it, "
                "so that losses over pairs or triplets of a batch can teach nothing",
                stacklevel=3,
            )
    tables = source.tables(classes, samples, seed, first, count, rotations)
    class_of_row, n_classes = constant(source.labels), len(source.class_names)

    def images_and_labels(rows: tf.Tensor, turns: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = source.gather(rows, turns)
        labels = tf.gather(class_of_row, rows[:, 0]) + n_classes * tf.cast(turns, tf.int32)
        return tf.reshape(images, [classes * samples, *source.image_shape]), tf.repeat(labels, samples)

    return mapped(tables, images_and_labels)


def minibatches(
    source: Source,
    n_way: int,
    k_shot: int,
    tasks: int,
    steps: int,
    batch: int,
    seed: int,
    first: int,
    rotations: bool,
) -> tf.data.Dataset:
    """Tasks cut into the mini-batches of an inner loop, as Reptile trains on them; without end.

    Element i holds the episodes from `(first + i) * tasks` on. The `n_way * k_shot` images of an episode are
    shuffled and dealt out in batches. When they run out, they are shuffled again, and so on.

    Args:
        source: Where the images come from.
        n_way: Number of classes of a task.
        k_shot: Number of images per class of a task.
        tasks: Number of tasks of an element.
        steps: Number of mini-batches of a task.
        batch: Images of a mini-batch.
        seed: Seed of the sampler and of the order.
        first: Index of the first element.
        rotations: Count each class turned by 0, 90, 180 and 270 degrees (counter-clockwise) as four classes.

    Returns:
        A dataset of (images float32 [tasks, steps, batch, H, W, C] in [0, 1], labels int32 [tasks, steps,
        batch], 0 to n_way - 1).

    Raises:
        ArgumentError: An argument is out of range, there are fewer than `n_way` classes, or a class has fewer
            than `k_shot` images. Raised here, not when the dataset is iterated.
    """
    for argument, value in (("k_shot", k_shot), ("tasks", tasks), ("steps", steps), ("batch", batch)):
        check_count(argument, value, 1)
    check_count("first", first, 0)
    source.check("n_way", n_way, "k_shot", k_shot, rotations)
    tables = source.tables(n_way, k_shot, seed, first * tasks, None, rotations).batch(tasks, True)

    def order_of(element: tf.Tensor) -> tf.Tensor:
        start = tf.cast(element, tf.int64) * tasks
        return random.minibatch_order(n_way * k_shot, steps, batch, seed=seed, first=start, count=tasks)

    orders = tf.data.Dataset.counter(first, 1).map(unconverted(order_of))

    def images_and_labels(table: Any, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows, turns = table
        flat = tf.reshape(order, [tasks, steps * batch])
        labels = flat // k_shot
        chosen = tf.gather(tf.reshape(rows, [tasks, n_way * k_shot]), flat, batch_dims=1)
        images = source.gather(chosen, tf.gather(turns, labels, batch_dims=1))
        shape = [tasks, steps, batch]
        return tf.reshape(images, [*shape, *source.image_shape]), tf.reshape(labels, shape)

    return mapped(tf.data.Dataset.zip(tables, orders), images_and_labels)
