# SPDX-License-Identifier: MIT
"""Episodes as a source of tf.data, which draws and gathers in compiled code; `fslcore.data` calls it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.ops._library import raw_ops

Tensor = Any


def episode_dataset(
    store: Tensor,
    rows: Tensor,
    labels: Tensor,
    spec: Any,
    *,
    form: str,
    ways: tuple[int, int],
    least_shot: int,
    parts: tuple[int, ...],
    tasks: int,
    steps: int,
    batch: int,
    rotations: bool,
    gathers: bool,
    seed: int,
    other_seed: int,
    first: int,
    step: int,
    count: int,
) -> tf.data.Dataset:
    """Elements of drawn images, each a pure function of its number; see `csrc/core/episodes/elements.h`.

    The iterator makes elements ahead of their use on TensorFlow's threads. A checkpoint of it holds its
    position alone.

    Args:
        store: Where images are gathered from: uint8 or float32 [M, H, W, C].
        rows: Row of `store` for each label, int64 [N]; [0] if they are the same.
        labels: Class of each image, int64 [N].
        spec: The nested `tf.TensorSpec`s of an element.
        form: "episodes", "batch" or "minibatches".
        ways: Least and largest number of classes of an episode.
        least_shot: Least number of images per class of the first part.
        parts: Images per class of each part of an episode.
        tasks: Episodes of an element; 0: one, without an axis.
        steps: Mini-batches of a task.
        batch: Images of a mini-batch.
        rotations: Count each class four times, by its quarter turns.
        gathers: Deliver images, bytes as floats from 0 to 1. Otherwise int64 rows and quarter turns of each
            table of images.
        seed: Of the episodes.
        other_seed: Of sizes that vary, and of the order in mini-batches.
        first: Number of the first episode.
        step: From the beginning of one element to that of the next, in elements.
        count: Number of elements; -1: without end.

    Raises:
        tf.errors.InvalidArgumentError: The arguments do not fit each other.
    """
    specs = tf.nest.flatten(spec)
    variant = raw_ops.fslcore_episode_dataset(
        store=store,
        rows=rows,
        labels=labels,
        seed=tf.constant(seed, tf.int64),
        other_seed=tf.constant(other_seed, tf.int64),
        first=tf.constant(first, tf.int64),
        step=tf.constant(step, tf.int64),
        count=tf.constant(count, tf.int64),
        form=form,
        least_way=ways[0],
        n_way=ways[1],
        least_shot=least_shot,
        parts=parts,
        tasks=tasks,
        steps=steps,
        batch=batch,
        rotations=rotations,
        gathers=gathers,
        output_types=[each.dtype for each in specs],
        output_shapes=[each.shape for each in specs],
    )
    return tf.data.experimental.from_variant(variant, spec)


tf.no_gradient("FslcoreEpisodeDataset")
