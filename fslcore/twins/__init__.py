# SPDX-License-Identifier: MIT
"""The ops of `fslcore.ops` in plain TensorFlow. They need no compiled library.

The twins define what the compiled ops compute, and tests compare the two. They also do what the ops cannot:
they can be differentiated more than once, and they run on any device. Where there is a GPU,
`fslcore.layers.ConvBlock` and the inner loops of the learners use `conv_block` and `adam_step` from here.

Arguments and results are those of the ops, except that a triplet loss is returned alone. Everything works in
eager mode, in `tf.function` and under `jit_compile=True`; inputs are cast to float32.
"""

from fslcore.distance_matrix import (
    triplet_hard_of_distances,
    triplet_loss_of_distances,
    triplet_semihard_of_distances,
)
from fslcore.twins.adam import AdamStepResult, adam_step
from fslcore.twins.convolution import ConvBlockResult, conv_block
from fslcore.twins.norms import norms_of_pairs, pairwise_norms
from fslcore.twins.pairwise import pairwise
from fslcore.twins.reductions import pair_reductions, pair_sums
from fslcore.twins.rows import metric_of_rows
from fslcore.twins.search import nearest, values_of_nearest
from fslcore.twins.triplets import (
    distances_of_triplets,
    loss_of_triplets,
    mine_hard,
    mine_semihard,
    mine_triplets,
    triplet_hard,
    triplet_loss,
    triplet_semihard,
)
from fslcore.twins.warp import affine_images, gather_affine

__all__ = [
    "AdamStepResult",
    "ConvBlockResult",
    "adam_step",
    "affine_images",
    "conv_block",
    "distances_of_triplets",
    "gather_affine",
    "loss_of_triplets",
    "metric_of_rows",
    "mine_hard",
    "mine_semihard",
    "mine_triplets",
    "nearest",
    "norms_of_pairs",
    "pair_reductions",
    "pair_sums",
    "pairwise",
    "pairwise_norms",
    "triplet_hard",
    "triplet_hard_of_distances",
    "triplet_loss",
    "triplet_loss_of_distances",
    "triplet_semihard",
    "triplet_semihard_of_distances",
    "values_of_nearest",
]
