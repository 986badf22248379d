# SPDX-License-Identifier: MIT
"""Which labels are taken for which, and pictures side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fslcore.arguments import as_bool
from fslcore.plots.images import panel_image
from fslcore.plots.style import GRAY, INK, LIGHT_GRAY, blank_figure
from fslcore.plots.texts import literal, short

# More labels than this cannot be read, nor more numbers in the cells.
_MOST_LABELS = 30
_MOST_NUMBERS = 20
_LETTERS = 15  # of a line below a picture


def confusion_matrix(
    matrix: npt.ArrayLike, names: Sequence[str], title: str = "Labels and answers", *, rates: bool = False
) -> Figure:
    """How often images of each label got each answer, in shares of the label's images.

    Args:
        matrix: counts `[C, C + 1]`, labels by answers; the last column is "unknown", drawn if it is used.
        names: of the C labels.
        title: the heading.
        rates: whether precision, recall and F1 of each label stand beside it, in percent, of all its answers
            and images, those outside of the picture too; "-" where there are none.

    Returns:
        A figure; of more than 30 labels, those with the most mistakes, and a last column "other".

    Raises:
        ValueError: the shapes do not go together.
    """
    counts = np.asarray(matrix, np.int64)
    if not len(names) or counts.shape != (len(names), len(names) + 1):
        raise ValueError(
            f"matrix must be [{len(names)}, {len(names) + 1}] for {len(names)} names, received {counts.shape}"
        )
    own, columns = np.diagonal(counts), list(names)
    chosen = np.arange(len(names))
    if len(names) > _MOST_LABELS:
        wrong = counts[:, :-1].sum(axis=0) + counts.sum(axis=1) - 2 * own
        chosen = np.sort(np.argsort(-wrong, kind="stable")[:_MOST_LABELS])
        title = f"{title}: the {_MOST_LABELS} labels with the most mistakes, of {len(names):,}"
    rest = np.setdiff1d(np.arange(len(names)), chosen)
    shown = counts[np.ix_(chosen, chosen)]
    columns = [short(names[int(i)]) for i in chosen]
    for name, values in (
        ("other", counts[np.ix_(chosen, rest)].sum(axis=1)),
        ("unknown", counts[chosen, -1]),
    ):
        if values.any():
            shown, columns = np.column_stack([shown, values]), [*columns, name]
    totals = np.maximum(counts[chosen].sum(axis=1, keepdims=True), 1)
    shares = shown / totals
    side = max(3.2, 0.32 * len(columns) + 1.8)
    room = (1.3, 1.2) if as_bool("rates", rates) else (0.6, 0)
    figure = blank_figure((side + room[0], side + room[1]), title)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if len(chosen) <= _MOST_NUMBERS:
        for row, column in np.argwhere(shown):
            colour = "white" if shares[row, column] > 0.5 else INK
            axes.text(
                column, row, f"{shown[row, column]:,}", ha="center", va="center", color=colour, fontsize=7
            )
    axes.set_xticks(np.arange(len(columns)), columns, rotation=90, fontsize=8, parse_math=False, usetex=False)
    axes.set_yticks(
        np.arange(len(chosen)),
        [short(names[int(i)]) for i in chosen],
        fontsize=8,
        parse_math=False,
        usetex=False,
    )
    axes.set(xlabel="answer", ylabel="label")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set(color=LIGHT_GRAY)
    if rates:
        _write_rates(axes, counts, chosen)
    place = {"location": "bottom", "pad": 0.06} if rates else {"shrink": 0.82, "pad": 0.02}
    bar = figure.colorbar(image, ax=axes, label="share of the label's images", **place)
    bar.outline.set_visible(False)
    return figure


def _write_rates(axes: Axes, counts: npt.NDArray[np.int64], chosen: npt.NDArray[Any]) -> None:
    """Writes precision, recall and F1 of the chosen labels right of their rows, in percent."""
    right, given, there = np.diagonal(counts), counts[:, :-1].sum(axis=0), counts.sum(axis=1)
    rates = {"precision": (right, given), "recall": (right, there), "F1": (2 * right, there + given)}
    for number, (name, (part, whole)) in enumerate(rates.items()):
        beside: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "annotation_clip": False}
        place = 16 + 24 * number
        axes.annotate(
            name, (1, 1), (place, 4), xycoords="axes fraction", va="bottom", fontsize=8, rotation=90, **beside
        )
        for row, label in enumerate(chosen):
            share = f"{100 * part[label] / whole[label]:.0f}" if whole[label] else "-"
            cell = (1, row)
            axes.annotate(
                share, cell, (place, 0), xycoords=("axes fraction", "data"), va="center", fontsize=7, **beside
            )


def picture_rows(
    rows: Sequence[Sequence[tuple[npt.NDArray[Any], str]]], notes: Sequence[str], title: str
) -> Figure:
    """Rows of pictures, each with a name below it, and a note beside each row.

    Args:
        rows: for each row its pictures uint8 `[H, W, C]` with their names.
        notes: one for each row.
        title: the heading.

    Raises:
        ValueError: there is no row, or not a note for each.
    """
    if not rows or len(rows) != len(notes):
        raise ValueError(
            f"rows must have a note each and be one or more, received {len(rows)} and {len(notes)}"
        )
    pictures = [picture for row in rows for picture, _ in row]
    drawing = sum(map(np.count_nonzero, pictures)) < sum(each.size for each in pictures) / 2
    most = max(map(len, rows))
    figure = blank_figure((1.05 * most + 3.4, 1.45 * len(rows) + 0.7), title)
    grid = figure.add_gridspec(len(rows), most + 1, width_ratios=[*[1] * most, 2.8])
    for number, (row, note) in enumerate(zip(rows, notes, strict=True)):
        for column, (picture, name) in enumerate(row):
            panel = figure.add_subplot(grid[number, column])
            panel_image(panel, picture / 255, LIGHT_GRAY, 1.0, drawing)
            below = textwrap.fill(short(name), _LETTERS, max_lines=3, placeholder=" …")
            panel.set_xlabel(below, fontsize=7, labelpad=1)
            literal(panel.xaxis.label)
        beside = figure.add_subplot(grid[number, most])
        beside.axis("off")
        text = beside.text(0, 0.5, note, va="center", fontsize=9, color=GRAY, wrap=True)
        literal(text)
    return figure
