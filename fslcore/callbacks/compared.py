# SPDX-License-Identifier: MIT
"""Pictures of what a model makes of labelled images while it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from fslcore.arguments import ArgumentError, check_one_of, counted
from fslcore.callbacks import values as said
from fslcore.callbacks.figures import PathLike, SaveFigures
from fslcore.callbacks.values import Labelled, joint_names, labelled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ALIKE, _DIFFERENT = "one class", "two classes"


class _Compared(SaveFigures):
    """What these callbacks share: one figure, and how the model compares images.

    Args:
        name: of the figure.
        log_dir: as for `SaveFigures`.
        folder: as for `SaveFigures`.
        metric: of the embeddings, such as "euclidean" or "cosine"; None: the kernel or the metric that the
            model has, or "euclidean".
        encoder: a model whose outputs are the embeddings; None: `embed` of a learner, what stands before a
            last `GramMatrix`, or the outputs of the model.
        **when: `every` and `at_start` of `SaveFigures`.
    """

    def __init__(
        self,
        name: str,
        log_dir: PathLike | None,
        folder: PathLike | None,
        metric: str | None,
        encoder: keras.Layer | None,
        when: Mapping[str, Any],
    ) -> None:
        super().__init__({name: self.figure}, log_dir, folder, **when)
        said.check_metric(metric)
        if encoder is not None and not isinstance(encoder, keras.Layer):
            raise ArgumentError("encoder", "must be a Keras model or layer", encoder)
        self.metric, self.encoder = metric, encoder

    def figure(self, model: keras.Model, epoch: int) -> Figure:
        """The figure of a model after a number of epochs."""
        raise NotImplementedError

    def values(self, model: keras.Model, images: Any, others: Any = None) -> said.Values:
        """The values of all pairs of images, or of images and others."""
        return said.values_of(model, images, others, self.metric, self.encoder)


class BinaryStatistics(_Compared):
    """Box plots of the scores of pairs of one class and of pairs of two classes.

    Good scores do not overlap. Of labelled images all pairs of two different images count, each once.

    Args:
        data: an `ImageStore`, `(images, labels)`, or `((left, right), alike)` with alike [P] of 0 and 1 for a
            model of pairs; or several such by their names, such as `{"training": ..., "validation": ...}`.
        log_dir: folder of TensorBoard's files.
        folder: where `pairs-<epoch>.png` is written.
        metric: of the embeddings; None: the kernel or metric of the model, or "euclidean".
        encoder: a model whose outputs are the embeddings; None: found in the model.
        **when: `every` and `at_start` of `SaveFigures`.

    Raises:
        ArgumentError: an argument is wrong, or there is no pair of one class, or none of two.
    """

    def __init__(
        self,
        data: Any,
        log_dir: PathLike | None = None,
        folder: PathLike | None = None,
        *,
        metric: str | None = None,
        encoder: keras.Layer | None = None,
        **when: Any,
    ) -> None:
        super().__init__("pairs", log_dir, folder, metric, encoder, when)
        sets = data if isinstance(data, Mapping) else {"": data}
        self.sets = {str(name): _pairs(each) for name, each in sets.items()}
        if not self.sets:
            raise ArgumentError("data", "must hold one or more sets", data)

    def figure(self, model: keras.Model, epoch: int) -> Figure:
        """Scores of pairs after a number of epochs."""
        from fslcore import plots

        groups, label = {}, "score"
        for name, data in self.sets.items():
            if isinstance(data, Labelled):
                values = self.values(model, data.images)
                rows, columns = np.triu_indices(len(data.labels), 1)
                scores, label = values.matrix[rows, columns], values.label
                alike = data.labels[rows] == data.labels[columns]
            else:
                (left, right), alike = data
                scores = np.asarray(model.predict((left, right), verbose=0)).reshape(-1)
                if len(scores) != len(alike):
                    raise ArgumentError(
                        "data",
                        "must be pairs of which the model returns one score each",
                        described=f"{len(alike)} pairs, {len(scores)} scores",
                    )
            groups[name] = {_ALIKE: scores[alike], _DIFFERENT: scores[~alike]}
        if list(groups) == [""]:
            groups = groups[""]
        return plots.boxes(groups, label, f"Scores of pairs after {counted(epoch, 'epoch')}")


class DistanceMatrix(_Compared):
    """All pairs of some images, sorted by class: blocks appear while the model learns.

    Args:
        data: an `ImageStore` or `(images, labels)`.
        log_dir: folder of TensorBoard's files.
        folder: where `distances-<epoch>.png` is written.
        metric: of the embeddings; None: the kernel or metric of the model, or "euclidean".
        encoder: a model whose outputs are the embeddings; None: found in the model.
        **when: `every` and `at_start` of `SaveFigures`.

    Raises:
        ArgumentError: an argument is wrong.
    """

    def __init__(
        self,
        data: Any,
        log_dir: PathLike | None = None,
        folder: PathLike | None = None,
        *,
        metric: str | None = None,
        encoder: keras.Layer | None = None,
        **when: Any,
    ) -> None:
        super().__init__("distances", log_dir, folder, metric, encoder, when)
        self.data = labelled("data", data, 2)

    def figure(self, model: keras.Model, epoch: int) -> Figure:
        """All pairs after a number of epochs."""
        from fslcore import plots

        values = self.values(model, self.data.images)
        return plots.distance_matrix(
            values.matrix,
            self.data.labels,
            self.data.names,
            values.label,
            f"All pairs after {counted(epoch, 'epoch')}, sorted by class",
            larger_is_alike=values.larger_is_alike,
        )


class QueriesVersusSupport(_Compared):
    """Images in the order in which they come, against a support set sorted by class.

    Args:
        queries: an `ImageStore` or `(images, labels)`, such as test images.
        support: likewise.
        log_dir: folder of TensorBoard's files.
        folder: where `support-<epoch>.png` is written.
        metric: of the embeddings; None: the kernel or metric of the model, or "euclidean".
        encoder: a model whose outputs are the embeddings; None: found in the model.
        **when: `every` and `at_start` of `SaveFigures`.

    Raises:
        ArgumentError: an argument is wrong.
    """

    def __init__(
        self,
        queries: Any,
        support: Any,
        log_dir: PathLike | None = None,
        folder: PathLike | None = None,
        *,
        metric: str | None = None,
        encoder: keras.Layer | None = None,
        **when: Any,
    ) -> None:
        super().__init__("support", log_dir, folder, metric, encoder, when)
        self.queries, self.support = _joined(queries, support)

    def figure(self, model: keras.Model, epoch: int) -> Figure:
        """The queries against the support after a number of epochs."""
        from fslcore import plots

        values = self.values(model, self.queries.images, self.support.images)
        title = f"Images against the support after {counted(epoch, 'epoch')}"
        return plots.queries_versus_support(
            values.matrix,
            self.queries.labels,
            self.support.labels,
            self.support.names,
            larger_is_alike=values.larger_is_alike,
            label=values.label,
            title=title,
        )


class ConfusionMatrix(_Compared):
    """Which labels are taken for which by the nearest class of a support set, with precision, recall and F1.

    Args:
        queries: an `ImageStore` or `(images, labels)`, such as test images.
        support: likewise, with at least one image of each class of the queries.
        log_dir: folder of TensorBoard's files.
        folder: where `confusion-<epoch>.png` is written.
        metric: of the embeddings; the class with the best mean is the answer. None: that of `class_scores` of
            a learner; of another model as for `DistanceMatrix`.
        encoder: a model whose outputs are the embeddings; None: found in the model.
        **when: `every` and `at_start` of `SaveFigures`.

    Raises:
        ArgumentError: an argument is wrong, or a class of the queries has no support.
    """

    def __init__(
        self,
        queries: Any,
        support: Any,
        log_dir: PathLike | None = None,
        folder: PathLike | None = None,
        *,
        metric: str | None = None,
        encoder: keras.Layer | None = None,
        **when: Any,
    ) -> None:
        super().__init__("confusion", log_dir, folder, metric, encoder, when)
        self.queries, self.support = _joined(queries, support)
        lacking = [self.support.names[i] for i in np.setdiff1d(self.queries.labels, self.support.labels)]
        if lacking:
            raise ArgumentError(
                "support",
                "must have images of every class of the queries",
                described=f"none of {', '.join(map(repr, lacking[:5]))}{', ...' if len(lacking) > 5 else ''}",
            )

    def figure(self, model: keras.Model, epoch: int) -> Figure:
        """Labels and answers after a number of epochs."""
        from fslcore import plots

        count = len(self.support.names)
        scores = said.class_scores_of(model, self.queries.images, self.support, self.metric, self.encoder)
        # A score that is no number is no answer: "unknown".
        answers = np.where(np.isnan(scores).any(axis=1), count, scores.argmax(axis=1))
        cells = np.bincount(self.queries.labels * (count + 1) + answers, minlength=count * (count + 1))
        right = int((answers == self.queries.labels).sum())
        title = f"{right:,} of {len(answers):,} right after {counted(epoch, 'epoch')}"
        matrix = cells.reshape(count, count + 1)
        return plots.confusion_matrix(matrix, self.support.names, title, rates=True)


class EmbeddingMap(_Compared):
    """Embeddings as points in a plane.

    Args:
        data: an `ImageStore` or `(images, labels)`.
        log_dir: folder of TensorBoard's files.
        folder: where `map-<epoch>.png` is written.
        method: "pca", or "umap" (extra `umap`), as for `plots.plane`.
        encoder: a model whose outputs are the embeddings; None: found in the model.
        **when: `every` and `at_start` of `SaveFigures`.

    Raises:
        ArgumentError: an argument is wrong.
    """

    def __init__(
        self,
        data: Any,
        log_dir: PathLike | None = None,
        folder: PathLike | None = None,
        *,
        method: str = "pca",
        encoder: keras.Layer | None = None,
        **when: Any,
    ) -> None:
        super().__init__("map", log_dir, folder, None, encoder, when)
        check_one_of("method", method, ("pca", "umap"))
        self.data, self.method = labelled("data", data, 3), method

    def figure(self, model: keras.Model, epoch: int) -> Figure:
        """The map after a number of epochs."""
        from fslcore import plots

        rows = said.embeddings_of(model, self.data.images, self.encoder)
        points, shares = plots.plane(rows, self.method)
        title = f"Embeddings after {counted(epoch, 'epoch')}"
        return plots.embedding_map(points, self.data.labels, self.data.names, title, shares)


def _joined(queries: Any, support: Any) -> tuple[Labelled, Labelled]:
    """Both sets, with the labels of both numbered alike, the support's first."""
    first, second = labelled("queries", queries), labelled("support", support)
    names = joint_names(second, first)
    held = [_used(each).renumbered(names) for each in (first, second)]
    return held[0], held[1]


def _used(data: Labelled) -> Labelled:
    """The set without the names of classes that have no images."""
    used, labels = np.unique(data.labels, return_inverse=True)
    return Labelled(data.images, labels.reshape(-1), tuple(data.names[i] for i in used))


def _pairs(data: Any) -> Any:
    """Labelled images, or pairs ((left, right), alike bool [P])."""
    if isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[0], (tuple, list)):
        sides, given = data
        alike = np.asarray(given).reshape(-1)
        if len(sides) != 2 or {len(sides[0]), len(sides[-1])} != {len(alike)}:
            raise ArgumentError(
                "data",
                "must be ((left, right), alike) of as many each",
                described=f"{[len(side) for side in sides]} and {len(alike)}",
            )
        if not np.isin(alike, (0, 1)).all():
            raise ArgumentError("data", "must have 1 for pairs of one class and 0 for others", given)
        alike = alike.astype(bool)
        found: Any = ((np.asarray(sides[0]), np.asarray(sides[1])), alike)
        counts = int(alike.sum()), int((~alike).sum())
    else:
        found = labelled("data", data, 2)
        sizes = np.bincount(found.labels)
        same = int((sizes * (sizes - 1) // 2).sum())
        counts = same, len(found.labels) * (len(found.labels) - 1) // 2 - same
    if not all(counts):
        raise ArgumentError(
            "data",
            "must have pairs of one class and pairs of two classes",
            described=f"{counts[0]:,} and {counts[1]:,}",
        )
    return found
