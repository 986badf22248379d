# SPDX-License-Identifier: MIT
"""Accuracy over N-way K-shot episodes, with its confidence interval and the baselines it must beat."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fslcore import kernels
from fslcore.data import ImageStore

FloatArray = npt.NDArray[np.float32]

# 1.96 standard errors on either side hold 95 % of a normal distribution.
_NORMAL_95 = 1.96
# Episodes given to a learner that adapts in one call: enough for it to work on several side by side.
_ADAPTED_AT_A_TIME = 50


class Embedder(Protocol):
    """What `evaluate` needs of a learner; `Siamese`, `Prototypical` and `PixelNearestNeighbour` have it."""

    def embed(self, images: Any, training: bool = False) -> Any:
        """Embeds float images `[B, H, W, C]` as `[B, D]`; `training` takes the batch's own statistics."""

    def class_scores(self, support: Any, query: Any) -> Any:
        """Scores `[Q, n_way]` of queries `[Q, D]` for support `[n_way, k_shot, D]`; larger = more alike."""


@runtime_checkable
class Adapter(Protocol):
    """What `evaluate` needs of a learner fitted to each episode; `Reptile`, `MAML` and `MetaGAN` have it."""

    n_way: int

    def score_episodes(
        self,
        support: Any,
        query: Any,
        *,
        transductive: bool = False,
        seed: int = 0,
        first_episode: int = 0,
    ) -> Any:
        """Scores `[episodes, n_way * n_query, n_way]`; support and query `[episodes, n_way, *, H, W, C]`."""


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of an evaluation.

    Attributes:
        accuracy: mean over the episodes, 0 to 1.
        ci95: half the width of its 95 % confidence interval, `1.96 * sd / sqrt(episodes)` with the sample
            standard deviation of the episodes' accuracies; NaN for a single episode.
        n_way: classes of an episode.
        k_shot: labelled examples per class.
        n_query: queries per class.
        episodes: number of episodes.
        seed: seed of the episodes; the same seed on the same images gives the same episodes to every learner.
        transductive: whether the images of an episode were normalised together.
        split_hash: hash of the images and labels evaluated on.
        dataset: their name.
        learner: the name of the learner.
        episode_accuracies: float64 `[episodes]`, 0 to 1, for paired comparisons.
        n_unlabelled: images per class that the learner was given without their labels.
    """

    accuracy: float
    ci95: float
    n_way: int
    k_shot: int
    n_query: int
    episodes: int
    seed: int
    transductive: bool
    split_hash: str
    dataset: str
    learner: str
    episode_accuracies: npt.NDArray[np.float64] = dataclasses.field(repr=False, compare=False)
    n_unlabelled: int = 0

    @property
    def chance(self) -> float:
        """The accuracy of guessing."""
        return 1 / self.n_way

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it: without the single episodes, and None for an unknown `ci95`."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["episode_accuracies"]
        return {**fields, "ci95": None if math.isnan(self.ci95) else self.ci95, "chance": self.chance}

    def __str__(self) -> str:
        protocol = "transductive" if self.transductive else "non-transductive"
        return (
            f"{self.n_way}-way {self.k_shot}-shot: {100 * self.accuracy:.2f} % ± {100 * self.ci95:.2f} "
            f"({self.episodes:,} episodes, {protocol})"
        )


class PixelNearestNeighbour:
    """The baseline without learning: the class of the nearest example, by squared distance of the pixels."""

    def embed(self, images: npt.ArrayLike, training: bool = False) -> FloatArray:
        """Returns the pixels, float32 `[B, H * W * C]`.

        Raises:
            ValueError: `training=True`, for there is nothing to normalise.
        """
        if training:
            raise ValueError(
                "training must be False for PixelNearestNeighbour, which has no statistics, received True"
            )
        images = np.asarray(images, np.float32)
        return images.reshape(len(images), -1)

    def class_scores(self, support: npt.ArrayLike, query: npt.ArrayLike) -> FloatArray:
        """Returns minus the squared distance to the nearest example of each class, `[Q, n_way]`."""
        support = np.asarray(support, np.float32)
        n_way, k_shot, width = support.shape
        distances = kernels.pairwise(query, support.reshape(n_way * k_shot, width))
        return -distances.reshape(-1, n_way, k_shot).min(axis=-1)


def evaluate(
    learner: Embedder | Adapter,
    store: ImageStore,
    n_way: int = 5,
    k_shot: int = 1,
    n_query: int = 15,
    episodes: int = 1000,
    seed: int = 0,
    transductive: bool = False,
    *,
    n_unlabelled: int = 0,
    batch_size: int = 256,
    progress: Callable[[int], Any] | None = None,
) -> Report:
    """Measures how well a learner classifies queries of classes it is shown `k_shot` examples of.

    A query counts 1 if its class alone has the highest score and 1/m if m classes share it, so that a learner
    that answers the same for everything scores at chance; a query with a NaN among its scores counts 0.

    Args:
        learner: a trained learner, or `PixelNearestNeighbour()`.
        store: images of classes that the learner has not been trained on.
        n_way: classes of an episode.
        k_shot: labelled examples per class.
        n_query: queries per class, at least 1.
        episodes: number of episodes, at least 1.
        seed: seed of the episodes.
        transductive: `False`: every image is embedded once, alone (BatchNormalization uses its moving
            averages); a learner that adapts classifies each query by itself. `True`: the images of an episode
            are normalised with the statistics of that episode, queries included (of its queries alone, for a
            learner that adapts); such figures are not comparable with the others. Nothing in the learner
            changes either way.
        n_unlabelled: images per class that a learner is given without their labels; for `MetaGAN`. The
            support and the queries are those of an evaluation without.
        batch_size: images embedded at a time.
        progress: called with the number of episodes done, after each.

    Returns:
        The report.

    Raises:
        ValueError: an argument is out of range, `store` has fewer classes than `n_way` or a class with fewer
            images than an episode needs, the learner cannot be evaluated transductively, or it adapts and its
            network is for another `n_way`.
    """
    for argument, value in (("n_query", n_query), ("episodes", episodes), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{argument} must be at least 1, received {argument}={value}")
    if n_unlabelled < 0:
        raise ValueError(f"n_unlabelled must be at least 0, received n_unlabelled={n_unlabelled}")
    # Drawn first: a protocol that the store cannot serve must not cost the embedding of all its images.
    tables = kernels.sample_episodes(store.labels, n_way, k_shot, n_query + n_unlabelled, episodes, seed)
    if isinstance(learner, Adapter):
        if n_way != learner.n_way:
            raise ValueError(
                f"n_way must be {learner.n_way}, the classes of the learner's network, received n_way={n_way}"
            )
        scores = _scores_after_adapting(learner, store, tables, k_shot, n_query, seed, transductive)
    elif n_unlabelled:
        raise ValueError(
            f"n_unlabelled must be 0 for {type(learner).__name__}, which compares embeddings of labelled "
            f"images, received n_unlabelled={n_unlabelled}"
        )
    else:
        if transductive:
            embedded: Iterable[FloatArray] = (_embed_together(learner, store, table) for table in tables)
        else:
            embeddings = _embed_all(learner, store, batch_size)
            embedded = (embeddings[table] for table in tables)
        scores = _scores_of_embeddings(learner, embedded, k_shot)
    return _report(
        learner, store, tables, k_shot, n_query, seed, transductive, _watched(scores, progress, episodes)
    )


def accuracy_versus_way(
    learners: Mapping[str, Embedder],
    store: ImageStore,
    ways: Sequence[int] = (2, 5, 10, 20, 30, 40, 50, 60),
    k_shot: int = 1,
    n_query: int = 1,
    episodes: int = 400,
    seed: int = 0,
    *,
    batch_size: int = 256,
) -> dict[str, list[Report]]:
    """Evaluates several learners for several numbers of classes, each image embedded once per learner.

    Args:
        learners: name -> learner.
        store: as for `evaluate`.
        ways: the values of `n_way`; those beyond the classes of `store` are left out.
        k_shot: labelled examples per class.
        n_query: queries per class.
        episodes: number of episodes for each `n_way`.
        seed: seed of the episodes, the same for all learners.
        batch_size: images embedded at a time.

    Returns:
        name -> one report per `n_way`, in the order of `ways`.

    Raises:
        ValueError: no `n_way` is possible, or as for `evaluate`.
    """
    possible = [n_way for n_way in ways if n_way <= store.n_classes]
    if not possible:
        raise ValueError(
            f"ways must hold a number up to the {store.n_classes} classes of the store, received {ways}"
        )
    classes = kernels.group_labels(store.labels)
    tables = [kernels.sample_episodes(classes, n_way, k_shot, n_query, episodes, seed) for n_way in possible]
    curves = {}
    for name, learner in learners.items():
        embeddings = _embed_all(learner, store, batch_size)
        curves[name] = [
            _report(
                learner,
                store,
                table,
                k_shot,
                n_query,
                seed,
                False,
                _scores_of_embeddings(learner, (embeddings[episode] for episode in table), k_shot),
            )
            for table in tables
        ]
    return curves


def paired_difference(report: Report, baseline: Report) -> tuple[float, float]:
    """How much better one learner is than another on the very same episodes.

    Args:
        report: the report of the one.
        baseline: that of the other, with the same store, protocol and seed.

    Returns:
        The mean difference of the accuracies, and half the width of its 95 % confidence interval. This
        interval is narrower than the two reports' own, because easy and hard episodes are so for both.

    Raises:
        ValueError: the reports are not about the same episodes.
    """
    protocols = [(r.split_hash, r.n_way, r.k_shot, r.n_query, r.episodes, r.seed) for r in (report, baseline)]
    if protocols[0] != protocols[1]:
        raise ValueError(
            f"baseline must be about the same episodes as report, received {report} and {baseline}"
        )
    return _mean_and_ci95(report.episode_accuracies - baseline.episode_accuracies)


def _report(
    learner: Embedder | Adapter,
    store: ImageStore,
    tables: npt.NDArray[np.int32],
    k_shot: int,
    n_query: int,
    seed: int,
    transductive: bool,
    scores: Iterable[Any],
) -> Report:
    """The report on the scores `[n_way * n_query, n_way]` of each episode."""
    episodes, n_way, images = tables.shape
    accuracies = np.fromiter((_accuracy(np.asarray(values), n_way) for values in scores), float, episodes)
    accuracy, ci95 = _mean_and_ci95(accuracies)
    return Report(
        accuracy=accuracy,
        ci95=ci95,
        n_way=n_way,
        k_shot=k_shot,
        n_query=n_query,
        episodes=episodes,
        seed=seed,
        transductive=transductive,
        split_hash=store.content_hash,
        dataset=store.name,
        learner=type(learner).__name__,
        episode_accuracies=accuracies,
        n_unlabelled=images - k_shot - n_query,
    )


def _scores_of_embeddings(
    learner: Embedder, episodes: Iterable[FloatArray], k_shot: int
) -> Iterator[npt.NDArray[Any]]:
    """Scores of each episode from its embeddings `[n_way, k_shot + n_query, D]`."""
    for rows in episodes:
        yield learner.class_scores(rows[:, :k_shot], rows[:, k_shot:].reshape(-1, rows.shape[-1]))


def _scores_after_adapting(
    learner: Adapter,
    store: ImageStore,
    tables: npt.NDArray[np.int32],
    k_shot: int,
    n_query: int,
    seed: int,
    transductive: bool,
) -> Iterator[npt.NDArray[Any]]:
    """Scores of each episode by a learner that is fitted to it."""
    for first in range(0, len(tables), _ADAPTED_AT_A_TIME):
        images = kernels.gather_images(store.images, tables[first : first + _ADAPTED_AT_A_TIME])
        support, query, unlabelled = np.split(images, [k_shot, k_shot + n_query], axis=2)
        extra = {"unlabelled": unlabelled} if unlabelled.shape[2] else {}
        yield from np.asarray(
            learner.score_episodes(
                support, query, transductive=transductive, seed=seed, first_episode=first, **extra
            )
        )


def _watched(
    scores: Iterable[Any], progress: Callable[[int], Any] | None, episodes: int
) -> Iterator[npt.NDArray[Any]]:
    """The scores as they are, one by one, telling `progress` how many have been asked for."""
    for done, values in zip(range(1, episodes + 1), scores, strict=True):
        if progress is not None:
            progress(done)
        yield values


def _embed_all(learner: Embedder, store: ImageStore, batch_size: int) -> FloatArray:
    """Every image of the store embedded alone, float32 `[N, D]`."""
    starts = range(0, len(store), batch_size)
    rows = (np.arange(start, min(start + batch_size, len(store))) for start in starts)
    parts = [
        np.asarray(learner.embed(kernels.gather_images(store.images, part)), np.float32) for part in rows
    ]
    return np.concatenate(parts)


def _embed_together(learner: Embedder, store: ImageStore, table: npt.NDArray[np.int32]) -> FloatArray:
    """The images of one episode embedded as one batch, float32 `[*table.shape, D]`."""
    images = kernels.gather_images(store.images, table.ravel())
    return np.asarray(learner.embed(images, training=True), np.float32).reshape(*table.shape, -1)


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


def _mean_and_ci95(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    if len(values) == 1:
        return float(values[0]), math.nan
    return float(values.mean()), float(_NORMAL_95 * values.std(ddof=1) / math.sqrt(len(values)))
