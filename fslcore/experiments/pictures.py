# SPDX-License-Identifier: MIT
"""The pictures of a run.

training.png             loss and accuracies against epochs
episode.png              an episode of unseen classes with the learner's answers
distances.png            distances of embeddings                     siamese, prototypical
accuracy_versus_way.png  accuracy against the number of classes      siamese, prototypical
generated.png            generated images of a task beside real ones metagan
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore import kernels, plots
from fslcore.data import ImageStore
from fslcore.evaluation import PixelNearestNeighbour, accuracy_versus_way
from fslcore.experiments import runs
from fslcore.experiments.recipes import AdaptiveRecipe, MetaGANRecipe, Recipe
from fslcore.experiments.results import protocols_for, queries_for

_WAYS = (2, 5, 10, 20, 30, 40, 50, 60)
_MOST_QUERIES, _GENERATED_COLUMNS = 8, 5


def draw_history(run: Path, recipe: Recipe, history: Sequence[runs.Row], title: str) -> None:
    """Draws `training.png`; nothing before the first complete epoch."""
    if history:
        # Figures from a few dozen small tasks jump too much from epoch to epoch for a trend to be seen.
        smooth = isinstance(recipe, AdaptiveRecipe)
        _save(plots.training_curve(history, title, smooth=smooth), run / "training.png")


def draw(
    run: Path,
    learner: Any,
    recipe: Recipe,
    seen: ImageStore,
    unseen: ImageStore,
    episodes: int,
) -> None:
    """Draws all pictures of a trained learner but `training.png`.

    Args:
        run: the run folder.
        learner: the trained learner.
        recipe: its recipe.
        seen: images of training classes.
        unseen: images of test classes.
        episodes: number of episodes for every point of a curve.
    """
    _draw_episode(run, learner, recipe, unseen)
    if isinstance(recipe, MetaGANRecipe) and recipe.generator:
        _draw_generated(run, learner, recipe, unseen)
    if not isinstance(recipe, AdaptiveRecipe):
        _draw_distances(run, learner, unseen, recipe.seed)
        _draw_ways(run, learner, recipe, seen, unseen, episodes)


def _draw_episode(run: Path, learner: Any, recipe: Recipe, unseen: ImageStore) -> None:
    way, shot = protocols_for(recipe, unseen)[0]
    query = min(_MOST_QUERIES, queries_for(recipe, unseen, shot))
    spare = recipe.unlabelled_images
    table = kernels.sample_episodes(unseen.labels, way, shot, query + spare, 1, recipe.seed)[0]
    images = kernels.gather_images(unseen.images, table)
    support, queries, unlabelled = np.split(images, [shot, shot + query], axis=1)
    if isinstance(recipe, AdaptiveRecipe):
        scores = learner.score_episodes(
            support[None],
            queries[None],
            unlabelled=unlabelled[None] if spare else None,
            seed=recipe.seed,
        )[0]
    else:
        rows = _embedded(learner, images).reshape(way, shot + query, -1)
        scores = learner.class_scores(rows[:, :shot], rows[:, shot:].reshape(way * query, -1))
    names = [unseen.class_names[unseen.labels[row[0]]] for row in table]
    _save(plots.episode_with_predictions(support, queries, scores, names), run / "episode.png")


def _draw_generated(run: Path, learner: Any, recipe: MetaGANRecipe, unseen: ImageStore) -> None:
    columns = max(recipe.shot, min(_GENERATED_COLUMNS, int(unseen.images_per_class.min())))
    table = kernels.sample_episodes(unseen.labels, recipe.way, columns, 0, 1, recipe.seed)[0]
    real = kernels.gather_images(unseen.images, table)
    generated = learner.generate(real[:, : recipe.shot], recipe.way * columns, seed=recipe.seed)
    figure = plots.real_versus_generated(real, np.reshape(generated, real.shape))
    _save(figure, run / "generated.png")


def _draw_distances(run: Path, learner: Any, unseen: ImageStore, seed: int) -> None:
    way, samples = min(20, unseen.n_classes), min(10, int(unseen.images_per_class.min()))
    rows = kernels.sample_episodes(unseen.labels, way, samples, 0, 1, seed)[0].ravel()
    embeddings = _embedded(learner, kernels.gather_images(unseen.images, rows))
    figure = plots.distance_matrix(
        kernels.pairwise(embeddings, metric="euclidean"),
        unseen.labels[rows],
        unseen.class_names,
        label="distance of the embeddings",
        title="Distances between images of unseen classes, sorted by class",
    )
    _save(figure, run / "distances.png")


def _draw_ways(
    run: Path, learner: Any, recipe: Recipe, seen: ImageStore, unseen: ImageStore, episodes: int
) -> None:
    name, seed = recipe.learner, recipe.seed
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


def _embedded(learner: Any, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Embeddings [B, D] of images [..., H, W, C], each embedded alone."""
    return np.asarray(learner.embed(images.reshape(-1, *images.shape[-3:])))


def _save(figure: Any, path: Path) -> None:
    # Tight: the constrained layout overlooks long tick labels beside an image of fixed aspect.
    runs.replace(path, lambda temporary: figure.savefig(temporary, bbox_inches="tight", pad_inches=0.15))
