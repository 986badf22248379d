# SPDX-License-Identifier: MIT
"""Affine augmentation: rotation, shear, zoom, shift and flips with one interpolation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fslcore import ops, random
from fslcore.arguments import AFFINE_PARAMETERS, as_float, as_size, check_fill
from fslcore.augmentation.base import Augmentation
from fslcore.augmentation.ranges import Normal, Range, range_of, share_of, shares_of

Tensor = Any
Drawn = float | tuple[float, float] | Normal

_FLIPS = ("flip_x", "flip_y")
_FACTORS = ("zoom", "zoom_x", "zoom_y")
_MOVES = tuple(name for name in AFFINE_PARAMETERS if name not in _FLIPS)


class Warping(Augmentation):
    """A layer that moves pixels by one affine transform for each image.

    Args:
        size: (height, width) of the results; None: that of the images.
        fill: What is outside of an image: "nearest", the pixel of its border that is nearest; "constant", a
            value.
        fill_value: This value, in the units of the images.
        **kwargs: For `Augmentation`.

    Raises:
        ArgumentError: An argument is out of range.
    """

    def __init__(
        self,
        *,
        size: tuple[int, int] | None = None,
        fill: str = "nearest",
        fill_value: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_fill(fill)
        as_size(size)
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.fill, self.fill_value = fill, as_float("fill_value", fill_value)

    def drawn(self, count: Tensor, sizes: Tensor, step: Tensor) -> Tensor:
        """The transforms of the images of a step, for `fslcore.ops.affine_images` and `gather_affine`.

        Args:
            count: How many images.
            sizes: int64 [4]: (height, width) of the images and of the results.
            step: int64.

        Returns:
            float32 [count, 6].
        """
        raise NotImplementedError

    def sizes(self, height: Tensor | int, width: Tensor | int) -> Tensor:
        """int64 [4]: images of that size, and their results."""
        return tf.cast(tf.stack([height, width, *(self.size or (height, width))]), tf.int64)

    def varied(self, images: Tensor, step: Tensor) -> Tensor:
        """As for every layer."""
        count, height, width = (tf.shape(images)[axis] for axis in range(3))
        transforms = self.drawn(count, self.sizes(height, width), step)
        return ops.affine_images(images, transforms, self.size, self.fill, self.fill_value)

    def unvaried(self, images: Tensor) -> Tensor:
        """Images of the size."""
        return images if self.size is None else tf.image.resize(images, self.size)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the images, of the size."""
        shape = tuple(input_shape)
        return shape if self.size is None else (*shape[:-3], *self.size, shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        own = {"size": self.size, "fill": self.fill, "fill_value": self.fill_value}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="fslcore")
class RandomAffine(Warping):
    """Rotates, shears, scales, moves and mirrors images, with one bilinear interpolation.

    A picture is mirrored, scaled, sheared along y, sheared along x, rotated and moved, about its middle. The
    transforms are drawn by the compiled generator: the same bits in eager mode, graphs and XLA, on every CPU.

    Args:
        rotation: Degrees, counter-clockwise. As for the next four and the shifts: a number r means -r to r, a
            pair its bounds, a `Normal` that distribution.
        shear_x: Pixels to the right for each pixel below the middle.
        shear_y: Pixels down for each pixel to the right of it.
        zoom: Factor of both sides; a pair or a `Normal`, or a number for a fixed factor. At 2 a picture is
            twice as large. A factor below 1/16 counts as that.
        zoom_x: A further factor of the width.
        zoom_y: A further factor of the height.
        shift_x: Share of the width, to the right.
        shift_y: Share of the height, down.
        flip_x: Probability with which left and right change sides.
        flip_y: Probability with which top and bottom do.
        probability: With which each of the others is applied, independently: a number, or a mapping of their
            names, in which those left out have 1.
        **kwargs: For `Warping` and `Augmentation`: `size`, `fill`, `fill_value`, `seed`, `value_range`.

    Attributes:
        distributions: float32 [10, 4], for `fslcore.kernels.affine_transforms`.

    Raises:
        ArgumentError: An argument is out of range.
    """

    def __init__(
        self,
        rotation: Drawn = 0.0,
        shear_x: Drawn = 0.0,
        shear_y: Drawn = 0.0,
        zoom: Drawn = 1.0,
        zoom_x: Drawn = 1.0,
        zoom_y: Drawn = 1.0,
        shift_x: Drawn = 0.0,
        shift_y: Drawn = 0.0,
        flip_x: float = 0.0,
        flip_y: float = 0.0,
        probability: Any = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        given = {
            "rotation": rotation, "shear_x": shear_x, "shear_y": shear_y, "zoom": zoom, "zoom_x": zoom_x,
            "zoom_y": zoom_y, "shift_x": shift_x, "shift_y": shift_y,
        }  # fmt: skip
        self._ranges: dict[str, Range] = {
            name: range_of(name, value, None if name in _FACTORS else 0.0) for name, value in given.items()
        }
        self._flips = {"flip_x": share_of("flip_x", flip_x), "flip_y": share_of("flip_y", flip_y)}
        self._shares = shares_of("probability", probability, _MOVES)
        rows = [
            (*self._ranges[name][:2], self._shares[name], float(self._ranges[name].normal)) for name in _MOVES
        ]
        rows += [(1.0, 1.0, self._flips[name], 0.0) for name in _FLIPS]
        self.distributions = np.array(rows, np.float32)

    def drawn(self, count: Tensor, sizes: Tensor, step: Tensor) -> Tensor:
        """As for every warping layer."""
        return ops.affine_transforms(
            self.distributions, sizes, self.numbers(count), random.key("warps", self.seed), step
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        ranges = {name: drawn.config() for name, drawn in self._ranges.items()}
        return {**super().get_config(), **ranges, **self._flips, "probability": self._shares}
