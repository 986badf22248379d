# SPDX-License-Identifier: MIT
"""What the learners share: an encoder, and an `embed` that never changes it."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from fslcore import ops


class Learner(keras.Model):
    """A `keras.Model` around an encoder of images.

    A learner is trained with Keras' own `compile` and `fit`; `jit_compile="auto"` keeps Keras' meaning,
    which is also the fastest measured choice: XLA on a GPU, a plain graph on a CPU, where a convolutional net
    compiled by XLA is 3 to 4 times slower.

    Args:
        encoder: a built Keras model or layer, images `[B, H, W, C]` -> anything with batch axis `B`.
        **kwargs: passed to `keras.Model` (`name`, `dtype`).

    Raises:
        ValueError: `encoder` is no Keras layer, or has no weights yet because its input shape is unknown.
    """

    def __init__(self, encoder: keras.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(encoder, keras.Layer):
            raise ValueError(f"encoder must be a Keras model or layer, received encoder={encoder!r}")
        if not encoder.built:
            raise ValueError(
                "encoder must be built, so that its weights exist before training: give it a keras.Input or "
                f"call encoder.build((None, height, width, channels)), received the unbuilt {encoder.name!r}"
            )
        self.encoder = encoder
        # Kernels that run on the CPU cannot be part of a step that XLA compiles for a GPU.
        self.supports_jit = not tf.config.list_physical_devices("GPU") or "cuda" in ops.native_libraries()

    def encode(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Runs the encoder as Keras does in training, moving averages included.

        Args:
            images: float `[B, H, W, C]`.
            training: whether layers such as BatchNormalization and Dropout are in their training mode.

        Returns:
            `[B, D]` embeddings; more axes are flattened.
        """
        return _flatten(self.encoder(images, training=training))

    def embed(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds images without changing anything in the learner.

        Args:
            images: float `[B, H, W, C]`, with the scale used in training (0 to 1 from an `ImageStore`).
            training: `False` normalises with the moving averages, so that an image's embedding depends on
                that image alone. `True` normalises with the statistics of this batch (a *transductive*
                embedding); the updates of the moving averages are discarded.

        Returns:
            `[B, D]` embeddings.

        Raises:
            ValueError: `training=True` with an encoder that draws random numbers (Dropout, noise,
                random augmentation): its batch statistics cannot be had without its noise.
        """
        images = tf.convert_to_tensor(images)
        if not training:
            return self.encode(images)
        if random_variables(self.encoder):
            raise ValueError(
                "training=True (transductive) must be used with an encoder without random layers, received "
                f"the encoder {self.encoder.name!r} with active Dropout, noise or augmentation layers"
            )
        embeddings, _discarded_updates = self.encoder.stateless_call(
            self.encoder.trainable_variables,
            self.encoder.non_trainable_variables,
            images,
            training=True,
        )
        return _flatten(embeddings)

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        return {**super().get_config(), "encoder": keras.saving.serialize_keras_object(self.encoder)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Learner:
        """Builds the learner that `get_config` described, with fresh weights."""
        return cls(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})


def embedding_width(encoder: keras.Layer) -> int | None:
    """D of the embeddings `[B, D]`; None for an encoder that tells its shape only once it is called."""
    shape = getattr(encoder, "output_shape", None)
    return None if shape is None or None in shape[1:] else math.prod(shape[1:])


def random_variables(layer: keras.Layer) -> list[Any]:
    """The seeds of the layer's random generators: empty when nothing in it is random in training mode."""
    weights = {id(weight) for weight in layer.weights}
    return [variable for variable in layer.variables if id(variable) not in weights]


def _flatten(embeddings: tf.Tensor) -> tf.Tensor:
    if embeddings.shape.rank == 2:
        return embeddings
    # The width is taken from the static shape, so that it stays known inside a graph of unknown batch size.
    width = -1 if None in embeddings.shape[1:] else embeddings.shape[1:].num_elements()
    return tf.reshape(embeddings, (tf.shape(embeddings)[0], width))
