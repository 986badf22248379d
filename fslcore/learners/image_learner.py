# SPDX-License-Identifier: MIT
"""What all learners share: they are saved by their arguments, and exported for batches of images."""

from __future__ import annotations

from typing import Any

import keras

from fslcore.learners.networks import image_signature


class ImageLearner(keras.Model):
    """A `keras.Model` around a network of images."""

    @property
    def of_images(self) -> keras.Layer:
        """The network that takes the images."""
        raise NotImplementedError

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: Any = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """As for any Keras model; the default `input_signature` is one batch of images."""
        if input_signature is None:
            input_signature = image_signature(self.of_images)
        super().export(filepath, format, verbose, input_signature, **kwargs)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Builds the learner that `get_config` described, with fresh weights."""
        return cls(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})
