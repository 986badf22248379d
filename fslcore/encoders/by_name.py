# SPDX-License-Identifier: MIT
"""Encoders and classifiers by the name of their network, as a recipe or a command line gives it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence

import keras

from fslcore.arguments import ArgumentError
from fslcore.encoders.basic import BasicCNN
from fslcore.encoders.darknet import Darknet7, Darknet53
from fslcore.encoders.koch import KochNet
from fslcore.encoders.resnet12 import resnet12
from fslcore.encoders.vinyals import conv4, conv4_classifier
from fslcore.encoders.wide_resnet import wide_resnet

Shape = tuple[int, int, int]

# Those that begin with random weights; every other name is one of `pretrained`.
_FROM_SCRATCH: dict[str, Callable[[Shape], keras.Model]] = {
    "conv4": conv4,
    "resnet12": resnet12,
    "koch": lambda shape: KochNet(shape, variant="paper"),
    "wrn-28-10": wide_resnet,
    "basic-cnn": BasicCNN,
    "darknet7": lambda shape: Darknet7(shape, pooling="avg"),
    "darknet53": lambda shape: Darknet53(shape, pooling="avg"),
}

# Smaller images are enlarged for a pretrained network. Those of this size are taken as they are: at the size
# of its own training, a step on them would take three times as long.
_FINE_ENOUGH, _PUBLISHED = 128, 224


def is_pretrained(name: str) -> bool:
    """Whether a network has seen other images before, so that its name is one for `pretrained`."""
    return name not in _FROM_SCRATCH


def check_name(name: str) -> None:
    """Raises ArgumentError unless there is a network of this name; pretrained ones in any case."""
    if name in _FROM_SCRATCH:
        return
    from fslcore.encoders.imagenet import pretrained_names

    known = [*_FROM_SCRATCH, *pretrained_names()]
    first = ", ".join(known[: len(_FROM_SCRATCH) + 1])
    if _plain(name) not in map(_plain, pretrained_names()):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        raise ArgumentError(
            "encoder",
            f"must be one of {first}, or a network of keras.applications such as MobileNetV2"
            f"{f' (did you mean {near[0]}?)' if near else ''}",
            name,
        )


def build(
    name: str,
    image_shape: Shape,
    *,
    weights: str | os.PathLike[str] | None = "imagenet",
    precision: str = "float32",
    taps: Sequence[str] | str = (),
) -> keras.Model:
    """An encoder by its name.

    Args:
        name: "conv4", "resnet12", "koch", "wrn-28-10", "basic-cnn", "darknet7" or "darknet53", with random
            weights from Keras' global generator; or a name that `fslcore.encoders.pretrained` knows, such as
            "efficientnet-lite0" or "MobileNetV2".
        image_shape: (height, width, channels) of the images.
        weights: For a pretrained network, "imagenet" or the path of a file; None: random ones, to be read
            from elsewhere. The others do not use it.
        precision: Of the convolutions of conv4 in training: "float32" or "bfloat16"; "float32" for others.
        taps: For a pretrained network, as for `fslcore.encoders.pretrained`; none for others.

    Returns:
        A built model, float images [batch, height, width, channels] of 0..1 -> embeddings [batch, dim]. A
        pretrained one is frozen.

    Raises:
        ArgumentError: There is no such network, the images are too small for it, or it has no such precision
            or taps.

    Example:
        >>> build("resnet12", (84, 84, 3)).output_shape
        (None, 640)
    """
    check_name(name)
    _check_precision(name, precision)
    if name in _FROM_SCRATCH and taps:
        raise ArgumentError("taps", f"must be none for the network {name}, which is not pretrained", taps)
    if name == "conv4":
        return conv4(image_shape, precision=precision)
    if name in _FROM_SCRATCH:
        return _FROM_SCRATCH[name](image_shape)
    return pretrained_encoder(name, image_shape, weights, taps)


def build_classifier(
    name: str,
    n_way: int,
    image_shape: Shape,
    *,
    weights: str | os.PathLike[str] | None = "imagenet",
    precision: str = "float32",
) -> keras.Model:
    """A classifier by the name of its network: an encoder of `build` and a linear layer.

    "conv4" is `conv4_classifier`, whose convolutions have stride 2. All weights of a pretrained network are
    trainable here: learners that are fitted to a task change them.

    Args:
        name: As for `build`.
        n_way: Number of classes.
        image_shape: As for `build`.
        weights: As for `build`.
        precision: As for `build`.

    Returns:
        A built model, images [batch, height, width, channels] -> logits [batch, n_way].

    Raises:
        ArgumentError: As for `build`.
    """
    _check_precision(name, precision)
    if name == "conv4":
        return conv4_classifier(n_way, image_shape, precision=precision)
    encoder = build(name, image_shape, weights=weights)
    encoder.trainable = True
    stack = [keras.Input(image_shape), encoder, keras.layers.Dense(n_way)]
    return keras.Sequential(stack, name=f"{encoder.name}_classifier")


def pretrained_encoder(
    name: str,
    image_shape: Shape,
    weights: str | os.PathLike[str] | None,
    taps: Sequence[str] | str = (),
) -> keras.Model:
    """`pretrained` for images of a shape, which must be square."""
    from fslcore.encoders.imagenet import pretrained

    height, width, channels = image_shape
    if height != width:
        raise ArgumentError("image_shape", f"must be square for the network {name}", image_shape)
    size = height if _FINE_ENOUGH <= height <= _PUBLISHED else None
    return pretrained(name, height, weights, channels=channels, network_size=size, taps=taps)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _check_precision(name: str, precision: str) -> None:
    if precision != "float32" and name != "conv4":
        raise ArgumentError("precision", f"must be float32 for the network {name}", precision)
