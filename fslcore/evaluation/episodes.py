# SPDX-License-Identifier: MIT
"""The episodes of an evaluation: how they are drawn from a store, and how their scores become a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore import kernels
from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.evaluation.report import Report, mean_and_ci95


@dataclasses.dataclass(frozen=True)
class Episodes:
    """Episodes of a store, as tables of row numbers.

    Attributes:
        store: the images.
        tables: int32 `[episodes, n_way, k_shot + n_query + n_unlabelled]`.
        k_shot: labelled examples per class.
        n_query: queries per class.
        seed: the seed that they were drawn from.
        transductive: whether the images of an episode are to be normalised together.
    """

    store: ImageStore
    tables: npt.NDArray[np.int32]
    k_shot: int
    n_query: int
    seed: int
    transductive: bool = False

    @classmethod
    def draw(
        cls,
        store: ImageStore,
        n_way: int,
        k_shot: int,
        n_query: int,
        n_unlabelled: int,
        episodes: int,
        seed: int,
        transductive: bool = False,
    ) -> Episodes:
        """Draws the episodes 0, 1, ... of a seed; arguments as for `evaluate`.

        Raises:
            ArgumentError: an argument is out of range, or the store has too few classes or images.
        """
        _check(store, n_way, k_shot, n_query, n_unlabelled, episodes, seed)
        tables = kernels.sample_episodes(store.labels, n_way, k_shot, n_query + n_unlabelled, episodes, seed)
        return cls(store, tables, k_shot, n_query, seed, transductive)

    def report(self, learner: Any, scores: Iterable[Any]) -> Report:
        """The report on the scores `[n_way * n_query, n_way]` of each episode."""
        episodes, n_way, images = self.tables.shape
        accuracies = np.fromiter((_accuracy(np.asarray(values), n_way) for values in scores), float, episodes)
        accuracy, ci95 = mean_and_ci95(accuracies)
        return Report(
            accuracy=accuracy,
            ci95=ci95,
            n_way=n_way,
            k_shot=self.k_shot,
            n_query=self.n_query,
            episodes=episodes,
            seed=self.seed,
            transductive=self.transductive,
            split_hash=self.store.content_hash,
            dataset=self.store.name,
            learner=type(learner).__name__,
            episode_accuracies=accuracies,
            n_unlabelled=images - self.k_shot - self.n_query,
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


def _check(
    store: ImageStore, n_way: int, k_shot: int, n_query: int, n_unlabelled: int, episodes: int, seed: int
) -> None:
    least = {"n_way": (n_way, 1), "k_shot": (k_shot, 1), "n_query": (n_query, 1), "episodes": (episodes, 1)}
    least |= {"n_unlabelled": (n_unlabelled, 0), "seed": (seed, 0)}
    for argument, (value, smallest) in least.items():
        if value < smallest:
            raise ArgumentError(argument, f"must be at least {smallest}", value)
    if n_way > store.n_classes:
        raise ArgumentError(
            "n_way", f"must be at most {store.n_classes}, the number of classes of {store!r}", n_way
        )
    images, smallest = k_shot + n_query + n_unlabelled, int(store.images_per_class.min())
    if images > smallest:
        name = store.class_names[int(store.images_per_class.argmin())]
        raise ArgumentError(
            "k_shot",
            f"must be at most {smallest - n_query - n_unlabelled} with `n_query`={n_query} and "
            f"`n_unlabelled`={n_unlabelled}: the class {name!r} of {store!r} has {smallest} images (classes "
            f"that are too small can be left out with .with_min_images({images}))",
            k_shot,
        )
