# SPDX-License-Identifier: MIT
"""The pictures of a run. Each recipe says which it has; those that several recipes share are made here.

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
from matplotlib.figure import Figure

from fslcore import files, kernels, plots
from fslcore.data import ImageStore
from fslcore.evaluation import PixelNearestNeighbour, accuracy_versus_way
from fslcore.experiments.recipes import Recipe
from fslcore.experiments.runs import Row

_WAYS = (2, 5, 10, 20, 30, 40, 50, 60)
_MOST_QUERIES = 8


def draw_history(run: Path, recipe: Recipe, history: Sequence[Row], title: str) -> None:
    """Draws `training.png`; nothing before the first complete epoch."""
    if history:
        _save(plots.training_curve(history, title, smooth=recipe.noisy), run / "training.png")


def draw(
    run: Path, learner: Any, recipe: Recipe, seen: ImageStore, unseen: ImageStore, episodes: int
) -> None:
    """Draws all pictures of a trained learner but `training.png`; arguments as for `Recipe.pictures`."""
    for name, figure in recipe.pictures(learner, seen, unseen, episodes):
        _save(figure, run / name)


def episode(recipe: Recipe, learner: Any, unseen: ImageStore) -> Figure:
    """An episode with the learner's answers."""
    way, shot = recipe.protocols(unseen)[0]
    query = min(_MOST_QUERIES, recipe.queries(unseen, shot))
    spare = recipe.unlabelled_images
    table = kernels.sample_episodes(unseen.labels, way, shot, query + spare, 1, recipe.seed)[0]
    images = kernels.gather_images(unseen.images, table)
    support, queries, unlabelled = np.split(images, [shot, shot + query], axis=1)
    scores = recipe.scores(learner, support, queries, unlabelled if spare else None)
    names = [unseen.class_names[unseen.labels[row[0]]] for row in table]
    return plots.episode_with_predictions(support, queries, scores, names)


def distances(learner: Any, unseen: ImageStore, seed: int) -> Figure:
    """Distances between the embeddings of some images, sorted by class."""
    way, samples = min(20, unseen.n_classes), min(10, int(unseen.images_per_class.min()))
    rows = kernels.sample_episodes(unseen.labels, way, samples, 0, 1, seed)[0].ravel()
    embeddings = embedded(learner, kernels.gather_images(unseen.images, rows))
    return plots.distance_matrix(
        kernels.pairwise(embeddings, metric="euclidean"),
        unseen.labels[rows],
        unseen.class_names,
        label="distance of the embeddings",
        title="Distances between images of unseen classes, sorted by class",
    )


def ways(recipe: Recipe, learner: Any, seen: ImageStore, unseen: ImageStore, episodes: int) -> Figure:
    """Accuracy against the number of classes, on unseen classes and on training classes."""
    name, seed = recipe.learner, recipe.seed
    numbers = [n for n in _WAYS if n <= unseen.n_classes]
    learners = {name: learner, "1-NN on pixels": PixelNearestNeighbour()}
    curves = accuracy_versus_way(learners, unseen, numbers, episodes=episodes, seed=seed)
    # As many training classes as test classes, spread evenly: all of them would take longer than the rest.
    chosen = np.linspace(0, seen.n_classes - 1, min(seen.n_classes, unseen.n_classes)).astype(int)
    few = seen.take(np.isin(seen.labels, chosen))
    known = accuracy_versus_way(
        {f"{name}, training classes": learner}, few, numbers, episodes=episodes, seed=seed
    )
    return plots.accuracy_versus_way(curves | known, f"One-shot accuracy ({unseen.name})")


def embedded(learner: Any, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Embeddings [B, D] of images [..., H, W, C], each embedded alone."""
    return np.asarray(learner.embed(images.reshape(-1, *images.shape[-3:])))


def _save(figure: Figure, path: Path) -> None:
    # Tight: the constrained layout ignores long tick labels beside an image of fixed aspect.
    files.replace(path, lambda temporary: figure.savefig(temporary, bbox_inches="tight", pad_inches=0.15))
