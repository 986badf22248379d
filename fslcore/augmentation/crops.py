# SPDX-License-Identifier: MIT
"""Parts of images cut out and enlarged, and images of any shape brought into a square."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.arguments import ArgumentError, as_float, as_size
from fslcore.augmentation.affine import RandomAffine, Warping
from fslcore.augmentation.base import Augmentation
from fslcore.augmentation.ranges import Range, layer_of, range_of

Tensor = Any

LEAST_SIDE, STRETCH = 0.7, 1.15  # of the part that is cut out, and of its sides to each other
_CROP, _RESIZE, _PLACE = 1, 2, 3  # kinds of draws
_ANGLE = 0.26  # 15 degrees


def moved(
    draws: Tensor,
    kinds: Collection[str],
    height: Tensor,
    width: Tensor,
    *,
    least_side: float = LEAST_SIDE,
    stretch: float = STRETCH,
) -> Tensor:
    """Transforms that cut a part out, mirror it and turn it by up to 15 degrees.

    Args:
        draws: [N, 6 or more] of 0..1: side, stretch, place down and to the right, mirror, angle.
        kinds: Which of "crop", "flip" and "turn".
        height: Of the images.
        width: Of the images.
        least_side: The least share of a side of the image that the part has.
        stretch: The greatest factor of its height to its width.

    Returns:
        float32 [N, 6], for `fslcore.ops.affine_images`.
    """
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    one = tf.ones_like(draws[:, 0])
    high, wide, down, right = one, one, one * 0.0, one * 0.0
    if "crop" in kinds:
        side = least_side + (1 - least_side) * draws[:, 0]
        shape = stretch ** (draws[:, 1] - 0.5)
        high, wide = tf.minimum(side * shape, 1.0), tf.minimum(side / shape, 1.0)
        # The middle of the part, from that of the image.
        down, right = (draws[:, 2] - 0.5) * (1 - high) * height, (draws[:, 3] - 0.5) * (1 - wide) * width
    if "flip" in kinds:
        wide *= tf.where(draws[:, 4] < 0.5, -1.0, 1.0)
    angle = (2 * draws[:, 5] - 1) * _ANGLE if "turn" in kinds else one * 0.0
    cos, sin = tf.cos(angle), tf.sin(angle)
    # A pixel (x, y) of the result is taken from a * (x, y) + b, both from the middle of the image.
    a = [wide * cos, -high * sin, wide * sin, high * cos]
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    b_x = middle_x + right - a[0] * middle_x - a[1] * middle_y
    b_y = middle_y + down - a[2] * middle_x - a[3] * middle_y
    return tf.stack([a[0], a[1], b_x, a[2], a[3], b_y], axis=1)


@keras.saving.register_keras_serializable(package="fslcore")
class RandomCrop(Warping):
    """Cuts a part out of each image, anywhere in it, and enlarges it to the size of the image.

    Args:
        least_side: The least share of a side of the image that the part has, above 0 and at most 1.
        stretch: The greatest factor of its height to its width, at least 1.
        **kwargs: For `Warping` and `Augmentation`.

    Raises:
        ArgumentError: An argument is out of range, or a `size` is given.
    """

    def __init__(self, least_side: float = LEAST_SIDE, stretch: float = STRETCH, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < as_float("least_side", least_side) <= 1:
            raise ArgumentError("least_side", "must be above 0 and at most 1", least_side)
        if as_float("stretch", stretch) < 1:
            raise ArgumentError("stretch", "must be at least 1", stretch)
        if self.size is not None:
            raise ArgumentError(
                "size", "must be None: a part is enlarged to the size of its image", self.size
            )
        self.least_side, self.stretch = least_side, stretch

    def drawn(self, count: Tensor, sizes: Tensor, step: Tensor) -> Tensor:
        """As for every warping layer."""
        draws = self.uniform(_CROP, step, [count, 6])
        sides = {"least_side": self.least_side, "stretch": self.stretch}
        return moved(draws, ("crop",), sizes[0], sizes[1], **sides)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "least_side": self.least_side, "stretch": self.stretch}


@keras.saving.register_keras_serializable(package="fslcore")
class RandomLetterbox(Augmentation):
    """Brings images of any shape into one size: resized until they fit, with a border of one value.

    In training the sides are first changed by factors of their own and the image lies anywhere in the result;
    otherwise it keeps its shape and lies in the middle. An affine layer before it takes no interpolation of
    its own: what it moves out of the image is cut off, as if it had been done first.

    Args:
        size: (height, width) of the results.
        resize: Factor of each side before the longer one is brought to the size: a pair, a `Normal`, or a
            number for a fixed one. A factor below 1/16 counts as that.
        affine: A `RandomAffine` with fill "constant" and without a `size`, or None.
        fill_value: Of the border, in the units of the images.
        **kwargs: For `Augmentation`.

    Raises:
        ArgumentError: An argument is out of range.
    """

    def __init__(
        self,
        size: tuple[int, int] = (416, 416),
        resize: Any = 1.0,
        affine: RandomAffine | None = None,
        fill_value: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = as_size(size)
        if self.size == (0, 0):
            raise ArgumentError("size", "must be (height, width)", size)
        self._resize: Range = range_of("resize", resize)
        self.affine = None if affine is None else layer_of("affine", affine)
        if self.affine is not None and not (
            isinstance(self.affine, RandomAffine)
            and self.affine.size is None
            and self.affine.fill == "constant"
        ):
            raise ArgumentError(
                "affine", 'must be a RandomAffine with fill "constant" and without a size', affine
            )
        self.fill_value = as_float("fill_value", fill_value)

    def varied(self, images: Tensor, step: Tensor) -> Tensor:
        """As for every layer."""
        count = tf.shape(images)[0]
        low, high = self._resize[:2]
        if self._resize.normal:
            factors = low + high * self.normal(_RESIZE, step, [count, 2])
        else:
            factors = low + (high - low) * self.uniform(_RESIZE, step, [count, 2])
        factors = tf.maximum(factors, 1 / 16)
        return self._boxed(images, factors, self.uniform(_PLACE, step, [count, 2]), step)

    def unvaried(self, images: Tensor) -> Tensor:
        """Images in the middle of results."""
        shape = tf.shape(images)
        flat = tf.reshape(images, tf.concat([[-1], shape[-3:]], 0))
        count = tf.shape(flat)[0]
        boxed = self._boxed(flat, tf.ones([count, 2]), tf.fill([count, 2], 0.5), None)
        return tf.reshape(boxed, tf.concat([shape[:-3], tf.shape(boxed)[1:]], 0))

    def _boxed(self, images: Tensor, factors: Tensor, places: Tensor, step: Tensor | None) -> Tensor:
        """Images whose sides have factors [N, 2], at places [N, 2] of 0..1 in the border."""
        sides = tf.cast(tf.shape(images)[1:3], tf.float32)
        result = tf.constant(self.size, tf.float32)
        changed = factors * sides
        within = changed * tf.reduce_min(result / changed, axis=1, keepdims=True)  # [N, 2] pixels of results
        begin = places * (result - within)
        # Pixel i of a result shows scale * i + offset of the image, the centres of pixels at halves.
        scale = sides / within
        offset = (0.5 - begin) * scale - 0.5
        (e, a), (f, c) = (tf.unstack(part, axis=1) for part in (scale, offset))
        none = tf.zeros_like(a)
        transforms = tf.stack([a, none, c, none, e, f], axis=1)
        if self.affine is not None and step is not None:
            height, width = tf.unstack(tf.shape(images)[1:3])
            own = self.affine.drawn(tf.shape(images)[0], self.affine.sizes(height, width), step)
            transforms = _after(own, transforms)
        filled = self.fill_value
        warped = ops.affine_images(images, transforms, self.size, "constant", filled)
        inside = [
            (scale[:, axis, None] * tf.range(result[axis])[None] + offset[:, axis, None]) for axis in (0, 1)
        ]
        rows, cols = ((place > -0.5) & (place < sides[axis] - 0.5) for axis, place in enumerate(inside))
        return tf.where((rows[:, :, None] & cols[:, None])[..., None], warped, filled)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Images of the size."""
        return (*tuple(input_shape)[:-3], *self.size, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        affine = None if self.affine is None else keras.saving.serialize_keras_object(self.affine)
        own = {"size": self.size, "resize": self._resize.config(), "affine": affine}
        return {**super().get_config(), **own, "fill_value": self.fill_value}


def _after(first: Tensor, second: Tensor) -> Tensor:
    """The transforms [N, 6] of results whose places `second` finds, and `first` in what these show."""
    a, b, c, d, e, f = tf.unstack(first, axis=1)
    p, q, r, s, t, u = tf.unstack(second, axis=1)
    return tf.stack(
        [a * p + b * s, a * q + b * t, a * r + b * u + c, d * p + e * s, d * q + e * t, d * r + e * u + f],
        axis=1,
    )
