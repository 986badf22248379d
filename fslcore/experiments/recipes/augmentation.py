# SPDX-License-Identifier: MIT
"""Variation of training images: a function of a seed and a step, so that a run can go on exactly.

The images of a batch are varied each in its own way: a part is cut out and enlarged, turned, mirrored, and
its colours are changed; or as the layers of `fslcore.augmentation` do it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fslcore.arguments import ArgumentError

if TYPE_CHECKING:
    import tensorflow as tf

_WARPS = ("affine", "koch", "omniglot")
KINDS = ("flip", "crop", "turn", "colour", *_WARPS, "noise")
_NONE = "none"

_BRIGHTNESS, _CONTRAST, _SATURATION = 0.15, 0.3, 0.3


def parsed(text: str) -> tuple[str, ...]:
    """The kinds of variation in a text such as "flip,crop"; none for "none".

    Raises:
        ArgumentError: one is not known, or it stands there twice; or two are affine, which would draw alike.
    """
    kinds = tuple(kind.strip() for kind in text.split(","))
    if kinds == (_NONE,):
        return ()
    if not set(kinds) <= set(KINDS) or len(set(kinds)) < len(kinds):
        raise ArgumentError("augment", f"must be {_NONE}, or one or more of {', '.join(KINDS)}", text)
    if len({*kinds} & {*_WARPS}) > 1:
        raise ArgumentError("augment", f"must have at most one of {', '.join(_WARPS)}", text)
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

    layers = _layers(kinds, seed)

    def one(number: tf.Tensor, batch: Any) -> Any:
        parts = batch if isinstance(batch, tuple) else (batch,)
        done = []
        for i, part in enumerate(parts):
            if part.shape.rank is not None and part.shape.rank >= 4:
                step = number * len(parts) + i
                part = varied_images(part, kinds, tf.stack([tf.constant(seed, tf.int64), step]))
                for layer in layers:
                    part = layer.vary(part, step)
            done.append(part)
        return tuple(done) if isinstance(batch, tuple) else done[0]

    return mapped(batches.enumerate(first), one)


def _layers(kinds: tuple[str, ...], seed: int) -> list[Any]:
    """The layers of those kinds that are some, in the order of `KINDS`."""
    if not {*kinds} & {*_WARPS, "noise"}:
        return []
    from fslcore import augmentation as layers

    made: dict[str, Callable[[], Any]] = {
        "affine": lambda: layers.RandomAffine(
            rotation=15, shear_x=0.1, shear_y=0.1, zoom=(0.8, 1.2), shift_x=0.1, shift_y=0.1, seed=seed
        ),
        "koch": lambda: layers.koch(seed=seed),
        "omniglot": lambda: layers.omniglot(seed=seed),
        "noise": lambda: layers.RandomNoise((0.0, 0.05), seed=seed),
    }
    return [made[kind]() for kind in KINDS if kind in kinds and kind in made]


def varied_images(images: tf.Tensor, kinds: tuple[str, ...], key: tf.Tensor) -> tf.Tensor:
    """Images [..., H, W, C] of 0..1, each varied in its own way; their shape stays.

    Args:
        images: float32.
        kinds: of `KINDS`; "flip", "crop", "turn" and "colour" alone count here.
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
