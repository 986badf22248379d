# SPDX-License-Identifier: MIT
"""N-way K-shot episodes as a `tf.data.Dataset`."""

from __future__ import annotations

import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.data.checks import check_count
from fslcore.data.sampling import Source, mapped


def episodes(
    source: Source,
    n_way: int,
    k_shot: int,
    n_query: int,
    n_unlabelled: int,
    tasks: int | None,
    seed: int,
    first: int,
    count: int | None,
    rotations: bool,
) -> tf.data.Dataset:
    """Distinct classes, and for each class sets of images without overlap.

    Args:
        source: Where the images come from.
        n_way: Number of classes of an episode.
        k_shot: Number of support images per class.
        n_query: Number of query images per class; may be 0.
        n_unlabelled: Number of further images per class beside the support, and as many beside the query,
            for semi-supervised learners. They are drawn last, so they do not change support and query.
        tasks: Number of episodes of an element, on a first axis `[tasks, ...]`; None: one, without that axis.
        seed: Seed of the sampler.
        first: Index of the first episode: the i-th is exactly episode `first + i` of this seed.
        count: How many episodes, a multiple of `tasks`; without end if None.
        rotations: Count each class turned by 0, 90, 180 and 270 degrees (counter-clockwise) as four classes.

    Returns:
        A dataset of (support float32 [n_way, k_shot, H, W, C], query float32 [n_way, n_query, H, W, C]),
        values in [0, 1]; with `n_unlabelled`, of (support, query, unlabelled support, unlabelled query), the
        last two [n_way, n_unlabelled, H, W, C]. Row w of each holds the same class.

    Raises:
        ArgumentError: An argument is out of range, there are fewer than `n_way` classes, or a class has fewer
            than `k_shot + n_query + 2 * n_unlabelled` images. Raised here, not when the dataset is iterated.
    """
    check_count("k_shot", k_shot, 1)
    check_count("n_query", n_query, 0)
    check_count("n_unlabelled", n_unlabelled, 0)
    check_count("first", first, 0)
    if tasks is not None:
        check_count("tasks", tasks, 1)
    if count is not None:
        check_count("episodes", count, 1)
        if tasks is not None and count % tasks:
            raise ArgumentError("episodes", f"must be a multiple of tasks = {tasks}", count)
    sizes = [k_shot, n_query, *([n_unlabelled] * 2 if n_unlabelled else [])]
    each = "k_shot + n_query" + (" + 2 * n_unlabelled" if n_unlabelled else "")
    source.check("n_way", n_way, each, sum(sizes), rotations)
    tables = source.tables(n_way, sum(sizes), seed, first, count, rotations)
    if tasks is not None:
        tables = tables.batch(tasks, drop_remainder=True)

    def images(rows: tf.Tensor, turns: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tuple(source.gather(part, turns) for part in tf.split(rows, sizes, axis=-1))

    return mapped(tables, images)
