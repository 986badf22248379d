# SPDX-License-Identifier: MIT
"""The distances of all pairs of some images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from fslcore.data.labelling import check_none_missing
from fslcore.plots.style import blank_figure
from fslcore.plots.texts import literal, short

# More names than this on an axis of a 16 cm picture cannot be read.
_MOST_TICKS = 40


def distance_matrix(
    values: npt.ArrayLike,
    labels: npt.ArrayLike,
    class_names: Sequence[str] | None = None,
    label: str = "distance",
    title: str = "Pairwise distances, sorted by class",
) -> Figure:
    """All pairs of some images, sorted by class: a good learner shows one even block for each class.

    Args:
        values: `[N, N]`, distances or kernel values.
        labels: `[N]` integers.
        class_names: one name per label value; the label itself if None.
        label: what the values are, for the colour bar.
        title: the heading.

    Returns:
        A figure with the class boundaries marked.

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
    # With interpolation the blocks would bleed over the boundaries.
    image = axes.imshow(values[np.ix_(order, order)], cmap="viridis", interpolation="nearest")
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
    bar = figure.colorbar(image, ax=axes, shrink=0.82, pad=0.02, label=short(label))
    literal(bar.ax.yaxis.label)
    bar.outline.set_visible(False)
    return figure
