# SPDX-License-Identifier: MIT
"""Encoders of the few-shot literature: images [batch, height, width, channels] to embeddings [batch, dim].

Each function returns a keras.Sequential, to train alone or to put before a `fslcore.layers.GramMatrix`.
`adversarial` holds the networks of `MetaGAN`.
"""

from fslcore import _backend as _backend
from fslcore.encoders import adversarial
from fslcore.encoders.basic import BasicCNN
from fslcore.encoders.embedding import embed_store
from fslcore.encoders.heads import linear_head, pca_head, with_head
from fslcore.encoders.imagenet import PretrainedEncoder, pretrained, pretrained_names
from fslcore.encoders.koch import KochNet
from fslcore.encoders.vinyals import VinyalsNet, conv4, conv4_classifier

__all__ = [
    "BasicCNN",
    "KochNet",
    "PretrainedEncoder",
    "VinyalsNet",
    "adversarial",
    "conv4",
    "conv4_classifier",
    "embed_store",
    "linear_head",
    "pca_head",
    "pretrained",
    "pretrained_names",
    "with_head",
]
