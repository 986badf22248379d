# SPDX-License-Identifier: MIT
"""Colours and noise."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.augmentation.affine import Drawn
from fslcore.augmentation.base import Augmentation
from fslcore.augmentation.ranges import Range, range_of, share_of, shares_of

Tensor = Any

_VALUES, _NORMALS, _APPLIED, _NOISE, _DEVIATIONS = 4, 5, 6, 7, 8  # kinds of draws
_NAMES = ("brightness", "contrast", "hue", "hue_factor", "saturation")
_RESTS = {"brightness": 0.0, "contrast": 1.0, "hue": 0.0, "hue_factor": 1.0, "saturation": 1.0}
_OF_COLOURS = ("hue", "hue_factor", "saturation")


@keras.saving.register_keras_serializable(package="fslcore")
class RandomColour(Augmentation):
    """Changes contrast, brightness, hue and saturation, in this order.

    Args:
        brightness: Added, as a share of the range of values: a number r means -r to r, a pair its bounds, a
            `Normal` that distribution.
        contrast: Factor of the difference from the mean of the image: a number r means 1 - r to 1 + r.
        hue: Added to the hue, in turns of the circle of colours.
        hue_factor: Factor of the hue of 0 to 1, which goes round; as for `contrast`.
        saturation: Factor of the saturation of HSV, which ends at 1; as for `contrast`.
        probability: With which each is applied to an image, independently: a number, or a mapping of their
            names, in which those left out have 1.
        **kwargs: For `Augmentation`.

    Raises:
        ArgumentError: An argument is out of range, or images without three channels have a hue or a
            saturation to change.
    """

    def __init__(
        self,
        brightness: Drawn = 0.0,
        contrast: Drawn = 0.0,
        hue: Drawn = 0.0,
        hue_factor: Drawn = 0.0,
        saturation: Drawn = 0.0,
        probability: Any = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        given = dict(zip(_NAMES, (brightness, contrast, hue, hue_factor, saturation), strict=True))
        self._ranges: dict[str, Range] = {
            name: range_of(name, value, _RESTS[name]) for name, value in given.items()
        }
        self._shares = shares_of("probability", probability, _NAMES)

    def build(self, input_shape: Any) -> None:
        """Checks the number of channels."""
        super().build(input_shape)
        self._check_channels(input_shape[-1])

    def varied(self, images: Tensor, step: Tensor) -> Tensor:
        """As for every layer."""
        self._check_channels(images.shape[-1])
        drawn = self._drawn(tf.shape(images)[0], step)
        least, greatest = self.value_range
        if self._changes("contrast"):
            mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
            images = (images - mean) * drawn["contrast"] + mean
        if self._changes("brightness"):
            images = images + drawn["brightness"] * (greatest - least)
        images = self.held(images)
        if any(self._changes(name) for name in _OF_COLOURS):
            hue, saturation, value = tf.unstack(
                tf.image.rgb_to_hsv((images - least) / (greatest - least)), axis=-1
            )
            turned = hue * drawn["hue_factor"][..., 0] + drawn["hue"][..., 0]
            strong = tf.clip_by_value(saturation * drawn["saturation"][..., 0], 0.0, 1.0)
            coloured = tf.image.hsv_to_rgb(tf.stack([turned - tf.floor(turned), strong, value], axis=-1))
            images = coloured * (greatest - least) + least
        return images

    def _drawn(self, count: Tensor, step: Tensor) -> dict[str, Tensor]:
        """By name, [N, 1, 1, 1]."""
        shape = [count, len(_NAMES)]
        uniform, applied = self.uniform(_VALUES, step, shape), self.uniform(_APPLIED, step, shape)
        normal = (
            self.normal(_NORMALS, step, shape) if any(r.normal for r in self._ranges.values()) else uniform
        )
        drawn = {}
        for i, (name, (first, second, is_normal)) in enumerate(self._ranges.items()):
            value = first + second * normal[:, i] if is_normal else first + (second - first) * uniform[:, i]
            value = tf.where(applied[:, i] < self._shares[name], value, _RESTS[name])
            drawn[name] = value[:, None, None, None]
        return drawn

    def _changes(self, name: str) -> bool:
        return self._ranges[name] != Range(_RESTS[name], _RESTS[name])

    def _check_channels(self, channels: int | None) -> None:
        wrong = [name for name in _OF_COLOURS if self._changes(name)]
        if wrong and channels != 3:
            raise ArgumentError(
                wrong[0], "must be 0 for images without three channels", described=f"{channels} channels"
            )

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        ranges = {name: drawn.config() for name, drawn in self._ranges.items()}
        return {**super().get_config(), **ranges, "probability": self._shares}


@keras.saving.register_keras_serializable(package="fslcore")
class RandomNoise(Augmentation):
    """Adds normally distributed noise to every value, and holds the result to the range of values.

    Args:
        deviation: Of the noise, as a share of the range of values: a number, or a pair between which it is
            drawn for each image.
        probability: With which an image gets any.
        **kwargs: For `Augmentation`.

    Raises:
        ArgumentError: An argument is out of range.
    """

    def __init__(
        self, deviation: float | tuple[float, float] = 0.05, probability: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._deviation = range_of("deviation", deviation)
        if self._deviation.normal or self._deviation.first < 0:
            raise ArgumentError("deviation", "must be a number of at least 0, or a pair of them", deviation)
        self.probability = share_of("probability", probability)

    def varied(self, images: Tensor, step: Tensor) -> Tensor:
        """As for every layer."""
        least, greatest = self.value_range
        drawn = self.uniform(_DEVIATIONS, step, [tf.shape(images)[0], 2])
        first, second, _ = self._deviation
        deviation = (first + (second - first) * drawn[:, 0]) * (greatest - least)
        deviation = tf.where(drawn[:, 1] < self.probability, deviation, 0.0)
        noise = self.normal(_NOISE, step, tf.shape(images))
        return self.held(images + noise * deviation[:, None, None, None])

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        own = {"deviation": self._deviation.config(), "probability": self.probability}
        return {**super().get_config(), **own}
