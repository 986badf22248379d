# SPDX-License-Identifier: MIT
"""Randomness: every draw of a run derives from one seed, through named streams.

    stream          generator            key           draw i
    weights         Keras' global one    seed          initial weights, and layers such as Dropout
    batches         episode sampler      seed          training episode or batch i
    validation      episode sampler      seed          episode i of the validation classes
    test            episode sampler      seed          episode i of the test classes
    order           episode sampler      seed + 2^62   order of the images in the inner steps of task i
    sizes           episode sampler      seed + 2^62   way and shot of training episode i, where they vary
    noise           stateless_normal     seed          noise of the evaluated episode i, and of `generate`
    training noise  stateless_normal     seed + 2^62   noise of training task i
    augmentation    stateless_uniform    seed          how the images of training batch i are varied
    warps           Philox of the core   seed          affine transforms of the images of step i
    variation       stateless_uniform    of the seed   other variations of the images of step i
    pairs           NumPy's Philox       seed          pairs, tasks or order of epoch i of a sequence

The generators but Keras' are counter-based: the episode sampler of the core (Philox4x32-10), TensorFlow's
`stateless_normal` and `stateless_uniform`, and the raw stream of NumPy's Philox4x64-10. Their draw i is a
function of (key, i) alone, so any draw can be repeated or resumed, on any worker. The key of a stream is the
seed plus an offset, which no user's seed reaches.

Streams with the same generator and key share their random numbers. None of these pairs harms a figure:

- batches, validation and test: episode i takes the same positions in lists of other classes. The parts of a
  split share no class, so training has seen no image of a test episode.
- order, in training and in evaluation: task i and episode i are shuffled alike, but hold other images.
- variation: its keys are hashes of the seed, the step and what is varied.
- warps, and episodes: their streams have numbers of their own, from 2^31 on.
- order and sizes: learners with inner steps train on tasks of one size.
- noise of episode 0 and of `generate`: the pictures show what that episode was given.

Not derived from the seed of a run: the split of a dataset (NumPy's Philox, key 0 unless `split` is given a
seed) and the drawing of `glyphs` and `symbols` (NumPy's Philox, one key per sign). They stay the same from
run to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fslcore.arguments import ArgumentError, as_int64

if TYPE_CHECKING:
    import tensorflow as tf

_SEEDS = 1 << 62

Stream = Literal[
    "weights",
    "batches",
    "validation",
    "test",
    "order",
    "sizes",
    "noise",
    "training noise",
    "augmentation",
    "warps",
    "variation",
    "pairs",
]

_OFFSETS: dict[Stream, int] = {
    "weights": 0,
    "batches": 0,
    "validation": 0,
    "test": 0,
    "order": _SEEDS,
    "sizes": _SEEDS,
    "noise": 0,
    "training noise": _SEEDS,
    "augmentation": 0,
    "warps": 0,
    "variation": 0,
    "pairs": 0,
}


def key(stream: Stream, seed: int) -> int:
    """The key of a stream: what its generator takes as a seed.

    Args:
        stream: Name of the stream; see the table above.
        seed: Seed of the run, from 0 to 2^62 - 1.

    Returns:
        A number of 63 bits.

    Raises:
        ArgumentError: The seed is no whole number, or out of range.

    Example:
        >>> key("test", 7), key("order", 7) - 2**62
        (7, 7)
    """
    number = as_int64("seed", seed)
    if not 0 <= number < _SEEDS:
        raise ArgumentError("seed", "must be at least 0 and below 2^62", seed)
    return number + _OFFSETS[stream]


def minibatch_order(
    n_images: int, steps: int, batch: int, *, seed: int, first: Any = 0, count: Any = 1
) -> tf.Tensor:
    """Mini-batches of shuffled images, as numbers of images.

    Args:
        n_images: Number of images to shuffle.
        steps: Number of mini-batches.
        batch: Images of a mini-batch.
        seed: Seed; the numbers come from its stream "order".
        first: Index of the first row; may be a tensor. Row i is a function of the seed and `first + i`.
        count: Number of rows; may be a tensor.

    Returns:
        int32 [count, steps, batch]: in each row the numbers 0 to n_images - 1 in random order, followed by
        the same numbers in another order until the mini-batches are full.
    """
    import tensorflow as tf

    from fslcore import ops

    if tf.is_tensor(count):
        rows = tf.cast(first, tf.int64) + tf.range(tf.cast(count, tf.int64))
        return tf.map_fn(
            lambda row: minibatch_order(n_images, steps, batch, seed=seed, first=row)[0],
            rows,
            fn_output_signature=tf.TensorSpec([steps, batch], tf.int32),
        )
    passes = -(-steps * batch // n_images)
    orders = ops.permutations(n_images, count * passes, key("order", seed), first * passes)
    rows = tf.reshape(orders, [count, passes * n_images])[:, : steps * batch]
    return tf.reshape(rows, [count, steps, batch])


def episode_seeds(seed: int, first: int, count: Any) -> tf.Tensor:
    """Seeds of `tf.random.stateless_normal`, one for each of the episodes first, first + 1, ...

    Args:
        seed: Key of the stream, such as `key("noise", seed)`.
        first: Index of the first episode.
        count: Number of episodes; may be a tensor.

    Returns:
        int64 [count, 2]: the key and the index of the episode.
    """
    import tensorflow as tf

    episodes = tf.cast(first, tf.int64) + tf.range(tf.cast(count, tf.int64))
    return tf.stack([tf.fill([count], tf.cast(seed, tf.int64)), episodes], axis=1)
