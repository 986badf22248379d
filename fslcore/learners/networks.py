# SPDX-License-Identifier: MIT
"""Checks of networks, and of images and stores against the networks that are to take them."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_int64
from fslcore.data import ImageStore
from fslcore.layers import FusedBatchNormalization


def is_known(shape: Any, rank: int) -> bool:
    """Whether a shape has this rank, and no unknown size except the batch."""
    return isinstance(shape, tuple) and len(shape) == rank and None not in shape[1:]


def embedding_width(encoder: keras.Layer) -> int | None:
    """D of the embeddings `[B, D]`; None for an encoder whose shape is unknown until it is called."""
    shape = getattr(encoder, "output_shape", None)
    return None if shape is None or None in shape[1:] else math.prod(shape[1:])


def image_signature(network: keras.Layer) -> list[keras.layers.InputSpec]:
    """What `keras.Model.export` needs to know of a learner: that it is called on images `[B, H, W, C]`.

    Raises:
        ArgumentError: the network does not say which shape its images have.
    """
    shape = getattr(network, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise ArgumentError(
            "input_signature",
            f"must be given for the network {network.name!r}, whose input shape is unknown",
            None,
        )
    return [keras.layers.InputSpec(shape=(None, *shape[1:]), dtype=network.input_dtype)]


def random_variables(layer: keras.Layer) -> list[Any]:
    """The seeds of the layer's random generators: empty if nothing in it is random in training mode."""
    weights = {id(weight) for weight in layer.weights}
    return [variable for variable in layer.variables if id(variable) not in weights]


def check_at_least(least: int, **sizes: int | None) -> None:
    """Raises ArgumentError for a size below `least`, or that is no whole number; None is no size."""
    for argument, value in sizes.items():
        if value is not None and as_int64(argument, value) < least:
            raise ArgumentError(argument, f"must be at least {least}", value)


def check_classifier(network: Any) -> None:
    """Raises ArgumentError unless it is a built model, images `[B, H, W, C]` -> logits `[B, n_way]`."""
    if not isinstance(network, keras.Model) or not network.built:
        raise ArgumentError("network", "must be a built Keras model", network)
    inputs, outputs = (getattr(network, f"{side}_shape", None) for side in ("input", "output"))
    if not is_known(inputs, 4) or not is_known(outputs, 2):
        raise ArgumentError(
            "network",
            "must map images of a known shape [B, H, W, C] to logits [B, n_way], "
            f"but maps {inputs} to {outputs}",
            network,
        )
    assert outputs is not None
    if outputs[-1] < 2:
        raise ArgumentError(
            "network",
            f"must tell at least 2 classes apart, but maps to {outputs[-1]} logits, whose loss is always 0",
            network,
        )
    check_weights("network", network)


def check_weights(argument: str, network: keras.Model) -> None:
    """Raises ArgumentError for trainable weights of half precision, in which small steps are lost."""
    for variable in network.trainable_variables:
        if keras.backend.standardize_dtype(variable.dtype) not in ("float32", "float64"):
            raise ArgumentError(
                argument,
                "must have float32 or float64 weights, as by the policies float32, float64, mixed_float16 or "
                f"mixed_bfloat16, but the weight {variable.path!r} is {variable.dtype}",
                network,
            )


def check_trainable(network: keras.Model) -> None:
    """Raises ArgumentError for a network all of whose layers are frozen: no step would change it."""
    if not network.trainable_variables:
        raise ArgumentError(
            "network", "must have a layer that can be trained, but all of them are frozen", network
        )


def weights_that_may_train(network: keras.Model) -> list[Any]:
    """Every weight that is trained unless its layer is frozen, in the order of `trainable_variables`."""
    may = {id(v) for layer in network._flatten_layers() for v in layer._trainable_variables}
    return [variable for variable in network.variables if id(variable) in may]


def check_store(store: ImageStore, network: keras.Model) -> None:
    """Raises ArgumentError unless it is a store, of images of the shape that the network takes."""
    if not isinstance(store, ImageStore):
        raise ArgumentError("store", "must be an ImageStore", described=type(store).__name__)
    shape = network.input_shape[1:]
    if store.image_shape != shape:
        raise ArgumentError(
            "store", f"must hold images {list(shape)} for this network", list(store.image_shape)
        )


def check_images(argument: str, images: tf.Tensor, network: keras.Model) -> None:
    """Raises ArgumentError unless they are `[n_way, images per class, H, W, C]` as the network takes them."""
    n_way, shape = network.output_shape[-1], network.input_shape[1:]
    if images.shape.rank == 5 and images.shape[1] == 0:
        raise ArgumentError(argument, "must have at least 1 image per class", list(images.shape))
    if images.shape.rank != 5 or images.shape[0] != n_way or tuple(images.shape[2:]) != shape:
        raise ArgumentError(
            argument,
            f"must be images [{n_way}, images per class, {', '.join(map(str, shape))}] for this network",
            list(images.shape),
        )


def check_same_episodes(**sets: tf.Tensor | None) -> None:
    """Raises ArgumentError unless all sets `[episodes, ...]` are of the same episodes, at least one."""
    episodes: int | None = None
    for argument, images in sets.items():
        if images is None:
            continue
        count = images.shape[0] if images.shape.rank else 0
        if count == 0:
            raise ArgumentError(argument, "must have at least 1 episode", list(images.shape))
        if None not in (count, episodes) and count != episodes:
            raise ArgumentError(
                argument, f"must be of the {episodes} episodes of the support", list(images.shape)
            )
        episodes = count


def check_transductive(network: keras.Model, normalization: str | None) -> None:
    """Raises ArgumentError unless the network can normalise by the statistics of a batch of queries."""
    if normalization is None:
        raise ArgumentError(
            "transductive",
            f"must be False for the network {network.name!r} without batch normalisation",
            True,
        )
    if random_variables(network):
        raise ArgumentError(
            "transductive",
            "must be False for a network that draws random numbers (Dropout, noise, augmentation) such as "
            f"{network.name!r}",
            True,
        )


def check_twice_differentiable(network: keras.Model, frozen: bool) -> None:
    """Raises ArgumentError for layers whose second derivative in TensorFlow is wrong without an error.

    They take their statistics from `tf.nn.moments`, which holds the mean constant inside the variance: this
    is right for the gradient, but not for the second derivative. `FusedBatchNormalization` does so too where
    it is not fused.

    Args:
        network: a built model.
        frozen: whether batch normalisation uses the moving averages.
    """
    for layer in network._flatten_layers():
        by_batch = isinstance(layer, keras.layers.BatchNormalization) and not frozen
        fused = isinstance(layer, FusedBatchNormalization) and layer.scale and layer.center
        by_image = isinstance(layer, (keras.layers.LayerNormalization, keras.layers.GroupNormalization))
        if by_image or (by_batch and not (fused and layer.input_spec.ndim == 4)):
            raise ArgumentError(
                "second_order",
                f"must be False for a network with the layer {layer.name!r} (the second derivative of "
                f"{type(layer).__name__} is wrong in TensorFlow; that of "
                "fslcore.layers.FusedBatchNormalization on images, with scale and center, is right)",
                True,
            )
