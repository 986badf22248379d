# SPDX-License-Identifier: MIT
"""N-way K-shot episodes as a `tf.data.Dataset`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from fslcore import random
from fslcore.arguments import ArgumentError
from fslcore.data.checks import check_count, checked_bounds
from fslcore.data.sampling import Plan, Source

if TYPE_CHECKING:
    from fslcore.augmentation import Augmentation


def episodes(
    source: Source,
    n_way: int | tuple[int, int],
    k_shot: int | tuple[int, int],
    n_query: int,
    n_unlabelled: int,
    tasks: int | None,
    seed: int,
    first: int,
    step: int,
    count: int | None,
    rotations: bool,
    augment: Augmentation | None = None,
) -> tf.data.Dataset:
    """Distinct classes, and for each class sets of images without overlap.

    Args:
        source: Where the images come from.
        n_way: Number of classes of an episode; or a pair (least, largest) between which it varies from
            episode to episode, uniformly.
        k_shot: Number of support images per class; or such a pair. All classes of an episode have the same.
        n_query: Number of query images per class; may be 0.
        n_unlabelled: Number of further images per class beside the support, and as many beside the query,
            for semi-supervised learners. They are drawn last, so they do not change support and query.
        tasks: Number of episodes of an element, on a first axis `[tasks, ...]`; None: one, without that axis.
        seed: Seed of the sampler.
        first: Index of the first episode: the i-th is exactly episode `first + i` of this seed.
        step: Element i begins with episode `first + i * step`, or `first + i * step * tasks`. Of n workers,
            number w takes `first = w` (with tasks `w * tasks`) and `step = n`: together they draw each
            element once.
        count: How many episodes, a multiple of `tasks`; without end if None.
        rotations: Count each class turned by 0, 90, 180 and 270 degrees (counter-clockwise) as four classes.
        augment: A layer of `fslcore.augmentation` that varies the images, or None. An element is a function
            of its seed and the index, so that a training can go on exactly.

    Returns:
        A dataset of (support float32 [n_way, k_shot, H, W, C], query float32 [n_way, n_query, H, W, C]),
        values in [0, 1]; with `n_unlabelled`, of (support, query, unlabelled support, unlabelled query), the
        last two [n_way, n_unlabelled, H, W, C]. Row w of each holds the same class. Where a number varies,
        the dataset says None for that axis, so that a function of its elements is traced once. The way and
        the shot of an episode are a function of the seed and its index, too, and its queries do not depend
        on its shot.

    Raises:
        ArgumentError: An argument is out of range, there are fewer than `n_way` classes, or a class has fewer
            than `k_shot + n_query + 2 * n_unlabelled` images, for the largest of them; or `tasks` is given
            and a number varies. Raised here, not when the dataset is iterated.
    """
    ways, shots = checked_bounds("n_way", n_way, 1), checked_bounds("k_shot", k_shot, 1)
    varies = ways[0] < ways[1] or shots[0] < shots[1]
    check_count("n_query", n_query, 0)
    check_count("n_unlabelled", n_unlabelled, 0)
    check_count("first", first, 0)
    check_count("seed", seed, 0)
    if tasks is not None:
        check_count("tasks", tasks, 1)
        if varies:
            raise ArgumentError("tasks", "must be None for episodes whose n_way or k_shot varies", tasks)
    if count is not None:
        check_count("episodes", count, 1)
        if tasks is not None and count % tasks:
            raise ArgumentError("episodes", f"must be a multiple of tasks = {tasks}", count)
    sizes = [shots[1], n_query, *([n_unlabelled] * 2 if n_unlabelled else [])]
    each = "k_shot + n_query" + (" + 2 * n_unlabelled" if n_unlabelled else "")
    source.check("n_way", ways[1], each, sum(sizes), rotations)
    plan = Plan(
        "episodes",
        ways,
        tuple(int(size) for size in sizes),
        shots[0],
        tasks,
        other_seed=random.key("sizes", seed) if varies else 0,
    )
    elements = count if tasks is None or count is None else count // tasks
    return source.elements(plan, seed, first, step, elements, rotations, augment)
