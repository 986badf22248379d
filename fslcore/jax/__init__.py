# SPDX-License-Identifier: MIT
"""The compiled kernels as JAX functions, on CPUs and on NVIDIA GPUs. Needs no TensorFlow.

The functions have the names, arguments and meaning of `fslcore.kernels`, on JAX arrays, also inside
`jax.jit`, `jax.grad` and loops. Inputs of another floating type are cast to float32. Labels, indices and
seeds are int64, so functions that take them need `jax.config.update("jax_enable_x64", True)`.

Errors are ValueError where Python sees what is wrong, else JAX's error with the same message. On a
GPU, values out of range raise no error; the results are -1 for positions and NaN for images.

Gradients are of the first order; a second derivative raises NotImplementedError. `jax.vmap` calls the kernel
once for each element. fslcore/docs/jax.md says more.

The library is the one of the installed package. The environment variable FSLCORE_LIBRARY names another, such
as one that was built for JAX alone.
"""

try:
    import jax  # noqa: F401
except ImportError as error:
    raise ImportError("fslcore.jax needs JAX; install it with: pip install 'jax>=0.5'") from error

from fslcore.jax.episodes import permutations, sample_episodes
from fslcore.jax.handlers import platforms
from fslcore.jax.images import gather_images
from fslcore.jax.norms import pairwise_norms, pairwise_norms_grad
from fslcore.jax.pairwise import pairwise, pairwise_grad
from fslcore.jax.reductions import pair_reductions, pair_reductions_grad, pair_sums
from fslcore.jax.search import nearest
from fslcore.jax.triplets import (
    MinedTriplets,
    mine_hard,
    mine_semihard,
    mine_triplets,
    triplet_hard,
    triplet_loss,
    triplet_semihard,
)
from fslcore.jax.warp import affine_images, affine_transforms, gather_affine
from fslcore.pair_terms import PairReductions, PairTerm
from fslcore.results import NearestResult, NormsGradient, TripletResult

__all__ = [
    "MinedTriplets",
    "NearestResult",
    "NormsGradient",
    "PairReductions",
    "PairTerm",
    "TripletResult",
    "affine_images",
    "affine_transforms",
    "gather_affine",
    "gather_images",
    "mine_hard",
    "mine_semihard",
    "mine_triplets",
    "nearest",
    "pair_reductions",
    "pair_reductions_grad",
    "pair_sums",
    "pairwise",
    "pairwise_grad",
    "pairwise_norms",
    "pairwise_norms_grad",
    "permutations",
    "platforms",
    "sample_episodes",
    "triplet_hard",
    "triplet_loss",
    "triplet_semihard",
]
