# SPDX-License-Identifier: MIT
"""The compiled kernels as TensorFlow ops: differentiable, in eager mode, in `tf.function` and inside XLA.

The functions have the names, arguments and meaning of `fslcore.kernels`, on tensors. `adam_step`,
`conv_block` and `fit_classifiers` exist only here. Inputs of another floating type are cast to float32, and
results are float32.

First-order gradients are compiled. `adam_step`, `nearest` and the loss of triplets can be differentiated
again, by their plain TensorFlow twins in `fslcore.twins`; a second derivative of another op is a LookupError,
and so is any derivative of `fit_classifiers`, which does not run inside XLA either.

Wrong arguments are a ValueError as soon as they are known, else a `tf.errors.InvalidArgumentError` with the
same message.
"""

from fslcore import twins as reference  # the earlier name of the twins
from fslcore.arguments import PRECISIONS
from fslcore.ops._library import native_libraries
from fslcore.ops.adam import adam_step
from fslcore.ops.convolution import conv_block
from fslcore.ops.episodes import permutations, sample_episodes
from fslcore.ops.fitting import AdamOptions, FitBlock, FitResult, fit_classifiers
from fslcore.ops.images import gather_images
from fslcore.ops.norms import pairwise_norms, pairwise_norms_grad
from fslcore.ops.pair_sums import pair_sums
from fslcore.ops.pairwise import pairwise, pairwise_grad
from fslcore.ops.reductions import pair_reductions, pair_reductions_grad
from fslcore.ops.search import nearest
from fslcore.ops.triplets import (
    mine_hard,
    mine_semihard,
    mine_triplets,
    triplet_hard,
    triplet_loss,
    triplet_semihard,
)
from fslcore.ops.warp import affine_images, affine_transforms, gather_affine
from fslcore.pair_terms import PairReductions, PairSums, PairTerm
from fslcore.results import NearestResult, NormsGradient, TripletResult
from fslcore.twins import AdamStepResult, ConvBlockResult

__all__ = [
    "PRECISIONS",
    "AdamOptions",
    "AdamStepResult",
    "ConvBlockResult",
    "FitBlock",
    "FitResult",
    "NearestResult",
    "NormsGradient",
    "PairReductions",
    "PairSums",
    "PairTerm",
    "TripletResult",
    "adam_step",
    "affine_images",
    "affine_transforms",
    "conv_block",
    "fit_classifiers",
    "gather_affine",
    "gather_images",
    "mine_hard",
    "mine_semihard",
    "mine_triplets",
    "native_libraries",
    "nearest",
    "pair_reductions",
    "pair_reductions_grad",
    "pair_sums",
    "pairwise",
    "pairwise_grad",
    "pairwise_norms",
    "pairwise_norms_grad",
    "permutations",
    "reference",
    "sample_episodes",
    "triplet_hard",
    "triplet_loss",
    "triplet_semihard",
]
