# SPDX-License-Identifier: MIT
"""Random draws: episodes and permutations."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fslcore.arguments import check_episode_counts, check_permutations
from fslcore.jax.handlers import Array, call, integers, number


def sample_episodes(
    labels: Array,
    n_way: int,
    k_shot: int,
    n_query: int,
    episodes: int,
    seed: Array | int,
    first_episode: Array | int = 0,
) -> Array:
    """N-way K-shot episodes; see `fslcore.kernels.sample_episodes`.

    Args:
        labels: Integers [N], one per image.
        n_way: Classes per episode, a Python integer like the next three.
        k_shot: Support samples per class.
        n_query: Query samples per class.
        episodes: How many episodes.
        seed: At least 0; may be an array.
        first_episode: The number of the first episode; may be an array.

    Returns:
        int32 [episodes, n_way, k_shot + n_query], positions in `labels`.
    """
    n_way, k_shot, n_query, episodes = check_episode_counts(n_way, k_shot, n_query, episodes)
    result = jax.ShapeDtypeStruct((episodes, n_way, k_shot + n_query), jnp.int32)
    numbers = number("seed", seed), number("first_episode", first_episode)
    counts = {"n_way": n_way, "k_shot": k_shot, "n_query": n_query, "episodes": episodes}
    return call("sample_episodes", result, integers("labels", labels, 1), *numbers, **counts)


def permutations(n: int, count: int, seed: Array | int, first: Array | int = 0) -> Array:
    """Uniform random permutations; see `fslcore.kernels.permutations`. On the CPU only.

    Args:
        n: The length of each, a Python integer.
        count: How many permutations, a Python integer.
        seed: At least 0; may be an array.
        first: The number of the first permutation; may be an array.

    Returns:
        int32 [count, n].
    """
    n, count = check_permutations(n, count)
    result = jax.ShapeDtypeStruct((count, n), jnp.int32)
    numbers = number("seed", seed), number("first", first)
    return call("permutations", result, *numbers, n=n, count=count)
