# SPDX-License-Identifier: MIT
"""What the learners that compare embeddings share: an encoder, and an `embed` that never changes it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore import xla
from fslcore.arguments import ArgumentError
from fslcore.learners.networks import image_signature, random_variables


class EmbeddingLearner(keras.Model):
    """A `keras.Model` around an encoder of images; a new class is compared with, not trained on.

    A learner is trained with Keras' own `compile` and `fit`. `jit_compile="auto"` keeps Keras' meaning,
    which is also the fastest measured choice: XLA on a GPU, and a plain graph on a CPU, where XLA makes a
    convolutional net 3 to 4 times slower.

    Args:
        encoder: a built Keras model or layer, images `[B, H, W, C]` -> anything with batch axis `B`.
        **kwargs: passed to `keras.Model` (`name`, `dtype`).

    Raises:
        ArgumentError: `encoder` is not a Keras layer, or has no weights yet because its input shape is
            unknown.
    """

    def __init__(self, encoder: keras.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(encoder, keras.Layer):
            raise ArgumentError("encoder", "must be a Keras model or layer", encoder)
        if not encoder.built:
            raise ArgumentError(
                "encoder",
                "must be built, so that its weights exist before training: give it a keras.Input or call "
                "encoder.build((None, height, width, channels))",
                encoder,
            )
        self.encoder = encoder
        self.supports_jit = xla.has_kernels()

    def encode(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Runs the encoder as Keras does in training, including updates of the moving averages.

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
            ArgumentError: `training=True` with an encoder that draws random numbers (Dropout, noise, random
                augmentation), whose batch statistics depend on them.
        """
        images = tf.convert_to_tensor(images)
        if not training:
            return self.encode(images)
        if random_variables(self.encoder):
            raise ArgumentError(
                "training",
                f"must be False for the encoder {self.encoder.name!r}: only encoders without random layers "
                "(Dropout, noise, augmentation) have embeddings that depend on the batch alone",
                training,
            )
        embeddings, _discarded_updates = self.encoder.stateless_call(
            self.encoder.trainable_variables,
            self.encoder.non_trainable_variables,
            images,
            training=True,
        )
        return _flatten(embeddings)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """The compiled loss, or the default loss of the learner, plus the regularisation losses."""
        if self.loss is not None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        return tf.add_n([self.default_loss(x, y, y_pred, sample_weight), *self.losses])

    def default_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> tf.Tensor:
        """The loss of a learner that was compiled without one; arguments as for `compute_loss`."""
        raise NotImplementedError

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: Any = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """As for any Keras model; the default `input_signature` is one batch of images of the encoder."""
        if input_signature is None:
            input_signature = image_signature(self.encoder)
        super().export(filepath, format, verbose, input_signature, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        return {**super().get_config(), "encoder": keras.saving.serialize_keras_object(self.encoder)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> EmbeddingLearner:
        """Builds the learner that `get_config` described, with fresh weights."""
        return cls(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})


def _flatten(embeddings: tf.Tensor) -> tf.Tensor:
    if embeddings.shape.rank == 2:
        return embeddings
    # The static shape keeps the width known in a graph whose batch size is unknown.
    width = -1 if None in embeddings.shape[1:] else embeddings.shape[1:].num_elements()
    return tf.reshape(embeddings, (tf.shape(embeddings)[0], width))
