# SPDX-License-Identifier: MIT
"""What a run amounts to: its accuracy beside the baselines, in `metrics.json`, and its pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fslcore import kernels, plots
from fslcore.cli import runs
from fslcore.data import ImageStore
from fslcore.evaluation import PixelNearestNeighbour, Report, accuracy_versus_way, evaluate
from fslcore.learners import Learner

PROTOCOLS = ((5, 1), (5, 5), (20, 1))
_MOST_QUERIES = 15
_VALIDATION_EPISODES = 200
_WAYS = (2, 5, 10, 20, 30, 40, 50, 60)


@dataclasses.dataclass(frozen=True)
class Result:
    """A learner and the baseline on the same episodes."""

    report: Report
    baseline: Report


def protocols_for(store: ImageStore) -> list[tuple[int, int]]:
    """The (n_way, k_shot) of `PROTOCOLS` that the store has the classes and images for; never none.

    Raises:
        ValueError: the store has a single class, or a class with a single image.
    """
    smallest = int(store.images_per_class.min())
    if store.n_classes < 2 or smallest < 2:
        raise ValueError(
            f"an evaluation needs at least 2 classes with 2 images each, received {store!r}, whose smallest "
            f"class has {smallest}"
        )
    possible = [(way, shot) for way, shot in PROTOCOLS if way <= store.n_classes and shot < smallest]
    return possible or [(min(store.n_classes, 5), 1)]


def queries_for(store: ImageStore, k_shot: int) -> int:
    """Queries per class beside `k_shot` examples: 15, or what the smallest class has."""
    return max(1, min(_MOST_QUERIES, int(store.images_per_class.min()) - k_shot))


def validation(learner: Learner, store: ImageStore, seed: int) -> Callable[[], Report] | None:
    """A quick evaluation on the validation part, for after every epoch; None if the part is too small."""
    n_way, n_query = validation_way(store), min(5, queries_for(store, 1))
    if n_way is None:
        return None
    return lambda: evaluate(learner, store, n_way, 1, n_query, _VALIDATION_EPISODES, seed)


def validation_way(store: ImageStore) -> int | None:
    """The classes of an episode, of one shot, in `validation`; None if the part is too small for one."""
    return min(20, store.n_classes) if store.n_classes > 1 and store.images_per_class.min() > 1 else None


def compare(
    learner: Learner,
    store: ImageStore,
    n_way: int,
    k_shot: int,
    n_query: int,
    episodes: int,
    seed: int,
    transductive: bool = False,
) -> Result:
    """Evaluates a learner, and nearest neighbours on pixels on the same episodes."""
    report = evaluate(learner, store, n_way, k_shot, n_query, episodes, seed, transductive)
    baseline = evaluate(PixelNearestNeighbour(), store, n_way, k_shot, n_query, episodes, seed)
    return Result(report, baseline)


def write_metrics(run: Path, results: Sequence[Result], keep: bool) -> None:
    """Writes `metrics.json`.

    Args:
        run: the run folder.
        results: what was measured.
        keep: whether to keep the results in the file of which none of these is a repetition.

    Raises:
        ValueError: the file is to be kept but is damaged.
    """
    entries = [
        {**result.report.to_dict(), "baselines": {"PixelNearestNeighbour": result.baseline.to_dict()}}
        for result in results
    ]
    if keep and (run / runs.METRICS).exists():
        new = {_protocol(entry) for entry in entries}
        old = runs.read_json(run / runs.METRICS)["results"]
        entries = [entry for entry in old if _protocol(entry) not in new] + entries
    runs.write_json(
        run / runs.METRICS, {"format": runs.FORMAT, "results": entries, "versions": runs.versions()}
    )


def draw_history(run: Path, history: Sequence[runs.Row], title: str) -> None:
    """Draws `training.png`; nothing before the first complete epoch."""
    if history:
        _save(plots.training_curve(history, title), run / "training.png")


def draw(
    run: Path, learner: Learner, name: str, seen: ImageStore, unseen: ImageStore, episodes: int, seed: int
) -> None:
    """Draws `episode.png`, `distances.png` and `accuracy_versus_way.png`.

    Args:
        run: the run folder.
        learner: the trained learner.
        name: what to call it.
        seen: images of training classes.
        unseen: images of test classes.
        episodes: number of episodes for every point of the curve.
        seed: seed of the episodes.
    """
    way, shot = protocols_for(unseen)[0]
    query = min(8, queries_for(unseen, shot))
    table = kernels.sample_episodes(unseen.labels, way, shot, query, 1, seed)[0]
    images = kernels.gather_images(unseen.images, table)
    rows = np.asarray(learner.embed(images.reshape(-1, *unseen.image_shape))).reshape(way, shot + query, -1)
    scores = learner.class_scores(rows[:, :shot], rows[:, shot:].reshape(way * query, -1))
    names = [unseen.class_names[unseen.labels[row[0]]] for row in table]
    _save(
        plots.episode_with_predictions(images[:, :shot], images[:, shot:], scores, names), run / "episode.png"
    )

    way, samples = min(20, unseen.n_classes), min(10, int(unseen.images_per_class.min()))
    rows = kernels.sample_episodes(unseen.labels, way, samples, 0, 1, seed)[0].ravel()
    embeddings = np.asarray(learner.embed(kernels.gather_images(unseen.images, rows)))
    figure = plots.distance_matrix(
        kernels.pairwise(embeddings, metric="euclidean"),
        unseen.labels[rows],
        unseen.class_names,
        label="distance of the embeddings",
        title="Distances between images of unseen classes, sorted by class",
    )
    _save(figure, run / "distances.png")

    ways = [n for n in _WAYS if n <= unseen.n_classes]
    curves = accuracy_versus_way(
        {name: learner, "1-NN on pixels": PixelNearestNeighbour()}, unseen, ways, episodes=episodes, seed=seed
    )
    # As many training classes as test classes, from end to end: all of them would take longer than the rest.
    chosen = np.linspace(0, seen.n_classes - 1, min(seen.n_classes, unseen.n_classes)).astype(int)
    few = seen.take(np.isin(seen.labels, chosen))
    known = accuracy_versus_way(
        {f"{name}, training classes": learner}, few, ways, episodes=episodes, seed=seed
    )
    _save(
        plots.accuracy_versus_way(curves | known, f"One-shot accuracy ({unseen.name})"),
        run / "accuracy_versus_way.png",
    )


def _protocol(entry: dict[str, Any]) -> tuple[Any, ...]:
    names = ("dataset", "n_way", "k_shot", "n_query", "episodes", "seed", "transductive")
    return tuple(entry[name] for name in names)


def _save(figure: Any, path: Path) -> None:
    # Tight: the constrained layout overlooks long tick labels beside an image of fixed aspect.
    runs.replace(path, lambda temporary: figure.savefig(temporary, bbox_inches="tight", pad_inches=0.15))
