# SPDX-License-Identifier: MIT
"""A network with a head behind it that is trained on images, or on embeddings of images that are kept."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="fslcore")
class HeadedEncoder(keras.Model):
    """Images -> embeddings of a network -> what a head makes of them.

    It also takes the network's own embeddings, as an `EmbeddingStore` gives them: `[B, 1, 1, D]`, images of
    one pixel. So a learner around it is trained on these in seconds while the network is frozen, and on
    images later; its weights and its optimizer are the same.

    Args:
        network: a built model, images `[B, H, W, C]` -> `[B, D]`.
        head: a built model of embeddings, `[B, D]` or `[B, 1, 1, D]`.
        **kwargs: for `keras.Model`.
    """

    def __init__(self, network: keras.Model, head: keras.Model, **kwargs: Any) -> None:
        images = keras.Input(network.input_shape[1:], name="images")
        embeddings = network(images)
        if len(head.input_shape) == 4:
            embeddings = keras.layers.Reshape((1, 1, head.input_shape[-1]), name="pixel")(embeddings)
        super().__init__(images, head(embeddings), **kwargs)
        self.network, self.head = network, head
        self.input_spec = None  # images and embeddings have other shapes

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Embeds images, or embeddings of the network."""
        shape = self.head.input_shape[1:]
        if tuple(inputs.shape[1:]) == (1, 1, shape[-1]):
            return self.head(keras.ops.reshape(inputs, (-1, *shape)), training=training)
        return super().call(inputs, training=training, mask=mask)

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        parts = {"network": self.network, "head": self.head}
        return {
            "name": self.name,
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> HeadedEncoder:
        """Builds the encoder that `get_config` described, with other weights."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("network", "head")
        }
        return cls(**parts, name=config["name"])
