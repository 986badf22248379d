# SPDX-License-Identifier: MIT
"""Embeddings as points in a plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from fslcore.arguments import ArgumentError, as_int64, as_numbers, check_one_of, counted
from fslcore.data.labelling import check_none_missing
from fslcore.plots.style import COLOURS, GRAY, LIGHT_GRAY, blank_figure
from fslcore.plots.texts import literal, short

METHODS = ("pca", "umap")
# Colours and shapes that can be told apart; further classes are gray.
_SHAPES = "os^Dv"
_MOST_NEIGHBOURS = 15  # UMAP's own default


class PlaneResult(NamedTuple):
    """Embeddings in a plane.

    Attributes:
        points: float64 [N, 2].
        shares: the shares of the variance along both axes, of "pca"; None of "umap", whose axes mean nothing.
    """

    points: npt.NDArray[np.float64]
    shares: tuple[float, float] | None


def plane(embeddings: npt.ArrayLike, method: str = "pca", seed: int = 0) -> PlaneResult:
    """Embeddings as points in a plane.

    Args:
        embeddings: [N, D], finite, N at least 3 for "umap".
        method: "pca", the two main directions of the variance, along which distances are true but for what
            the others hold; "umap" (extra `umap`), which keeps neighbours together and no distances (McInnes,
            Healy and Melville, "UMAP: Uniform Manifold Approximation and Projection", 2018).
        seed: of UMAP.

    Returns:
        The points; of "pca" with the sign for which the largest coordinate of a direction is positive, so
        that pictures of two epochs can be compared.

    Raises:
        ArgumentError: `method` is unknown, or the embeddings are too few or not finite.
        ImportError: umap-learn is not installed.
    """
    check_one_of("method", method, METHODS)
    seed = as_int64("seed", seed)
    rows = as_numbers("embeddings", embeddings, 2).astype(np.float64)
    fewest = 3 if method == "umap" else 1
    if len(rows) < fewest or not rows.shape[1]:
        raise ArgumentError(
            "embeddings", f"must be [N, D] with N at least {fewest}", described=f"shape {list(rows.shape)}"
        )
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(wrong):
        rows_not = counted(len(wrong), "row that is not", "rows that are not")
        raise ArgumentError("embeddings", "must be finite", described=f"{rows_not}, first row {wrong[0]}")
    return _main_directions(rows) if method == "pca" else PlaneResult(_umap(rows, seed), None)


def embedding_map(
    points: npt.ArrayLike,
    labels: npt.ArrayLike,
    class_names: Sequence[str] | None = None,
    title: str = "Embeddings in a plane",
    shares: tuple[float, float] | None = None,
) -> Figure:
    """A map of embeddings, each a point with the colour and the shape of its class.

    Args:
        points: [N, 2], as `plane` returns them.
        labels: [N] integers.
        class_names: one name per label value; the label itself if None.
        title: the heading.
        shares: of the variance along both axes, to be written beside them.

    Returns:
        A figure; of more than 30 classes, all but the 30 largest are gray.

    Raises:
        ArgumentError: the points are not [N, 2] for labels [N], or a label is missing.
    """
    points, labels = np.asarray(points, np.float64), np.asarray(labels)
    if labels.ndim != 1 or points.shape != (len(labels), 2) or not len(labels):
        raise ArgumentError(
            "points",
            "must be [N, 2] for labels [N]",
            described=f"shapes {list(points.shape)} and {list(labels.shape)}",
        )
    check_none_missing("labels", labels)
    classes, sizes = np.unique(labels, return_counts=True)
    most = len(COLOURS) * len(_SHAPES)
    coloured = np.sort(np.argsort(-sizes, kind="stable")[:most])
    figure = blank_figure((8, 6), title)
    axes = figure.subplots()
    rest = ~np.isin(labels, classes[coloured])
    if rest.any():
        name = f"{len(classes) - most} other classes"
        axes.scatter(points[rest, 0], points[rest, 1], s=14, color=LIGHT_GRAY, label=name, edgecolors="none")
    for number, place in enumerate(coloured):
        value = classes[place]
        own = points[labels == value]
        axes.scatter(
            own[:, 0],
            own[:, 1],
            s=26,
            color=COLOURS[number % len(COLOURS)],
            marker=_SHAPES[number // len(COLOURS)],
            edgecolors="white",
            linewidths=0.4,
            label=short(value if class_names is None else class_names[value]),
        )
    legend = axes.legend(
        loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8, ncols=1 + (len(classes) > 20)
    )
    for text in legend.get_texts():
        literal(text)
    axes.set_aspect("equal", adjustable="datalim")
    for axis, share, name in zip(
        (axes.xaxis, axes.yaxis), shares or (None, None), ("first", "second"), strict=True
    ):
        axis.set_major_locator(NullLocator())
        if share is not None:
            axis.set_label_text(f"{name} main direction, {100 * share:.0f} % of the variance", color=GRAY)
    for spine in axes.spines.values():
        spine.set(color=LIGHT_GRAY)
    return figure


def _main_directions(rows: npt.NDArray[np.float64]) -> PlaneResult:
    centred = rows - rows.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    total = float((sizes**2).sum()) or 1.0
    count = min(2, len(sizes))
    largest = np.take_along_axis(
        directions[:count], np.abs(directions[:count]).argmax(axis=1, keepdims=True), axis=1
    )
    points = np.zeros((len(rows), 2))
    points[:, :count] = centred @ (directions[:count] * np.where(largest < 0, -1.0, 1.0)).T
    shares = [float(size**2) / total for size in sizes[:count]] + [0.0] * (2 - count)
    return PlaneResult(points, (shares[0], shares[1]))


def _umap(rows: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    try:
        import umap
    except ImportError as error:
        raise ImportError(f"method='umap' needs umap-learn: pip install 'fslcore[umap]' ({error})") from error
    neighbours = min(_MOST_NEIGHBOURS, len(rows) - 1)
    # With a seed it runs on one thread; saying so keeps it from warning. Of few points there is no spectrum.
    start = "spectral" if len(rows) > _MOST_NEIGHBOURS else "random"
    reducer = umap.UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1, init=start)
    return np.asarray(reducer.fit_transform(rows.astype(np.float32)), np.float64)
