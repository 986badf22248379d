# SPDX-License-Identifier: MIT
"""Keras layers: scores of embeddings, and building blocks of encoders.

    GramMatrix                  every sample of a batch with every other one
    CentroidsMatrix             every sample with the mean of each class of the batch
    DenseSigmoid                a pair of embeddings: the trainable kernel of Koch et al. (2015)
    LearntNorms                 a pair of embeddings: a network of two inputs for every coordinate
    MixedNorms                  a pair of embeddings: a network on several norms of every coordinate
    PairFunction                a pair of embeddings: a registered function
    ConvBlock                   convolution, batch normalisation, ReLU and pooling in one op
    FusedBatchNormalization     batch normalisation by TensorFlow's fused kernel
    CentredPCA                  embeddings centred, projected and normalised, without training
    WithinClassWhitening        embeddings of which that counts less which varies within classes
    Standardization             embeddings with coordinates of one mean and deviation
    DropBlock                   dropout of squares of pixels
    UpsampledConv2D             upsampling and convolution in sub-pixel form

The kernel of the first two is the name of a metric of `fslcore.kernels.METRICS`, "cosine_similarity", that is
(1 + cosine) / 2, "DenseSigmoid", "LearntNorms" or "MixedNorms", a mapping {"name": ..., "init": {...}} with
arguments for one of these three, a registered function of two [pairs, dim], or any Keras layer that is called
on a list of two [pairs, dim] and returns [pairs, 1] or [pairs]. The named ones are compiled. A function or
layer of your own is evaluated a block of rows at a time (`row_blocks`), so that its memory stays bounded,
forward and backward.

Whatever the policy of the model, these two cast inputs to float32, and their scores are float32. A kernel
layer of your own keeps its own policy.
"""

from fslcore import _backend as _backend
from fslcore.layers.centroids import CentroidsMatrix
from fslcore.layers.convolution import ConvBlock
from fslcore.layers.drop_block import DropBlock
from fslcore.layers.gram import GramMatrix
from fslcore.layers.heads import DenseSigmoid, PairFunction
from fslcore.layers.normalization import FusedBatchNormalization
from fslcore.layers.norms import LearntNorms, MixedNorms
from fslcore.layers.upsampling import UpsampledConv2D
from fslcore.layers.whitening import CentredPCA, Standardization, WithinClassWhitening

__all__ = [
    "CentredPCA",
    "CentroidsMatrix",
    "ConvBlock",
    "DenseSigmoid",
    "DropBlock",
    "FusedBatchNormalization",
    "GramMatrix",
    "LearntNorms",
    "MixedNorms",
    "PairFunction",
    "Standardization",
    "UpsampledConv2D",
    "WithinClassWhitening",
]
