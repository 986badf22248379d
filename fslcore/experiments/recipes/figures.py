# SPDX-License-Identifier: MIT
"""Pictures that several recipes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from fslcore import kernels, plots
from fslcore.data import ImageStore
from fslcore.evaluation import PixelNearestNeighbour, accuracy_versus_way

Images = npt.NDArray[np.float32]
Scores = Callable[[Images, Images, Images | None], npt.NDArray[Any]]

_WAYS = (2, 5, 10, 20, 30, 40, 50, 60)
_MOST_QUERIES = 8


def episode(
    unseen: ImageStore, way: int, shot: int, query: int, spare: int, seed: int, scores_of: Scores
) -> Figure:
    """An episode with the learner's answers.

    Args:
        unseen: images of test classes.
        way: classes of the episode.
        shot: examples per class.
        query: queries per class, of which up to 8 are shown.
        spare: images per class that are given without their labels.
        seed: seed of the episode.
        scores_of: (support, queries, unlabelled images or None) -> scores, as `Recipe.scores`.
    """
    query = min(_MOST_QUERIES, query)
    table = kernels.sample_episodes(unseen.labels, way, shot, query + spare, 1, seed)[0]
    images = unseen.gather(table)
    support, queries, unlabelled = np.split(images, [shot, shot + query], axis=1)
    scores = scores_of(support, queries, unlabelled if spare else None)
    names = [unseen.class_names[unseen.labels[row[0]]] for row in table]
    return plots.episode_with_predictions(support, queries, scores, names)


def distances(learner: Any, unseen: ImageStore, seed: int) -> Figure:
    """Distances between the embeddings of some images, sorted by class."""
    way, samples = min(20, unseen.n_classes), min(10, int(unseen.images_per_class.min()))
    rows = kernels.sample_episodes(unseen.labels, way, samples, 0, 1, seed)[0].ravel()
    embeddings = embedded(learner, unseen.gather(rows))
    return plots.distance_matrix(
        kernels.pairwise(embeddings, metric="euclidean"),
        unseen.labels[rows],
        unseen.class_names,
        label="distance of the embeddings",
        title="Distances between test images, sorted by class",
    )


def ways(name: str, learner: Any, seen: ImageStore, unseen: ImageStore, episodes: int, seed: int) -> Figure:
    """Accuracy against the number of classes, in the test and on the images of the training."""
    numbers = [n for n in _WAYS if n <= unseen.n_classes]
    learners = {name: learner, "1-NN on pixels": PixelNearestNeighbour()}
    curves = accuracy_versus_way(learners, unseen, numbers, episodes=episodes, seed=seed)
    # As many training classes as test classes, spread evenly: all of them would take longer than the rest.
    chosen = np.linspace(0, seen.n_classes - 1, min(seen.n_classes, unseen.n_classes)).astype(int)
    few = seen.take(np.isin(seen.labels, chosen))
    what = "training images" if {*unseen.class_names} <= {*seen.class_names} else "training classes"
    known = accuracy_versus_way({f"{name}, {what}": learner}, few, numbers, episodes=episodes, seed=seed)
    return plots.accuracy_versus_way(curves | known, f"One-shot accuracy ({unseen.name})")


def embedded(learner: Any, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Embeddings [B, D] of images [..., H, W, C], each embedded alone."""
    return np.asarray(learner.embed(images.reshape(-1, *images.shape[-3:])))
