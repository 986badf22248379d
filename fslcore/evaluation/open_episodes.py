# SPDX-License-Identifier: MIT
"""`evaluate_open`: how well a learner tells new classes that it is shown from those that it is not."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, as_float
from fslcore.data import EmbeddingStore, ImageStore
from fslcore.evaluation.episodes import Episodes, check_whole_number
from fslcore.evaluation.intervals import agree, share
from fslcore.evaluation.open_set import OpenSetReport, Scores, open_set_report, threshold_for
from fslcore.evaluation.protocol import Adapter, Embedder, adapted_at_a_time, check_learner, embed_all
from fslcore.evaluation.report import mean_and_ci95

FIGURES = ("auroc", "fpr_at_95_tpr", "accuracy", "accepted", "false_accepts", "recall", "precision")


class Mean(NamedTuple):
    """A mean over episodes, and half the width of its 95 % confidence interval (NaN for one episode)."""

    value: float
    ci95: float

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} % ± {100 * self.ci95:.2f}"


@dataclasses.dataclass(frozen=True)
class OpenReport:
    """Figures over episodes in which half of the classes are known.

    The first three need no threshold. The others are those of a threshold that is made for
    `false_accept_rate` with half of the unknown classes, and measured on the other half, over the episodes
    whose images allow such a threshold (`thresholds`); they are None where none does. See `OpenSetReport` for
    their meaning; a third of the queries behind `precision` are unknown, as near as the number of classes
    allows.

    Attributes:
        auroc: mean over the episodes, with its confidence interval.
        fpr_at_95_tpr: likewise.
        accuracy: likewise.
        accepted: likewise.
        false_accepts: likewise; to be compared with `false_accept_rate`.
        recall: likewise.
        precision: likewise; over the episodes in which anything is accepted.
        kept: the share of the episodes in which the rate that was measured and the one that was calibrated
            differ by no more than their 95 % intervals allow.
        thresholds: the number of episodes with a threshold.
        false_accept_rate: what the thresholds were made for.
        n_way: known classes of an episode; there are as many unknown ones.
        k_shot: labelled examples per known class.
        n_query: queries per class.
        episodes: number of episodes.
        seed: seed of the episodes.
        split_hash: hash of the images and labels evaluated on.
        dataset: their name.
        learner: the name of the learner.
        first: the report on the first episode, on all its unknown classes, with its curve.
        scores: the best scores of its known and of its unknown queries.
    """

    auroc: Mean
    fpr_at_95_tpr: Mean
    accuracy: Mean
    accepted: Mean | None
    false_accepts: Mean | None
    recall: Mean | None
    precision: Mean | None
    kept: float | None
    thresholds: int
    false_accept_rate: float
    n_way: int
    k_shot: int
    n_query: int
    episodes: int
    seed: int
    split_hash: str
    dataset: str
    learner: str
    first: OpenSetReport = dataclasses.field(repr=False, compare=False)
    scores: tuple[Scores, Scores] = dataclasses.field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON; a mean is [value, ci95], with None for a `ci95` that is NaN."""
        names = [field.name for field in dataclasses.fields(self) if field.compare]
        values = {name: getattr(self, name) for name in names}
        return {
            name: [v.value, None if np.isnan(v.ci95) else v.ci95] if isinstance(v, Mean) else v
            for name, v in values.items()
        }


def evaluate_open(
    learner: Embedder | Adapter,
    store: ImageStore | EmbeddingStore,
    n_way: int | None = None,
    k_shot: int = 1,
    n_query: int = 15,
    episodes: int = 100,
    seed: int = 0,
    false_accept_rate: float = 0.01,
    *,
    batch_size: int = 256,
    progress: Callable[[int], Any] | None = None,
) -> OpenReport:
    """Measures how well a learner tells queries of the classes that it is shown from queries of others.

    An episode draws twice `n_way` classes. The learner is shown examples of the first half, and scores
    queries of both. Nothing is transductive: every query is scored by itself.

    Args:
        learner: a trained learner, or `PixelNearestNeighbour()`.
        store: images of classes that the learner has not been trained on, or their embeddings.
        n_way: known classes of an episode, at least 2; None: half of those of the store, or those of the
            learner's network if it is fitted to tasks.
        k_shot: labelled examples per known class.
        n_query: queries per class.
        episodes: number of episodes.
        seed: seed of the episodes.
        false_accept_rate: what thresholds are made for.
        batch_size: images embedded at a time.
        progress: called with the number of episodes done, after each.

    Raises:
        ArgumentError: an argument is out of range, the store has too few classes or images, or the learner
            cannot score them.
    """
    check_whole_number("batch_size", batch_size, 1)
    rate = as_float("false_accept_rate", false_accept_rate)
    if not 0 < rate < 1:
        raise ArgumentError("false_accept_rate", "must be above 0 and below 1", false_accept_rate)
    check_learner(learner, store)
    fixed = learner.n_way if isinstance(learner, Adapter) else None
    if n_way is None:
        n_way = store.n_classes // 2 if fixed is None else fixed
    check_whole_number("n_way", n_way, 2)
    if 2 * n_way > store.n_classes:
        raise ArgumentError(
            "n_way",
            f"must be at most {store.n_classes // 2}, half of the {store.n_classes} classes of {store!r}",
            n_way,
        )
    if fixed not in (None, n_way):
        raise ArgumentError("n_way", f"must be {fixed}, the classes of the learner's network", n_way)
    drawn = Episodes(store, 2 * n_way, k_shot, n_query, 0, episodes, seed)
    if isinstance(learner, Adapter):
        scored = _after_adapting(learner, drawn)
    else:
        scored = _of_embeddings(learner, drawn, embed_all(learner, store, batch_size))
    columns: dict[str, list[float]] = {name: [] for name in (*FIGURES, "kept")}
    first: tuple[OpenSetReport, tuple[Scores, Scores]] | None = None
    for done, scores in zip(range(1, episodes + 1), scored, strict=True):
        _measure(np.asarray(scores, np.float64), n_way, n_query, rate, columns)
        if first is None:
            first = _whole(np.asarray(scores, np.float64), n_way, n_query)
        if progress is not None:
            progress(done)
    assert first is not None
    means = {name: Mean(*mean_and_ci95(np.array(columns[name]))) for name in FIGURES if columns[name]}
    return OpenReport(
        **{name: means.get(name) for name in FIGURES},  # type: ignore[arg-type]
        kept=float(np.mean(columns["kept"])) if columns["kept"] else None,
        thresholds=len(columns["kept"]),
        false_accept_rate=rate,
        n_way=n_way,
        k_shot=k_shot,
        n_query=n_query,
        episodes=episodes,
        seed=seed,
        split_hash=store.content_hash,
        dataset=store.name,
        learner=type(learner).__name__,
        first=first[0],
        scores=first[1],
    )


def _measure(
    scores: npt.NDArray[np.float64], n_way: int, n_query: int, rate: float, columns: dict[str, list[float]]
) -> None:
    """Adds the figures of an episode: scores `[2 * n_way * n_query, n_way]`, those of known classes first."""
    known, unknown, right, labels = _parts(scores, n_way, n_query)
    # Half of the unknown classes make the threshold: they are in the order in which they were drawn.
    calibrating = (n_way // 2) * n_query
    threshold = None
    with contextlib.suppress(ArgumentError):  # it has too few images or labels for one
        threshold = threshold_for(unknown[:calibrating], rate, labels[:calibrating]).value
    whole = open_set_report(known, unknown, right, labels, labels + n_way)
    for name in ("auroc", "fpr_at_95_tpr", "accuracy"):
        columns[name].append(getattr(whole, name).value)
    if threshold is None:
        return
    rest, its = unknown[calibrating:], labels[calibrating:] + n_way
    report = open_set_report(known, rest, right, labels, its, threshold)
    for name in ("accepted", "false_accepts", "recall", "precision"):
        estimate = getattr(report, name)
        if estimate is not None:
            columns[name].append(estimate.value)
    assert report.false_accepts is not None
    calibrated = share(unknown[:calibrating] >= threshold, labels[:calibrating])
    columns["kept"].append(float(agree(report.false_accepts, calibrated)))


def _whole(
    scores: npt.NDArray[np.float64], n_way: int, n_query: int
) -> tuple[OpenSetReport, tuple[Scores, Scores]]:
    known, unknown, right, labels = _parts(scores, n_way, n_query)
    return open_set_report(known, unknown, right, labels, labels + n_way), (known, unknown)


def _parts(
    scores: npt.NDArray[np.float64], n_way: int, n_query: int
) -> tuple[Scores, Scores, npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Best scores of the known and of the unknown queries, which known ones are right, and their classes."""
    if scores.shape != (2 * n_way * n_query, n_way):
        raise ArgumentError(
            "learner",
            f"must give one row of scores per query and {n_way} columns",
            described=f"shape {list(scores.shape)}",
        )
    if not np.isfinite(scores).all():
        raise ArgumentError("learner", "must give finite scores", described="NaN or infinity")
    best, labels = scores.max(axis=1), np.repeat(np.arange(n_way), n_query)
    known, unknown = np.split(best, 2)
    return known, unknown, scores[: len(known)].argmax(axis=1) == labels, labels


def _of_embeddings(
    learner: Embedder, drawn: Episodes, embeddings: npt.NDArray[np.float32]
) -> Iterator[npt.NDArray[Any]]:
    n_way, shot = drawn.n_way // 2, drawn.k_shot
    for (table,) in drawn.tables():
        support, query = embeddings[table[:n_way, :shot]], embeddings[table[:, shot:].ravel()]
        yield np.asarray(learner.class_scores(support, query))


def _after_adapting(learner: Adapter, drawn: Episodes) -> Iterator[npt.NDArray[Any]]:
    n_way, shot, at_a_time = drawn.n_way // 2, drawn.k_shot, adapted_at_a_time(drawn)
    for chunk, rows in enumerate(drawn.tables(at_a_time)):
        images = drawn.gather(rows)
        # A learner takes the queries class by class: those of an unknown class behind those of a known one.
        both = np.concatenate([images[:, :n_way, shot:], images[:, n_way:, shot:]], axis=2)
        scored = learner.score_episodes(
            images[:, :n_way, :shot], both, seed=drawn.seed, first=chunk * at_a_time
        )
        for scores in np.asarray(scored):
            apart = scores.reshape(n_way, 2, drawn.n_query, -1).swapaxes(0, 1)
            yield apart.reshape(len(scores), -1)
