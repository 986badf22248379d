# SPDX-License-Identifier: MIT
"""The compiled kernels on NumPy arrays. This package does not import TensorFlow.

Arrays are converted to what the kernels take: float32 or an integer type, C-contiguous. Results are new
arrays. `num_threads()` threads share the work with the GIL released; the bits of the results do not depend on
their number.
"""

from fslcore.arguments import (
    AFFINE_PARAMETERS,
    METRICS,
    MININGS,
    MIXED_NORMS,
    NORMS,
    SEARCH_METRICS,
    TRIPLET_METRICS,
)
from fslcore.kernels.episodes import Classes, group_labels, permutations, sample_episodes
from fslcore.kernels.images import gather_images
from fslcore.kernels.norms import pairwise_norms, pairwise_norms_grad
from fslcore.kernels.pairwise import pairwise, pairwise_grad
from fslcore.kernels.reductions import pair_reductions, pair_reductions_grad, pair_sums
from fslcore.kernels.search import nearest
from fslcore.kernels.settings import num_threads, set_num_threads, simd_level
from fslcore.kernels.triplets import (
    mine_hard,
    mine_semihard,
    mine_triplets,
    triplet_hard,
    triplet_loss,
    triplet_semihard,
)
from fslcore.kernels.warp import affine_images, affine_transforms, gather_affine
from fslcore.pair_terms import NO_LABEL, PAIR_METRICS, PairReductions, PairSums, PairTerm
from fslcore.results import NearestResult, NormsGradient, TripletResult

__all__ = [
    "AFFINE_PARAMETERS",
    "METRICS",
    "MININGS",
    "MIXED_NORMS",
    "NORMS",
    "NO_LABEL",
    "PAIR_METRICS",
    "SEARCH_METRICS",
    "TRIPLET_METRICS",
    "Classes",
    "NearestResult",
    "NormsGradient",
    "PairReductions",
    "PairSums",
    "PairTerm",
    "TripletResult",
    "affine_images",
    "affine_transforms",
    "gather_affine",
    "gather_images",
    "group_labels",
    "mine_hard",
    "mine_semihard",
    "mine_triplets",
    "nearest",
    "num_threads",
    "pair_reductions",
    "pair_reductions_grad",
    "pair_sums",
    "pairwise",
    "pairwise_grad",
    "pairwise_norms",
    "pairwise_norms_grad",
    "permutations",
    "sample_episodes",
    "set_num_threads",
    "simd_level",
    "triplet_hard",
    "triplet_loss",
    "triplet_semihard",
]
