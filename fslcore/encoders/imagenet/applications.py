# SPDX-License-Identifier: MIT
"""The networks of keras.applications, by name, with the preprocessing of their family."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import keras

from fslcore.arguments import ArgumentError

# Height and width of the images that the weights were trained on, where they are not 224.
_SIZES = {
    "EfficientNetB1": 240,
    "EfficientNetB2": 260,
    "EfficientNetB3": 300,
    "EfficientNetB4": 380,
    "EfficientNetB5": 456,
    "EfficientNetB6": 528,
    "EfficientNetB7": 600,
    "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260,
    "EfficientNetV2B3": 300,
    "EfficientNetV2L": 480,
    "EfficientNetV2M": 480,
    "EfficientNetV2S": 384,
    "InceptionResNetV2": 299,
    "InceptionV3": 299,
    "NASNetLarge": 331,
    "Xception": 299,
}
_FAMILIES = {"MobileNetV3Large": "mobilenet_v3", "MobileNetV3Small": "mobilenet_v3"}


@functools.cache
def names() -> tuple[str, ...]:
    """The names of the networks, as Keras spells them."""
    return tuple(sorted(name for name in dir(keras.applications) if name[0].isupper()))


def spelt(name: str) -> str | None:
    """The name as Keras spells it, whatever the case and the hyphens; None if there is no such network."""
    plain = name.replace("-", "").replace("_", "").lower()
    return next((known for known in names() if known.lower() == plain), None)


def family(name: str) -> str:
    """The module of keras.applications that has a network and its `preprocess_input`."""
    if name in _FAMILIES:
        return _FAMILIES[name]
    modules = [module for module in dir(keras.applications) if not module.startswith("_")]
    return next(
        module
        for module in modules
        if hasattr(getattr(keras.applications, module), name)
        and hasattr(getattr(keras.applications, module), "preprocess_input")
    )


def published_size(name: str) -> int:
    """The height and width of the images that a network was trained on."""
    return _SIZES.get(name, 224)


def build(name: str, size: int, weights: str | os.PathLike[str] | None) -> keras.Model:
    """A network without its classifier, prepared images `[B, size, size, 3]` -> a feature map.

    Args:
        name: As Keras spells it.
        size: Height and width of the prepared images.
        weights: "imagenet", which Keras downloads once; the path of a file of weights of the network, with
            its classifier or without; None for random ones.

    Raises:
        ArgumentError: The images are too small, the download fails, or the file does not fit.
    """
    at_once = weights if weights is None or weights == "imagenet" else None
    try:
        network = getattr(keras.applications, name)(
            include_top=False, weights=at_once, input_shape=(size, size, 3)
        )
    except ValueError as error:
        raise ArgumentError(
            "network_size", f"must be one that {name} takes ({_first_line(error)})", size
        ) from error
    except Exception as error:
        if at_once is None:
            raise
        raise ArgumentError(
            "weights",
            f"must be the path of a file where the weights of {name} cannot be downloaded",
            weights,
            described=f"{weights!r}: {_first_line(error)}",
        ) from error
    if weights is not None and at_once is None:
        load(network, name, Path(os.fspath(weights)))
    return network


def load(network: keras.Model, name: str, path: Path) -> None:
    """Reads a file of weights into a network; of keras.applications, the file may hold the classifier too.

    Raises:
        ArgumentError: There is no such file, or it does not fit.
    """
    if not path.is_file():
        raise ArgumentError(
            "weights", "must be 'imagenet', None or the path of a file", str(path), described=f"{path}"
        )
    failures: list[Exception] = []
    for include_top in (False, True) if name in names() else (False,):
        whole: Any = network
        try:
            if include_top:
                whole = getattr(keras.applications, name)(weights=None)
            whole.load_weights(path)
        except Exception as error:  # HDF5, Keras and zip files raise errors of many types
            failures.append(error)
            continue
        if include_top:
            count = len(network.weights)
            network.set_weights([variable.numpy() for variable in whole.weights[:count]])
        return
    raise ArgumentError(
        "weights",
        f"must be a file of the weights of {name}",
        str(path),
        described=f"{path}: {_first_line(failures[0])}",
    ) from failures[0]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()[:300]
