# SPDX-License-Identifier: MIT
"""Random draws: episodes and permutations."""

from __future__ import annotations

import numpy.typing as npt

from fslcore import _core
from fslcore.arguments import as_int64, as_labels, check_episode_counts, check_permutations
from fslcore.kernels.types import IntArray

Classes = _core.Classes  # what group_labels returns


def group_labels(labels: npt.ArrayLike) -> Classes:
    """Groups labels by class; `sample_episodes` takes the result in place of the labels.

    For a store with many images this takes as long as drawing a hundred episodes, so it is worth doing once.

    Args:
        labels: Integers [N], one per image.

    Returns:
        The classes, which are the distinct labels in increasing order; `count` is their number. Later changes
        of `labels` do not change them.
    """
    return _core.Classes(as_labels(labels))


def sample_episodes(
    labels: npt.ArrayLike | Classes,
    n_way: int,
    k_shot: int,
    n_query: int,
    episodes: int,
    seed: int,
    first_episode: int = 0,
) -> IntArray:
    """N-way K-shot episodes, a pure function of (labels, seed, episode number).

    Each episode has `n_way` distinct classes and `k_shot + n_query` distinct samples of each, all drawn
    uniformly with Philox4x32-10 (Salmon et al., 2011): any episode can be drawn alone.

    Args:
        labels: Integers [N], one per image, or what `group_labels` made of them.
        n_way: Classes per episode.
        k_shot: Support samples per class, the first of the last axis.
        n_query: Query samples per class, the others; may be 0.
        episodes: How many episodes.
        seed: At least 0, below 2^63.
        first_episode: The number of the first episode.

    Returns:
        int32 [episodes, n_way, k_shot + n_query], positions in `labels`.

    Raises:
        ValueError: If there are fewer than `n_way` classes, or a class has fewer than `k_shot + n_query`.
    """
    n_way, k_shot, n_query, episodes = check_episode_counts(n_way, k_shot, n_query, episodes)
    numbers = as_int64("seed", seed), as_int64("first_episode", first_episode)
    counts = {"n_way": n_way, "k_shot": k_shot, "n_query": n_query, "episodes": episodes}
    if isinstance(labels, Classes):
        (indices,) = _core.sample_episodes_of(labels, *numbers, **counts)
    else:
        (indices,) = _core.sample_episodes(as_labels(labels), *numbers, **counts)
    return indices


def permutations(n: int, count: int, seed: int, first: int = 0) -> IntArray:
    """Uniform random permutations of 0..n-1, a pure function of (n, seed, number of the permutation).

    Permutation i is the images of episode i of `sample_episodes` that takes all `n` images of a single class:
    any permutation can be drawn alone.

    Args:
        n: The length of each, from 0 to 2^31 - 1.
        count: How many permutations.
        seed: At least 0, below 2^63.
        first: The number of the first permutation.

    Returns:
        int32 [count, n].

    Raises:
        ValueError: For a negative number.
    """
    n, count = check_permutations(n, count)
    (drawn,) = _core.permutations(as_int64("seed", seed), as_int64("first", first), n=n, count=count)
    return drawn
