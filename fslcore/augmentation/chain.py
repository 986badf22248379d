# SPDX-License-Identifier: MIT
"""Augmentations one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from fslcore.arguments import ArgumentError
from fslcore.augmentation.base import Augmentation
from fslcore.augmentation.ranges import layer_of

Tensor = Any


@keras.saving.register_keras_serializable(package="fslcore")
class Chain(Augmentation):
    """Augmentations one after the other, at the same step.

    Args:
        layers: Augmentations, each with its own seed.
        **kwargs: For `Augmentation`; the chain draws nothing itself.

    Raises:
        ArgumentError: There is none, or one is no augmentation.
    """

    def __init__(self, layers: Sequence[Augmentation], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layers = [layer_of("layers", layer) for layer in layers]
        if not self.layers or not all(isinstance(layer, Augmentation) for layer in self.layers):
            raise ArgumentError("layers", "must be one or more augmentations", layers)

    def varied(self, images: Tensor, step: Tensor) -> Tensor:
        """As for every layer."""
        for layer in self.layers:
            images = layer.varied(images, step)
        return images

    def unvaried(self, images: Tensor) -> Tensor:
        """What the layers make of images outside of training."""
        for layer in self.layers:
            images = layer.unvaried(images)
        return images

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape that the last layer makes."""
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers}
