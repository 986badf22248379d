# SPDX-License-Identifier: MIT
"""Encoders that have seen the photographs of ImageNet.

encoder       a network with its preprocessing inside: images in, embeddings out
preparing     the preprocessing
lite          EfficientNet-Lite0
torch_file    its weights, read without PyTorch
applications  the networks of keras.applications
loading       any of them by its name
"""

from fslcore.encoders.imagenet.encoder import BACKBONE, PretrainedEncoder, warn_of_xla
from fslcore.encoders.imagenet.loading import pretrained, pretrained_names
from fslcore.encoders.imagenet.preparing import PretrainedInput

__all__ = [
    "BACKBONE",
    "PretrainedEncoder",
    "PretrainedInput",
    "pretrained",
    "pretrained_names",
    "warn_of_xla",
]
