# SPDX-License-Identifier: MIT
"""Episodes and batches of a store as `tf.data.Dataset`s.

    counter ──────> sample_episodes ──> unbatch ──> gather_images ──> prefetch
    first, +64, ...   64 index tables   one table   float32 images

An episode is a pure function of (labels, seed, episode index), so any run can be resumed at any episode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from fslcore import ops

if TYPE_CHECKING:
    from fslcore.data.store import ImageStore

# Index tables drawn per call of the sampler, which must sort the labels into classes each time (4N of them
# with rotations): with 64 that cost is spread thin, and 64 tables of 5 x 20 indices are only 26 kB.
_CHUNK = 64
_PREFETCHED = 4  # batches: two would do for steps of a steady length
# Added to the seed of the episodes for the order within them: no user's seed is as large.
_ORDER_STREAM = 1 << 62


def episodes(
    store: ImageStore,
    n_way: int,
    k_shot: int,
    n_query: int,
    *,
    n_unlabelled: int = 0,
    tasks: int | None = None,
    seed: int = 0,
    first_episode: int = 0,
    episodes: int | None = None,
    rotations: bool = False,
) -> tf.data.Dataset:
    """N-way K-shot episodes: distinct classes, and in each class sets of images without overlap.

    Args:
        store: Where the images come from.
        n_way: Number of classes of an episode.
        k_shot: Number of support images per class.
        n_query: Number of query images per class; may be 0.
        n_unlabelled: Number of further images per class beside the support, and as many beside the query, as
            semi-supervised learners want them. They are drawn last: support and query are the same without.
        tasks: Number of episodes of an element, on a first axis `[tasks, ...]`; None: one, without that axis.
        seed: Seed of the sampler.
        first_episode: Index of the first episode: the i-th is exactly episode `first_episode + i` of this
            seed.
        episodes: How many, a multiple of `tasks`; without end if None.
        rotations: Count each class turned by 0, 90, 180 and 270 degrees (counter-clockwise) as four classes.

    Returns:
        A dataset of (support float32 [n_way, k_shot, H, W, C], query float32 [n_way, n_query, H, W, C]),
        values in [0, 1]; with `n_unlabelled`, of (support, query, unlabelled support, unlabelled query), the
        last two [n_way, n_unlabelled, H, W, C]. Row w of each holds the same class.

    Raises:
        ValueError: an argument is out of range, there are fewer than `n_way` classes, or a class has fewer
            than `k_shot + n_query + 2 * n_unlabelled` images. Raised here, not when the dataset is iterated.
    """
    _check_count("k_shot", k_shot, 1)
    _check_count("n_query", n_query, 0)
    _check_count("n_unlabelled", n_unlabelled, 0)
    _check_count("first_episode", first_episode, 0)
    if tasks is not None:
        _check_count("tasks", tasks, 1)
    if episodes is not None:
        _check_count("episodes", episodes, 1)
        if tasks is not None and episodes % tasks:
            raise ValueError(f"episodes must be a multiple of tasks = {tasks}, received episodes={episodes}")
    sizes = [k_shot, n_query, *([n_unlabelled] * 2 if n_unlabelled else [])]
    each = "k_shot + n_query" + (" + 2 * n_unlabelled" if n_unlabelled else "")
    _check_store(store, "n_way", n_way, each, sum(sizes), rotations)
    plans = _plans(store, n_way, k_shot, sum(sizes[1:]), seed, first_episode, episodes, rotations)
    if tasks is not None:
        plans = plans.batch(tasks, drop_remainder=True)

    def images(rows: tf.Tensor, turns: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tuple(_gather(store, part, turns) for part in tf.split(rows, sizes, axis=-1))

    return _mapped(plans, images)


def pk_batches(
    store: ImageStore,
    classes: int,
    samples: int,
    *,
    seed: int = 0,
    first_batch: int = 0,
    batches: int | None = None,
    rotations: bool = False,
) -> tf.data.Dataset:
    """Batches of P classes with K images each, as losses over all pairs or triplets of a batch want them.

    Args:
        store: Where the images come from.
        classes: P, the number of distinct classes of a batch.
        samples: K, the number of distinct images per class.
        seed: Seed of the sampler.
        first_batch: Index of the first batch: element i is exactly batch `first_batch + i` of this seed.
        batches: How many; without end if None.
        rotations: Count each class turned by 0, 90, 180 and 270 degrees (counter-clockwise) as four classes.

    Returns:
        A dataset of (images float32 [P * K, H, W, C] in [0, 1], labels int32 [P * K]), the K images of a
        class in a row. A label is the class index of the store; with rotations, class index + n_classes *
        quarter turns.

    Raises:
        ValueError: an argument is out of range, there are fewer than `classes` classes, or a class has
            fewer than `samples` images. Raised here, not when the dataset is iterated.
    """
    _check_count("samples", samples, 1)
    _check_count("first_batch", first_batch, 0)
    if batches is not None:
        _check_count("batches", batches, 1)
    _check_store(store, "classes", classes, "samples", samples, rotations)
    plans = _plans(store, classes, samples, 0, seed, first_batch, batches, rotations)
    class_of_row = _constant(store.labels)

    def images_and_labels(rows: tf.Tensor, turns: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = _gather(store, rows, turns)
        labels = tf.gather(class_of_row, rows[:, 0]) + store.n_classes * tf.cast(turns, tf.int32)
        return tf.reshape(images, [classes * samples, *store.image_shape]), tf.repeat(labels, samples)

    return _mapped(plans, images_and_labels)


def minibatches(
    store: ImageStore,
    n_way: int,
    k_shot: int,
    *,
    tasks: int,
    steps: int,
    batch: int,
    seed: int = 0,
    first: int = 0,
    rotations: bool = False,
) -> tf.data.Dataset:
    """Tasks cut into the mini-batches of an inner loop, as Reptile trains on them; without end.

    Element i holds the episodes `(first + i) * tasks` and following of the seed. The `n_way * k_shot` images
    of an episode are shuffled and dealt out in batches, shuffled again when they run out, and so on.

    Args:
        store: Where the images come from.
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
        ValueError: an argument is out of range, there are fewer than `n_way` classes, or a class has fewer
            than `k_shot` images. Raised here, not when the dataset is iterated.
    """
    for argument, value in (("k_shot", k_shot), ("tasks", tasks), ("steps", steps), ("batch", batch)):
        _check_count(argument, value, 1)
    _check_count("first", first, 0)
    _check_store(store, "n_way", n_way, "k_shot", k_shot, rotations)
    plans = _plans(store, n_way, k_shot, 0, seed, first * tasks, None, rotations).batch(tasks, True)
    orders = tf.data.Dataset.counter(first, 1).map(
        _unconverted(
            lambda i: minibatch_order(
                n_way * k_shot, steps, batch, seed=seed, first=tf.cast(i, tf.int64) * tasks, count=tasks
            )
        )
    )

    def images_and_labels(plan: Any, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows, turns = plan
        flat = tf.reshape(order, [tasks, steps * batch])
        labels = flat // k_shot
        chosen = tf.gather(tf.reshape(rows, [tasks, n_way * k_shot]), flat, batch_dims=1)
        images = ops.gather_images(
            store.image_tensor, chosen, rotations=tf.gather(turns, labels, batch_dims=1)
        )
        shape = [tasks, steps, batch]
        return tf.reshape(images, [*shape, *store.image_shape]), tf.reshape(labels, shape)

    return _mapped(tf.data.Dataset.zip(plans, orders), images_and_labels)


def minibatch_order(
    n_images: int, steps: int, batch: int, *, seed: int, first: Any = 0, count: int = 1
) -> tf.Tensor:
    """Mini-batches of shuffled images, as numbers of images.

    Args:
        n_images: Number of images to shuffle.
        steps: Number of mini-batches.
        batch: Images of a mini-batch.
        seed: Seed of the shuffle.
        first: Index of the first row: row i is a function of the seed and `first + i` alone.
        count: Number of rows.

    Returns:
        int32 [count, steps, batch]: in each row the numbers 0 to n_images - 1 in random order, followed by
        the same in another order until the mini-batches are full.
    """
    passes = -(-steps * batch // n_images)
    # Drawing all members of a single class is drawing a permutation. The stream is not that of the episodes.
    permutations = ops.sample_episodes(
        tf.zeros([n_images], tf.int32),
        1,
        n_images,
        0,
        count * passes,
        seed + _ORDER_STREAM,
        first_episode=first * passes,
    )
    order = tf.reshape(permutations, [count, passes * n_images])[:, : steps * batch]
    return tf.reshape(order, [count, steps, batch])


def _plans(
    store: ImageStore,
    n_way: int,
    k_shot: int,
    n_query: int,
    seed: int,
    first: int,
    count: int | None,
    rotations: bool,
) -> tf.data.Dataset:
    """What to gather for the episodes first, first + 1, ...

    Elements are (rows int64 [n_way, k_shot + n_query], quarter turns int64 [n_way]). With rotations the
    sampler sees 4N virtual images, of which image v is row v % N after v // N quarter turns.
    """
    _check_count("seed", seed, 0)
    turned = [store.labels + np.int64(turn * store.n_classes) for turn in range(4 if rotations else 1)]
    labels = _constant(np.concatenate(turned))

    def chunk(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        drawn = ops.sample_episodes(labels, n_way, k_shot, n_query, _CHUNK, seed, first_episode=start)
        drawn = tf.ensure_shape(tf.cast(drawn, tf.int64), [_CHUNK, n_way, k_shot + n_query])
        return drawn % len(store), drawn[:, :, 0] // len(store)

    # Chunks are counted from `first`, not from 0: any other beginning would need a part of a chunk.
    plans = tf.data.Dataset.counter(first, _CHUNK).map(_unconverted(chunk)).unbatch()
    return plans if count is None else plans.take(count)


def _gather(store: ImageStore, rows: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Images float32 [..., n_way, m, H, W, C] of rows [..., n_way, m], turned by turns [..., n_way]."""
    images = ops.gather_images(store.image_tensor, rows, rotations=turns)
    return tf.ensure_shape(images, [*rows.shape, *store.image_shape])


def _mapped(plans: tf.data.Dataset, function: Any) -> tf.data.Dataset:
    mapped = plans.map(_unconverted(function), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return untuned(mapped.prefetch(_PREFETCHED))


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset without the autotuner of tf.data; what is AUTOTUNE in it then takes all threads.

    The autotuner sleeps for intervals that double up to a minute, and `fit` cannot end before it wakes: it
    takes up to twice as long as its steps.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _unconverted(function: Any) -> Any:
    """The function as it is: AutoGraph finds nothing to convert in it, and takes long to find that out."""
    return tf.autograph.experimental.do_not_convert(function)


def _constant(values: Any) -> tf.Tensor:
    with tf.init_scope(), tf.device("CPU:0"):
        return tf.constant(values)


def _check_count(argument: str, value: Any, least: int) -> None:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{argument} must be an integer of {least} or more, received {argument}={value!r}")


def _check_store(store: ImageStore, way: str, n_way: int, each: str, images: int, rotations: bool) -> None:
    _check_count(way, n_way, 1)
    n_classes = store.n_classes * (4 if rotations else 1)
    if n_way > n_classes:
        raise ValueError(
            f"{way} must be at most {n_classes}, the number of classes of {store!r}"
            + (" in 4 rotations" if rotations else "")
            + f", received {way}={n_way}"
        )
    small = np.flatnonzero(store.images_per_class < images)
    if small.size:
        smallest = small[np.argmin(store.images_per_class[small])]
        raise ValueError(
            f"{each} must be at most the number of images of each class, received {each} = {images}: "
            f"class {store.class_names[smallest]!r} of {store!r} has {store.images_per_class[smallest]}; "
            f"{small.size} of {store.n_classes} classes have too few. "
            f"Leave them out with .with_min_images({images})"
        )
    height, width, _ = store.image_shape
    if rotations and height != width:
        raise ValueError(f"rotations must be False for images that are not square, received {height}x{width}")
