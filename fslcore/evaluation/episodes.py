# SPDX-License-Identifier: MIT
"""The episodes of an evaluation: how they are drawn from a store, and how their scores become a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore import kernels
from fslcore.arguments import ArgumentError, as_int64, check_at_least
from fslcore.data import EmbeddingStore, ImageStore
from fslcore.evaluation.report import Report, mean_and_ci95

# Drawn at a time: their tables take a few hundred kB, however many episodes there are.
_CHUNK = 1000


@dataclasses.dataclass(frozen=True)
class Episodes:
    """Episodes 0, 1, ... of a seed.

    Attributes:
        store: the images, or their embeddings.
        n_way: classes of an episode.
        k_shot: labelled examples per class.
        n_query: queries per class.
        n_unlabelled: further images per class.
        episodes: number of episodes.
        seed: the seed that they are drawn from.
        transductive: whether the images of an episode are to be normalised together.

    Raises:
        ArgumentError: an argument is out of range, or the store has too few classes or images.
    """

    store: ImageStore | EmbeddingStore
    n_way: int
    k_shot: int
    n_query: int
    n_unlabelled: int
    episodes: int
    seed: int
    transductive: bool = False

    def __post_init__(self) -> None:
        least = {"n_way": 2, "k_shot": 1, "n_query": 1, "n_unlabelled": 0, "episodes": 1, "seed": 0}
        for argument, smallest in least.items():
            check_whole_number(argument, getattr(self, argument), smallest)
        _check_store(self)

    def tables(self, at_a_time: int = 1) -> Iterator[npt.NDArray[np.int32]]:
        """Row numbers of the images, int32 `[at_a_time, n_way, k_shot + n_query + n_unlabelled]`."""
        classes = kernels.group_labels(self.store.labels)
        others = self.n_query + self.n_unlabelled
        chunk = at_a_time * max(1, _CHUNK // at_a_time)
        for first in range(0, self.episodes, chunk):
            count = min(chunk, self.episodes - first)
            drawn = kernels.sample_episodes(
                classes, self.n_way, self.k_shot, others, count, self.seed, first_episode=first
            )
            yield from (drawn[i : i + at_a_time] for i in range(0, count, at_a_time))

    def report(self, learner: Any, scores: Iterable[Any]) -> Report:
        """The report on the scores `[n_way * n_query, n_way]` of each episode."""
        right = (_accuracy(np.asarray(values), self.n_way) for values in scores)
        accuracies = np.fromiter(right, float, self.episodes)
        accuracy, ci95 = mean_and_ci95(accuracies)
        return Report(
            accuracy=accuracy,
            ci95=ci95,
            n_way=self.n_way,
            k_shot=self.k_shot,
            n_query=self.n_query,
            episodes=self.episodes,
            seed=self.seed,
            transductive=self.transductive,
            split_hash=self.store.content_hash,
            dataset=self.store.name,
            learner=type(learner).__name__,
            episode_accuracies=accuracies,
            n_unlabelled=self.n_unlabelled,
        )


def _accuracy(scores: npt.NDArray[Any], n_way: int) -> float:
    """Mean credit of the queries: scores `[n_way * n_query, n_way]`, queries class by class."""
    if scores.ndim != 2 or scores.shape[1] != n_way or len(scores) % n_way:
        raise ValueError(
            f"class_scores must return one row per query and {n_way} columns, received {scores.shape}"
        )
    # The maximum of a row with a NaN is NaN, which equals nothing: no credit.
    best = scores == scores.max(axis=1, keepdims=True)
    right = best[np.arange(len(scores)), np.repeat(np.arange(n_way), len(scores) // n_way)]
    return float(np.mean(right / np.maximum(best.sum(axis=1), 1)))


def check_whole_number(argument: str, value: Any, least: int) -> None:
    """Raises ArgumentError unless the value is an integer of at least `least`; bool is no integer here."""
    if isinstance(value, bool):
        raise ArgumentError(argument, "must be a whole number", value)
    check_at_least(argument, as_int64(argument, value), least)


def _check_store(drawn: Episodes) -> None:
    """Raises ArgumentError unless the store has the classes and images of an episode."""
    store, n_query, n_unlabelled = drawn.store, drawn.n_query, drawn.n_unlabelled
    if not isinstance(store, ImageStore | EmbeddingStore):
        raise ArgumentError("store", "must be an ImageStore", described=type(store).__name__)
    if drawn.n_way > store.n_classes:
        raise ArgumentError(
            "n_way", f"must be at most {store.n_classes}, the number of classes of {store!r}", drawn.n_way
        )
    images, smallest = drawn.k_shot + n_query + n_unlabelled, int(store.images_per_class.min())
    if images > smallest:
        name = store.class_names[int(store.images_per_class.argmin())]
        raise ArgumentError(
            "k_shot",
            f"must be at most {smallest - n_query - n_unlabelled} with `n_query`={n_query} and "
            f"`n_unlabelled`={n_unlabelled}: the class {name!r} of {store!r} has {smallest} images (classes "
            f"that are too small can be left out with .with_min_images({images}))",
            drawn.k_shot,
        )
