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
        support: where the labelled examples come from; None: from `store`, too.

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
    support: ImageStore | None = None

    def __post_init__(self) -> None:
        least = {"n_way": 2, "k_shot": 1, "n_query": 1, "n_unlabelled": 0, "episodes": 1, "seed": 0}
        for argument, smallest in least.items():
            check_whole_number(argument, getattr(self, argument), smallest)
        _check_store(self)

    def tables(self, at_a_time: int = 1) -> Iterator[npt.NDArray[np.int32]]:
        """Row numbers of the images, int32 `[at_a_time, n_way, k_shot + n_query + n_unlabelled]`.

        With `support`, its rows come first: row 0 of `store` has the number `len(support)`.
        """
        chunk = at_a_time * max(1, _CHUNK // at_a_time)
        for first in range(0, self.episodes, chunk):
            drawn = self._drawn(first, min(chunk, self.episodes - first))
            yield from (drawn[i : i + at_a_time] for i in range(0, len(drawn), at_a_time))

    def gather(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """The images of rows of a table `[..., images per class]`, float32 `[..., H, W, C]`."""
        if self.support is None:
            return self.store.gather(rows)
        support, others = np.split(rows, [self.k_shot], axis=-1)
        parts = [
            self.support.gather(support),
            self.store.gather(others - len(self.support)),
        ]
        return np.concatenate(parts, axis=rows.ndim - 1)

    def _drawn(self, first: int, count: int) -> npt.NDArray[np.int32]:
        others = self.n_query + self.n_unlabelled
        if self.support is None:
            labels = kernels.group_labels(self.store.labels)
            return kernels.sample_episodes(
                labels, self.n_way, self.k_shot, others, count, self.seed, first_episode=first
            )
        # The classes of an episode depend on the seed and on how many there are, not on their images.
        examples, rest = (
            kernels.sample_episodes(
                kernels.group_labels(store.labels), self.n_way, *sizes, count, self.seed, first_episode=first
            )
            for store, sizes in ((self.support, (self.k_shot, 0)), (self.store, (1, others - 1)))
        )
        return np.concatenate([examples, rest + np.int32(len(self.support))], axis=2)

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
            support_hash=None if self.support is None else self.support.content_hash,
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
    """Raises ArgumentError unless the stores have the classes and images of an episode."""
    store, support = drawn.store, drawn.support
    for argument, value in (("store", store), ("support", store if support is None else support)):
        if not isinstance(value, ImageStore | EmbeddingStore):
            raise ArgumentError(argument, "must be an ImageStore", described=type(value).__name__)
    if drawn.n_way > store.n_classes:
        raise ArgumentError(
            "n_way", f"must be at most {store.n_classes}, the number of classes of {store!r}", drawn.n_way
        )
    others = drawn.n_query + drawn.n_unlabelled
    if support is None:
        _check_images("k_shot", drawn.k_shot, drawn.k_shot + others, store, drawn)
        return
    if support.class_names != store.class_names or support.image_shape != store.image_shape:
        raise ArgumentError(
            "support",
            f"must have the classes and the shape of the images of {store!r}",
            support,
        )
    _check_images("k_shot", drawn.k_shot, drawn.k_shot, support, drawn)
    _check_images("n_query", drawn.n_query, others, store, drawn)


def _check_images(
    argument: str, value: int, images: int, store: ImageStore | EmbeddingStore, drawn: Episodes
) -> None:
    """Raises ArgumentError unless each class has so many images, of which the argument takes some."""
    smallest = int(store.images_per_class.min())
    if images <= smallest:
        return
    name = store.class_names[int(store.images_per_class.argmin())]
    beside = {"n_query": drawn.n_query, "n_unlabelled": drawn.n_unlabelled}
    if argument == "n_query":
        del beside["n_query"]
    elif drawn.support is not None:
        beside.clear()
    given = " with " + " and ".join(f"`{one}`={count}" for one, count in beside.items()) if beside else ""
    raise ArgumentError(
        argument,
        f"must be at most {smallest - images + value}{given}: the class {name!r} of {store!r} has {smallest} "
        f"images (classes that are too small can be left out with .with_min_images({images}))",
        value,
    )
