# SPDX-License-Identifier: MIT
"""Distances of all pairs of some images, and of images to those of a support set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from fslcore.arguments import ArgumentError, as_bool
from fslcore.data.labelling import check_none_missing
from fslcore.plots.style import GREEN, VERMILLION, blank_figure
from fslcore.plots.texts import literal, short

# More names than this on an axis of a 16 cm picture cannot be read.
_MOST_TICKS = 40
_COLOURS = {False: "viridis", True: "viridis_r"}  # dark is alike
_FAR = 1  # percent of the values


def distance_matrix(
    values: npt.ArrayLike,
    labels: npt.ArrayLike,
    class_names: Sequence[str] | None = None,
    label: str = "distance",
    title: str = "Pairwise distances, sorted by class",
    *,
    larger_is_alike: bool = False,
) -> Figure:
    """All pairs of some images, sorted by class: a good learner shows one even block for each class.

    Args:
        values: `[N, N]`, distances or kernel values.
        labels: `[N]` integers.
        class_names: one name per label value; the label itself if None.
        label: what the values are, for the colour bar.
        title: the heading.
        larger_is_alike: whether a larger value means more alike, as a kernel has it; what is alike is dark.

    Returns:
        A figure with the class boundaries marked. The colours end at the hundredth part of the values that is
        least alike: a single image that is far from all would take their contrast.

    Raises:
        ValueError: `values` is not square or does not match `labels`, or a label is missing.
    """
    values, labels = np.asarray(values, np.float64), np.asarray(labels)
    if labels.ndim != 1 or values.shape != (len(labels), len(labels)):
        raise ValueError(f"values must be [N, N] for labels [N], received {values.shape} and {labels.shape}")
    check_none_missing("labels", labels)
    order = np.argsort(labels, kind="stable")
    classes, sizes = np.unique(labels, return_counts=True)
    ends = np.cumsum(sizes)
    figure = blank_figure((8, 6.2), title)
    axes = figure.subplots()
    colours, extend = _colours(values, as_bool("larger_is_alike", larger_is_alike))
    # With interpolation the blocks would bleed over the boundaries.
    image = axes.imshow(values[np.ix_(order, order)], interpolation="nearest", **colours)
    for end in ends[:-1]:
        axes.axhline(end - 0.5, color="white", lw=0.8)
        axes.axvline(end - 0.5, color="white", lw=0.8)
    centres = ends - sizes / 2 - 0.5
    if len(classes) <= _MOST_TICKS:
        names = [str(c) if class_names is None else class_names[c] for c in classes]
        axes.set_yticks(centres, [short(name) for name in names], fontsize=8, parse_math=False, usetex=False)
    else:
        axes.yaxis.set_major_locator(NullLocator())
    axes.xaxis.set_major_locator(NullLocator())
    axes.tick_params(length=0)
    axes.set_xlabel(f"{len(labels)} images of {len(classes)} classes")
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.82, pad=0.02, label=short(label), extend=extend)
    literal(bar.ax.yaxis.label)
    bar.outline.set_visible(False)
    return figure


def queries_versus_support(
    values: npt.ArrayLike,
    query_labels: npt.ArrayLike,
    support_labels: npt.ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    larger_is_alike: bool = False,
    label: str = "distance",
    title: str = "Images against the support",
) -> Figure:
    """Images in the order in which they come, against a support set sorted by class.

    Args:
        values: `[Q, S]`, distances or kernel values of query and support image.
        query_labels: `[Q]` integers.
        support_labels: `[S]` integers.
        class_names: one name per label value; the label itself if None.
        larger_is_alike: whether a larger value means more alike, as a kernel has it.
        label: what the values are, for the colour bar.
        title: the heading, before how many of the nearest are right.

    Returns:
        A figure with the class boundaries of the support marked, and in each row a dot on its most alike
        image: green if that is of the same class, vermillion and a cross if not.

    Raises:
        ArgumentError: `values` does not match the labels, or is empty; a label is missing.
    """
    values = np.asarray(values, np.float64)
    queries, support = np.asarray(query_labels), np.asarray(support_labels)
    fits = queries.ndim == support.ndim == 1 and values.shape == (len(queries), len(support))
    if not fits or not values.size:
        raise ArgumentError(
            "values",
            "must be [Q, S] for query_labels [Q] and support_labels [S], each 1 or more",
            described=f"shapes {list(values.shape)}, {list(queries.shape)} and {list(support.shape)}",
        )
    check_none_missing("query_labels", queries)
    check_none_missing("support_labels", support)
    order = np.argsort(support, kind="stable")
    values, support = values[:, order], support[order]
    alike = values if as_bool("larger_is_alike", larger_is_alike) else -values
    # Of equals the first; a row without a number has no nearest.
    known = ~np.isnan(alike).all(axis=1)
    nearest = np.where(np.isnan(alike), -np.inf, alike).argmax(axis=1)
    right = known & (support[nearest] == queries)
    title = f"{title}: {right.sum():,} of {len(queries):,} nearest are right"
    classes, sizes = np.unique(support, return_counts=True)
    ends = np.cumsum(sizes)
    figure = blank_figure((8, 6.2), title)
    axes = figure.subplots()
    image = axes.imshow(values, cmap=_COLOURS[bool(larger_is_alike)], interpolation="nearest", aspect="auto")
    for end in ends[:-1]:
        axes.axvline(end - 0.5, color="white", lw=0.8)
    marks = ((right, GREEN, "o", 42), (known & ~right, VERMILLION, "X", 64))
    for rows, colour, marker, size in marks:
        places = (nearest[rows], np.flatnonzero(rows))
        axes.scatter(*places, s=size, color=colour, marker=marker, edgecolors="white", lw=0.9)

    def name(value: int) -> str:
        return short(value if class_names is None else class_names[value])

    if len(classes) <= _MOST_TICKS:
        names = [name(value) for value in classes]
        centres = ends - sizes / 2 - 0.5
        axes.set_xticks(centres, names, rotation=90, fontsize=8, parse_math=False, usetex=False)
    else:
        axes.xaxis.set_major_locator(NullLocator())
    if len(queries) <= _MOST_TICKS:
        names = [name(value) for value in queries]
        axes.set_yticks(np.arange(len(queries)), names, fontsize=8, parse_math=False, usetex=False)
    else:
        axes.yaxis.set_major_locator(NullLocator())
    axes.tick_params(length=0)
    axes.set_xlabel(f"{len(support)} support images of {len(classes)} classes")
    axes.set_ylabel(f"{len(queries)} images")
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.82, pad=0.02, label=short(label))
    literal(bar.ax.yaxis.label)
    bar.outline.set_visible(False)
    return figure


def _colours(values: npt.NDArray[np.float64], larger_is_alike: bool) -> tuple[dict[str, Any], str]:
    """Arguments of `imshow`, and whether values lie beyond the colours."""
    colours: dict[str, Any] = {"cmap": _COLOURS[larger_is_alike]}
    known = values[np.isfinite(values)]
    if not known.size:
        return colours, "neither"
    end = np.percentile(known, _FAR if larger_is_alike else 100 - _FAR)
    beyond = bool((known < end).any() if larger_is_alike else (known > end).any())
    colours["vmin" if larger_is_alike else "vmax"] = end
    return colours, ("min" if larger_is_alike else "max") if beyond else "neither"
