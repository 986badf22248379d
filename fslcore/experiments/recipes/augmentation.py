# SPDX-License-Identifier: MIT
"""Variation of training images: a function of a seed and a step, so that a run can go on exactly.

The images of a batch are varied each in its own way: a part is cut out and enlarged, turned, mirrored, and
its colours are changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fslcore.arguments import ArgumentError

if TYPE_CHECKING:
    import tensorflow as tf

KINDS = ("flip", "crop", "turn", "colour")
_NONE = "none"

_BRIGHTNESS, _CONTRAST, _SATURATION = 0.15, 0.3, 0.3


def parsed(text: str) -> tuple[str, ...]:
    """The kinds of variation in a text such as "flip,crop"; none for "none".

    Raises:
        ArgumentError: one is not known, or it stands there twice.
    """
    kinds = tuple(kind.strip() for kind in text.split(","))
    if kinds == (_NONE,):
        return ()
    if not set(kinds) <= set(KINDS) or len(set(kinds)) < len(kinds):
        raise ArgumentError("augment", f"must be {_NONE}, or one or more of {', '.join(KINDS)}", text)
    return kinds


def varied(batches: tf.data.Dataset, kinds: tuple[str, ...], seed: int, first: int) -> tf.data.Dataset:
    """Batches whose images are varied.

    Args:
        batches: a dataset of tuples of tensors; those of rank 4 and more are images [..., H, W, C] of 0..1.
        kinds: what to vary, of `KINDS`.
        seed: key of the stream "augmentation".
        first: number of the first batch.
    """
    import tensorflow as tf

    from fslcore.data.sampling import mapped

    def one(number: tf.Tensor, batch: Any) -> Any:
        parts = batch if isinstance(batch, tuple) else (batch,)
        done = []
        for i, part in enumerate(parts):
            if part.shape.rank is not None and part.shape.rank >= 4:
                key = tf.stack([tf.constant(seed, tf.int64), number * len(parts) + i])
                part = varied_images(part, kinds, key)
            done.append(part)
        return tuple(done) if isinstance(batch, tuple) else done[0]

    return mapped(batches.enumerate(first), one)


def varied_images(images: tf.Tensor, kinds: tuple[str, ...], key: tf.Tensor) -> tf.Tensor:
    """Images [..., H, W, C] of 0..1, each varied in its own way; their shape stays.

    Args:
        images: float32.
        kinds: of `KINDS`.
        key: int64 [2], the seed of `tf.random.stateless_uniform`.
    """
    import tensorflow as tf

    shape = tf.shape(images)
    flat = tf.reshape(images, tf.concat([[-1], shape[-3:]], 0))
    draws = tf.random.stateless_uniform([tf.shape(flat)[0], 10], key)  # of 0..1, a row for each image
    if {"flip", "crop", "turn"} & set(kinds):
        flat = _moved(flat, kinds, draws)
    if "colour" in kinds:
        flat = _coloured(flat, draws[:, 6:])
    return tf.ensure_shape(tf.reshape(flat, shape), images.shape)


def _moved(images: tf.Tensor, kinds: tuple[str, ...], draws: tf.Tensor) -> tf.Tensor:
    """Cut out, turned and mirrored in one pass, bilinear; outside of an image its border goes on."""
    import tensorflow as tf

    from fslcore import ops
    from fslcore.augmentation.crops import moved

    height, width = tf.unstack(tf.shape(images)[1:3])
    return ops.affine_images(images, moved(draws, kinds, height, width), fill="nearest")


def _coloured(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Brightness, contrast and saturation changed, clipped to 0..1."""
    import tensorflow as tf

    shift = 2 * draws[:, :3] - 1

    def each(values: tf.Tensor) -> tf.Tensor:
        return values[:, None, None, None]

    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    images = (images - mean) * each(1 + _CONTRAST * shift[:, 1]) + mean + each(_BRIGHTNESS * shift[:, 0])
    grey = tf.reduce_mean(images, axis=3, keepdims=True)
    images = (images - grey) * each(1 + _SATURATION * shift[:, 2]) + grey
    return tf.clip_by_value(images, 0.0, 1.0)
