# SPDX-License-Identifier: MIT
"""`Augmentation`: what the layers have in common, and where their random numbers come from."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from fslcore import random
from fslcore.arguments import ArgumentError
from fslcore.replicas import count_replicas

Tensor = Any

_IMAGES_OF_A_REPLICA = 1 << 20


class Augmentation(keras.Layer):
    """Varies images in training, each in its own way: a pure function of the seed and the step.

    In training a layer counts its calls in `step`, a variable that is saved with the model, so that a
    training that goes on sees the images that it would have seen; or the caller says the step. Otherwise it
    leaves the images as they are (a layer with a `size` only brings them to it).

    Args:
        seed: 0 to 2^62 - 1. Two layers of one kind with one seed draw alike.
        value_range: Least and greatest value of a pixel.
        **kwargs: For `keras.Layer`.

    Attributes:
        step: int64, how often the layer was called in training.

    Raises:
        ArgumentError: An argument is out of range.
    """

    def __init__(
        self, *, seed: int = 0, value_range: tuple[float, float] = (0.0, 1.0), **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.seed = seed
        self._key = random.key("variation", seed)
        least, greatest = value_range
        if not least < greatest:
            raise ArgumentError("value_range", "must be (least, greatest)", value_range)
        self.value_range = (float(least), float(greatest))

    def build(self, input_shape: Any) -> None:
        """Makes the counter."""
        check_images(tuple(input_shape))
        self.step = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int64",
            trainable=False,
            name="step",
            aggregation="only_first_replica",
        )

    def call(self, images: Tensor, training: bool | None = None, step: Tensor | int | None = None) -> Tensor:
        """Varied images in training, otherwise those given.

        Args:
            images: [..., height, width, channels].
            training: Whether to vary them.
            step: The step, which is not counted then; None: the counter, which goes up by 1.

        Returns:
            Images of the layer's compute dtype; of its `size` if it has one.
        """
        if not training:
            return tf.cast(self.unvaried(self._floats(images)), self.compute_dtype)
        if step is None:
            step = tf.identity(self.step.value)
            self.step.assign(step + 1)
        return tf.cast(self.vary(images, step), self.compute_dtype)

    def vary(self, images: Tensor, step: Tensor | int) -> Tensor:
        """Images of a step, each varied: a function of its arguments and the seed, for `tf.data` too.

        Args:
            images: [..., height, width, channels], with values of the layer's range.
            step: At least 0, of int64.

        Returns:
            float32 [..., height, width, channels].

        Raises:
            ArgumentError: They have no such axes, or are integers and the range is that of 0 to 1.
        """
        images = self._floats(images)
        shape = check_images(tuple(images.shape))
        flat = tf.reshape(images, tf.concat([[-1], tf.shape(images)[-3:]], 0))
        flat = tf.ensure_shape(flat, [None, *shape[-3:]])
        varied = self.varied(flat, tf.cast(step, tf.int64))
        leading = tf.shape(images)[:-3]
        known = tf.TensorShape(shape[:-3]).concatenate(varied.shape[1:])
        return tf.ensure_shape(tf.reshape(varied, tf.concat([leading, tf.shape(varied)[1:]], 0)), known)

    def varied(self, images: Tensor, step: Tensor) -> Tensor:
        """The same of images [N, height, width, channels]."""
        raise NotImplementedError

    def unvaried(self, images: Tensor) -> Tensor:
        """What stands for images outside of training."""
        return images

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the images."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "seed": self.seed, "value_range": list(self.value_range)}

    def held(self, images: Tensor) -> Tensor:
        """Images with their values held to the range."""
        return tf.clip_by_value(images, *self.value_range)

    def numbers(self, count: Tensor) -> Tensor:
        """The numbers of so many images among all of a step: replicas draw for theirs alone."""
        return tf.range(tf.cast(count, tf.int64)) + _replica() * _IMAGES_OF_A_REPLICA

    def uniform(self, kind: int, step: Tensor, shape: Any) -> Tensor:
        """Uniform numbers, at least 0 and below 1; `kind` tells draws of one step apart."""
        # From whole numbers: of floats, XLA makes others than the ops of TensorFlow.
        bits = tf.random.stateless_uniform(
            shape, self._key_of(kind, step), None, None, tf.uint32, alg="philox"
        )
        return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24

    def normal(self, kind: int, step: Tensor, shape: Any) -> Tensor:
        """Normally distributed numbers with mean 0 and deviation 1, by Box and Muller (1958)."""
        length, angle = tf.unstack(self.uniform(kind, step, tf.concat([shape, [2]], 0)), axis=-1)
        return tf.sqrt(-2.0 * tf.math.log(length + 2.0**-24)) * tf.cos(2 * math.pi * angle)

    def _floats(self, images: Tensor) -> Tensor:
        images = tf.convert_to_tensor(images)
        if images.shape.rank is None:
            raise ArgumentError("images", "must have a known number of axes", described="an unknown one")
        if images.dtype.is_integer and self.value_range[1] <= 1:
            raise ArgumentError(
                "images", "must be floats of 0 to 1, or `value_range` (0, 255)", described=images.dtype.name
            )
        return tf.cast(images, tf.float32)

    def _key_of(self, kind: int, step: Tensor) -> Tensor:
        key = tf.stack([tf.constant(self._key, tf.int64), step])
        return tf.random.fold_in(tf.random.fold_in(key, kind, alg="philox"), _replica(), alg="philox")


def check_images(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """A shape, if it is that of images.

    Raises:
        ArgumentError: It has fewer than four axes.
    """
    if len(shape) < 4:
        raise ArgumentError(
            "images",
            "must have axes [..., height, width, channels], four or more",
            described=f"shape {shape}",
        )
    return shape


def _replica() -> Tensor:
    """The number of this replica, 0 without a strategy."""
    context = tf.distribute.get_replica_context()
    if context is None or count_replicas() == 1:
        return tf.constant(0, tf.int64)
    return tf.cast(context.replica_id_in_sync_group, tf.int64)
