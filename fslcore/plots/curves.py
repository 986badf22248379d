# SPDX-License-Identifier: MIT
"""Curves: training, and accuracy against the number of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, PercentFormatter

from fslcore.arguments import as_int64
from fslcore.evaluation import Report
from fslcore.plots.style import BLUE, COLOURS, GRAY, VERMILLION, band, blank_figure, line, tidy
from fslcore.plots.texts import literal, short

_FEWEST_SMOOTHED = 10
# Bounds of the smoothing window: 100 is the one of the Keras example, for 2,000 values.
_WINDOWS = (3, 100)


def training_curve(
    history: Sequence[Mapping[str, float]], title: str = "Training", *, smooth: bool = False
) -> Figure:
    """Loss and accuracy against epochs.

    Args:
        history: one row per epoch, as in `history.csv`: `epoch` (from 1), `loss` and, if there are any,
            `accuracy` (of training episodes), `val_accuracy` and `val_ci95`, each 0 to 1.
        title: the heading.
        smooth: draw the curves `smoothed`, with the values themselves faintly behind them; a history of fewer
            than 10 epochs is not smoothed.

    Returns:
        A figure with one panel for the loss and, if there is an accuracy, one for it.

    Raises:
        ValueError: `history` is empty.
    """
    if not history:
        raise ValueError("history must have at least one epoch, received none")
    accuracies = [key for key in ("accuracy", "val_accuracy") if any(key in row for row in history)]
    figure = blank_figure((10 if accuracies else 5.5, 4), title)
    axes = figure.subplots(1, 2 if accuracies else 1, squeeze=False)[0]
    epochs, losses = _column(history, "loss")
    draw = _smooth_line if smooth and len(history) >= _FEWEST_SMOOTHED else line
    draw(axes[0], epochs, losses, BLUE, "training")
    axes[0].set(xlabel="epoch", ylabel="loss")
    if min(losses) >= 0:
        axes[0].set_ylim(bottom=0)
    styles = {
        "accuracy": (BLUE, "training episodes"),
        "val_accuracy": (VERMILLION, "validation"),
    }
    for key in accuracies:
        colour, label = styles[key]
        epochs, values = _column(history, key)
        draw(axes[1], epochs, values, colour, label)
        # The interval of a single value is too wide for an average over several.
        banded = draw is line and all("val_ci95" in row for row in history if key in row)
        if key == "val_accuracy" and banded:
            band(axes[1], epochs, values, _column(history, "val_ci95")[1], colour)
    if accuracies:
        axes[1].set(xlabel="epoch", ylabel="accuracy")
        axes[1].yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes[1].set_ylim(top=min(1.0, axes[1].get_ylim()[1] + 0.02))
        axes[1].legend(frameon=False, loc="lower right")
    for panel in axes:
        if len(epochs) == 1:  # a point, around which the ticks would be fractions
            panel.set_xlim(epochs[0] - 1, epochs[0] + 1)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(panel)
    return figure


def smoothed(values: npt.ArrayLike, window: int | None = None) -> npt.NDArray[np.float64]:
    """Averages over a Hamming window, as in the Reptile example of the Keras documentation.

    Beyond its ends the series continues as its mirror image. Unlike in that example, the result is cut to the
    length of the series, so that each average is at the position of its values.

    Args:
        values: `[N]`.
        window: number of values under the window, 1 to N; None: a tenth of N, from 3 to 100 as far as N goes.

    Returns:
        float64 `[N]`.

    Raises:
        ValueError: `values` is not a series, or `window` is out of range.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"values must be [N] with N at least 1, received shape {list(values.shape)}")
    shortest, longest = _WINDOWS
    if window is not None:
        as_int64("window", window)
    width = min(longest, max(shortest, len(values) // 10), len(values)) if window is None else window
    if not 1 <= width <= len(values):
        raise ValueError(f"window must be 1 to {len(values)}, the number of values, received window={window}")
    weights = np.hamming(width)
    mirrored = np.r_[values[width - 1 : 0 : -1], values, values[-1:-width:-1]]
    averages = np.convolve(mirrored, weights / weights.sum(), mode="valid")
    first = (width - 1) // 2
    return averages[first : first + len(values)]


def accuracy_versus_way(curves: Mapping[str, Sequence[Report]], title: str | None = None) -> Figure:
    """Accuracy against the number of classes to choose from, beside guessing.

    Args:
        curves: name -> reports with rising `n_way`, as `evaluation.accuracy_versus_way` returns them.
        title: the heading; made from the reports if None.

    Returns:
        A figure with a line and a 95 % band per learner, named at its end, and a dashed line for chance.

    Raises:
        ValueError: there is no report.
    """
    reports = [report for curve in curves.values() for report in curve]
    if not reports:
        raise ValueError("curves must hold at least one report, received none")
    first = reports[0]
    datasets = list(dict.fromkeys(report.dataset for report in reports))
    where = " on unseen classes" if len(datasets) == 1 else ""  # with two, one may be that of the training
    title = title or f"{first.k_shot}-shot accuracy{where} ({', '.join(datasets)})"
    figure = blank_figure((7.4, 4.6), title)
    axes = figure.subplots()
    ends = []
    for colour, (name, curve) in zip(_cycle(len(curves)), curves.items(), strict=True):
        ways = [report.n_way for report in curve]
        accuracies = [report.accuracy for report in curve]
        line(axes, ways, accuracies, colour, name)
        band(axes, ways, accuracies, [np.nan_to_num(report.ci95) for report in curve], colour)
        ends.append((accuracies[-1], name, colour))
    every_way = sorted({report.n_way for report in reports})
    axes.plot(every_way, [1 / way for way in every_way], color=GRAY, lw=1.5, ls="--")
    ends.append((1 / every_way[-1], "chance", GRAY))
    axes.set(xlabel="number of classes to choose from (N-way)", ylabel="accuracy", ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.xaxis.set_major_locator(FixedLocator(every_way))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    tidy(axes)
    _name_at_end(axes, every_way[-1], ends)
    episodes = f"{first.episodes:,} episodes each; bands: 95 % confidence"
    axes.text(0, -0.19, episodes, transform=axes.transAxes, fontsize=8, color=GRAY)
    return figure


def _cycle(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def _column(history: Sequence[Mapping[str, float]], key: str) -> tuple[list[float], list[float]]:
    rows = [row for row in history if key in row]
    return [row["epoch"] for row in rows], [row[key] for row in rows]


def _smooth_line(axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, label: str) -> None:
    axes.plot(x, y, color=colour, lw=0, marker="o", ms=3, alpha=0.3, mec="none")
    axes.plot(x, smoothed(y), color=colour, lw=2, label=label)


def _name_at_end(axes: Axes, x: float, ends: list[tuple[float, str, str]]) -> None:
    """Writes the names right of the lines' ends, pushed apart where they would overlap."""
    least = 0.06  # height of a line of text in units of the axis, 0 to 1
    lowest = -1.0
    for y, name, colour in sorted(ends):
        lowest = max(y, lowest + least)
        text = axes.annotate(
            short(name),
            (x, lowest),
            (8, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
        )
        literal(text)
