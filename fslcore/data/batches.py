# SPDX-License-Identifier: MIT
"""Training batches as `tf.data.Dataset`s: P classes x K images, and the mini-batches of inner loops."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import tensorflow as tf

from fslcore import random
from fslcore.data.checks import check_count
from fslcore.data.sampling import Plan, Source

if TYPE_CHECKING:
    from fslcore.augmentation import Augmentation


def pk_batches(
    source: Source,
    classes: int,
    samples: int,
    seed: int,
    first: int,
    step: int,
    count: int | None,
    rotations: bool,
    augment: Augmentation | None = None,
) -> tf.data.Dataset:
    """Batches of P classes with K images each, for losses over all pairs or triplets of a batch.

    Args:
        source: Where the images come from.
        classes: P, the number of distinct classes of a batch.
        samples: K, the number of distinct images per class.
        seed: Seed of the sampler.
        first: Index of the first batch: element i is exactly batch `first + i * step` of this seed.
        step: From one batch to the next; of n workers, number w takes `first = w` and `step = n`.
        count: How many batches; without end if None.
        rotations: Count each class turned by 0, 90, 180 and 270 degrees (counter-clockwise) as four classes.
        augment: A layer of `fslcore.augmentation` that varies the images, or None. An element is a function
            of its seed and the index, so that a training can go on exactly.

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
    plan = Plan("batch", (classes, classes), (samples,), samples)
    return source.elements(plan, seed, first, step, count, rotations, augment)


def minibatches(
    source: Source,
    n_way: int,
    k_shot: int,
    tasks: int,
    steps: int,
    batch: int,
    seed: int,
    first: int,
    step: int,
    rotations: bool,
    augment: Augmentation | None = None,
) -> tf.data.Dataset:
    """Tasks cut into the mini-batches of an inner loop, as Reptile trains on them; without end.

    Element i holds the episodes from `(first + i * step) * tasks` on. The `n_way * k_shot` images of an
    episode are shuffled and dealt out in batches. When they run out, they are shuffled again, and so on.

    Args:
        source: Where the images come from.
        n_way: Number of classes of a task.
        k_shot: Number of images per class of a task.
        tasks: Number of tasks of an element.
        steps: Number of mini-batches of a task.
        batch: Images of a mini-batch.
        seed: Seed of the sampler and of the order.
        first: Index of the first element.
        step: From one element to the next; of n workers, number w takes `first = w` and `step = n`.
        rotations: Count each class turned by 0, 90, 180 and 270 degrees (counter-clockwise) as four classes.
        augment: A layer of `fslcore.augmentation` that varies the images, or None. An element is a function
            of its seed and the index, so that a training can go on exactly.

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
    check_count("seed", seed, 0)
    source.check("n_way", n_way, "k_shot", k_shot, rotations)
    order = random.key("order", seed)
    plan = Plan("minibatches", (n_way, n_way), (k_shot,), k_shot, tasks, steps, batch, order)
    return source.elements(plan, seed, first * tasks, step, None, rotations, augment)
