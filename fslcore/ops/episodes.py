# SPDX-License-Identifier: MIT
"""Sampling: N-way K-shot episodes, and permutations."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.arguments import check_episode_counts, check_permutations
from fslcore.ops._library import raw_ops
from fslcore.ops._tensors import labels_of_batch, whole_number

Tensor = Any


def sample_episodes(
    labels: Tensor,
    n_way: int,
    k_shot: int,
    n_query: int,
    episodes: int,
    seed: Tensor | int,
    first_episode: Tensor | int = 0,
) -> Tensor:
    """N-way K-shot episodes; see `fslcore.kernels.sample_episodes`.

    Args:
        labels: Integers [N], one per image.
        n_way: Classes per episode, a Python integer like the next three.
        k_shot: Support samples per class.
        n_query: Query samples per class.
        episodes: How many episodes.
        seed: At least 0; may be a tensor.
        first_episode: The number of the first episode; may be a tensor.

    Returns:
        int32 [episodes, n_way, k_shot + n_query], positions in `labels`. On a GPU wrong values raise no
        error: all positions are -1 if there are too few classes or samples, or a number is negative.
    """
    n_way, k_shot, n_query, episodes = check_episode_counts(n_way, k_shot, n_query, episodes)
    return raw_ops.fslcore_sample_episodes(
        labels=labels_of_batch(labels),
        seed=whole_number("seed", seed),
        first_episode=whole_number("first_episode", first_episode),
        n_way=n_way,
        k_shot=k_shot,
        n_query=n_query,
        episodes=episodes,
    )


def permutations(n: int, count: int, seed: Tensor | int, first: Tensor | int = 0) -> Tensor:
    """Uniform random permutations; see `fslcore.kernels.permutations`. There is no GPU kernel.

    Args:
        n: Length of a permutation, a Python integer.
        count: How many permutations, a Python integer.
        seed: At least 0; may be a tensor.
        first: The number of the first permutation; may be a tensor.

    Returns:
        int32 [count, n].
    """
    n, count = check_permutations(n, count)
    return raw_ops.fslcore_permutations(
        seed=whole_number("seed", seed), first=whole_number("first", first), n=n, count=count
    )


for _op in ("FslcoreSampleEpisodes", "FslcorePermutations"):
    tf.no_gradient(_op)
