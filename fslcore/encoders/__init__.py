# SPDX-License-Identifier: MIT
"""Encoders of the few-shot literature: images [batch, height, width, channels] to embeddings [batch, dim].

Each function returns a Keras model, to train alone or to put before a `fslcore.layers.GramMatrix`; `build`
and `build_classifier` take the name of a network. `adversarial` holds the networks of `MetaGAN`.
"""

from fslcore import _backend as _backend
from fslcore.encoders import adversarial
from fslcore.encoders.basic import BasicCNN
from fslcore.encoders.by_name import build, build_classifier, check_name, is_pretrained
from fslcore.encoders.darknet import Darknet7, Darknet53
from fslcore.encoders.embedding import embed_store
from fslcore.encoders.headed import HeadedEncoder
from fslcore.encoders.heads import linear_head, pca_head, whitening_head, with_head
from fslcore.encoders.imagenet import PretrainedEncoder, pretrained, pretrained_names
from fslcore.encoders.koch import KochNet
from fslcore.encoders.programs import CifarCNN, MnistCNN, ReptileNet, SingleConv2D
from fslcore.encoders.resnet12 import resnet12
from fslcore.encoders.vinyals import VinyalsNet, conv4, conv4_classifier
from fslcore.encoders.wide_resnet import wide_resnet

__all__ = [
    "BasicCNN",
    "CifarCNN",
    "Darknet7",
    "Darknet53",
    "HeadedEncoder",
    "KochNet",
    "MnistCNN",
    "PretrainedEncoder",
    "ReptileNet",
    "SingleConv2D",
    "VinyalsNet",
    "adversarial",
    "build",
    "build_classifier",
    "check_name",
    "conv4",
    "conv4_classifier",
    "embed_store",
    "is_pretrained",
    "linear_head",
    "pca_head",
    "pretrained",
    "pretrained_names",
    "resnet12",
    "whitening_head",
    "wide_resnet",
    "with_head",
]
