# SPDX-License-Identifier: MIT
"""A pretrained network as an encoder: its preprocessing inside, embeddings out."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from fslcore.arguments import ArgumentError
from fslcore.encoders.imagenet.preparing import PretrainedInput

# Of the layer that holds the network alone.
BACKBONE = "backbone"

_MOST_AT_A_TIME = 64
# Of one call, in the network: 16 images of 224 x 224, where EfficientNet-Lite0 takes 1.2 GB, 64 take 1.9 GB.
_PIXELS = 2**20
_LEAST_ACTIVATION = 1e-8


@keras.saving.register_keras_serializable(package="fslcore")
class PretrainedEncoder(keras.Model):
    """Images -> embeddings, by a network that has seen other images before.

        images [B, H, W, C] ──> PretrainedInput ──> backbone ──> mean over the pixels ──> head ──> [B, D]

    Images are float of 0 to 1, as an `ImageStore` gives them, or uint8 of 0 to 255. The model is a functional
    one; `encoder.backbone` is the network alone, whose layers can be frozen one by one. Saved models hold all
    that they need: neither the package of the weights nor a download.

    Args:
        backbone: the network, `[B, S, S, 3]` -> a feature map `[B, h, w, D]`, tokens `[B, n, D]`, of which
            the mean is taken, or embeddings `[B, D]`; or a list of such (of a functional model), which are
            put side by side, each of length 1.
        preprocessing: as for `PretrainedInput`.
        image_shape: (height, width, channels) of the images; height and width may be None.
        network_size: S, to which images are resized inside; None: not at all.
        head: a layer on embeddings `[B, D]`, or on `[B, 1, 1, D]`; None for none.
        **kwargs: for `keras.Model`.

    Raises:
        ArgumentError: the network has an output of another form.
    """

    def __init__(
        self,
        backbone: keras.Layer,
        preprocessing: Any,
        image_shape: tuple[int | None, int | None, int],
        network_size: int | None,
        head: keras.Layer | None = None,
        **kwargs: Any,
    ) -> None:
        images = keras.Input(tuple(image_shape), name="images")
        # In float32 under any policy: half precision would round pixels away.
        prepare = PretrainedInput(network_size, preprocessing, dtype="float32", name="prepare")
        x = _pooled(backbone(prepare(images)), backbone)
        if head is not None:
            x = _through(head, x)
        super().__init__(images, x, **kwargs)
        self.prepare, self.backbone, self.head = prepare, backbone, head
        self._image_shape = image_shape

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Embeds images, float of 0 to 1 or uint8."""
        if keras.backend.standardize_dtype(inputs.dtype) == "uint8":
            inputs = keras.ops.cast(inputs, "float32") / 255.0
        return super().call(inputs, training=training, mask=mask)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Keras' `compile`, with a warning about XLA on a CPU."""
        warn_of_xla(kwargs.get("jit_compile"))
        super().compile(*args, **kwargs)

    @property
    def images_at_a_time(self) -> int:
        """How many images are to be encoded in one call, so that the memory of the network is bounded."""
        size = self.prepare.size or max(self._image_shape[:2], key=lambda edge: edge or 0) or 224
        count = max(1, min(_MOST_AT_A_TIME, _PIXELS // size**2))
        return count - count % 16 if count > 16 else count

    def with_head(self, head: keras.Layer) -> PretrainedEncoder:
        """The same network, not a copy, with a layer after its embeddings and after an earlier head."""
        if self.head is not None:
            head = keras.Sequential([keras.Input(self.head.input_shape[1:]), self.head, head])
        return PretrainedEncoder(
            self.backbone, self.prepare.preprocessing, self._image_shape, self.prepare.size, head
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes; what is frozen is in those of the layers."""
        preprocessing = self.prepare.get_config()["preprocessing"]
        return {
            "name": self.name,
            "trainable": self.trainable,
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "preprocessing": preprocessing,
            "image_shape": list(self._image_shape),
            "network_size": self.prepare.size,
            "head": None if self.head is None else keras.saving.serialize_keras_object(self.head),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> PretrainedEncoder:
        """Builds the encoder that `get_config` described, with other weights."""
        config = dict(config)
        trainable = config.pop("trainable", True)
        for name in ("backbone", "preprocessing", "head"):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        encoder = cls(**{**config, "image_shape": tuple(config["image_shape"])})
        if not trainable:
            encoder.trainable = False
        return encoder


def warn_of_xla(jit_compile: Any) -> None:
    """Warns where XLA is asked for on a machine without a GPU, where it makes these networks far slower."""
    import tensorflow as tf

    if jit_compile is True and not tf.config.list_physical_devices("GPU"):
        warnings.warn(
            "jit_compile=True makes a pretrained network about 36 times slower on a CPU "
            "(EfficientNet-Lite0: 209 instead of 6 ms an image): leave it out, or use jit_compile='auto'",
            stacklevel=3,
        )


def _pooled(features: Any, backbone: keras.Layer) -> Any:
    """Embeddings [B, D] of what a network returns; those of several outputs side by side.

    Each of several has the length 1: otherwise those of the layer with the largest activations alone decide.
    Of rectified ones the root is taken first, so that few large activations do not hide the others: the power
    normalisation of Perronnin, Sanchez and Mensink, "Improving the Fisher kernel for large-scale image
    classification" (2010).
    """
    if isinstance(features, (list, tuple)):
        parts = []
        for part, output in zip(features, backbone.outputs, strict=True):
            embedding = _of_one(part, backbone)
            if _is_rectified(output):
                # The derivative of the root at 0 is infinite.
                embedding = keras.ops.sqrt(keras.ops.maximum(embedding, _LEAST_ACTIVATION))
            parts.append(keras.layers.UnitNormalization()(embedding))
        return keras.layers.Concatenate(name="taps")(parts)
    return _of_one(features, backbone)


def _is_rectified(output: Any) -> bool:
    """Whether an output of a functional model is that of a ReLU."""
    layer = output._keras_history.operation
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    return isinstance(layer, keras.layers.ReLU) or activation in ("relu", "relu6")


def _of_one(features: Any, backbone: keras.Layer) -> Any:
    shape = getattr(features, "shape", None)
    if shape is None or len(shape) not in (2, 3, 4):
        described = sorted(features) if isinstance(features, dict) else type(features).__name__
        raise ArgumentError(
            "network",
            "must return a feature map [B, h, w, D], tokens [B, n, D], embeddings [B, D], or a list of such",
            described=f"{backbone.name!r} with {described if shape is None else list(shape)}",
        )
    pools = {3: keras.layers.GlobalAveragePooling1D, 4: keras.layers.GlobalAveragePooling2D}
    return pools[len(shape)]()(features) if len(shape) in pools else features


def _through(head: keras.Layer, embeddings: Any) -> Any:
    """The head of the embeddings, for which an embedding may be an image of one pixel."""
    shape = getattr(head, "input_shape", None)
    if isinstance(shape, tuple) and len(shape) == 4:
        embeddings = keras.layers.Reshape((1, 1, embeddings.shape[-1]), name="pixel")(embeddings)
    return head(embeddings)
