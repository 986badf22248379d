# SPDX-License-Identifier: MIT
"""From images as an `ImageStore` gives them to what a pretrained network was trained on."""

from __future__ import annotations

from typing import Any

import keras

from fslcore.arguments import ArgumentError
from fslcore.encoders.imagenet import lite

# Beside the families of keras.applications: the ranges that their networks are trained on, by Keras' names.
MODES = ("pixels", "tf", "torch", "caffe")


def check_preprocessing(preprocessing: Any) -> None:
    """Raises ArgumentError unless it is a layer, one of `MODES`, or a family of keras.applications."""
    if isinstance(preprocessing, keras.Layer) or preprocessing in (*MODES, lite.NAME):
        return
    family = getattr(keras.applications, preprocessing, None) if isinstance(preprocessing, str) else None
    if not hasattr(family, "preprocess_input"):
        raise ArgumentError(
            "preprocessing",
            f"must be one of {', '.join(MODES)}, a module of keras.applications such as 'resnet50', or a "
            "Keras layer, which takes pixels of 0 to 255",
            preprocessing,
        )


@keras.saving.register_keras_serializable(package="fslcore")
class PretrainedInput(keras.Layer):
    """Images of 0 to 1 `[B, H, W, C]` -> the input of a pretrained network `[B, S, S, 3]`.

    One channel is repeated. Other sizes are resized bilinearly, with averaging where they shrink.

    Args:
        size: S; None leaves the size as it is.
        preprocessing: what the network was trained on: "pixels" of 0 to 255, "tf" (-1 to 1), "torch" (0 to 1,
            less the mean of ImageNet, by its standard deviation), "caffe" (0 to 255 in the order blue, green,
            red, less the mean), a module of keras.applications, whose `preprocess_input` is taken, or a Keras
            layer that takes pixels of 0 to 255.
        **kwargs: for `keras.Layer`.

    Raises:
        ArgumentError: the preprocessing is unknown, or images have neither one channel nor three.
    """

    def __init__(self, size: int | None, preprocessing: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_preprocessing(preprocessing)
        self.size, self.preprocessing = size, preprocessing

    def build(self, input_shape: Any) -> None:
        """Checks the channels."""
        if len(input_shape) != 4 or input_shape[-1] not in (1, 3):
            raise ArgumentError(
                "channels", "must be 1 or 3 for a pretrained network", described=f"images {input_shape}"
            )

    def call(self, images: Any) -> Any:
        """The prepared images, float32."""
        height, width, channels = images.shape[1:]
        if self.size is not None and (height, width) != (self.size, self.size):
            # Where images grow the result is the same, and the plain way is faster.
            grows = None not in (height, width) and max(height, width) <= self.size
            images = keras.ops.image.resize(
                images, (self.size, self.size), interpolation="bilinear", antialias=not grows
            )
        if channels == 1:
            images = keras.ops.repeat(images, 3, axis=-1)
        return self._preprocessed(images * 255.0)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """(B, S, S, 3)."""
        height, width = (self.size, self.size) if self.size is not None else tuple(input_shape[1:3])
        shape = (input_shape[0], height, width, 3)
        return (
            _shape_after(self.preprocessing, shape) if isinstance(self.preprocessing, keras.Layer) else shape
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        own = self.preprocessing
        if isinstance(own, keras.Layer):
            own = keras.saving.serialize_keras_object(own)
        return {**super().get_config(), "size": self.size, "preprocessing": own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PretrainedInput:
        """The layer that `get_config` described."""
        own = keras.saving.deserialize_keras_object(config["preprocessing"])
        return cls(**{**config, "preprocessing": own})

    def _preprocessed(self, pixels: Any) -> Any:
        name = self.preprocessing
        if isinstance(name, keras.Layer):
            return name(pixels)
        if name == lite.NAME:
            return lite.preprocess(pixels)
        if name == "pixels":
            return pixels
        if name in MODES:
            return keras.applications.imagenet_utils.preprocess_input(pixels, mode=name)
        return getattr(keras.applications, name).preprocess_input(pixels)


def _shape_after(layer: keras.Layer, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """The shape that a layer makes of images of this one; some of KerasHub can only be called."""
    try:
        return tuple(layer.compute_output_shape(shape))
    except NotImplementedError:
        tried = layer(keras.ops.zeros((1, *(32 if size is None else size for size in shape[1:]))))
        sizes = zip(shape[1:3], tried.shape[1:3], strict=True)
        return (None, *(None if size is None else found for size, found in sizes), tried.shape[3])
