# SPDX-License-Identifier: MIT
"""Pictures of a run.

Each function returns a matplotlib `Figure` of its own; pyplot's global state is not touched. Colours are
those of Okabe and Ito, which stay apart for colour-blind readers; what matters is also told by shape or text.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

from fslcore.evaluation import Report

BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
)
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
GRAY, _LIGHT_GRAY, _INK = "#767676", "#DDDDDD", "#222222"
_DPI = 150
# More names than this on an axis of a 16 cm picture cannot be read.
_MOST_TICKS = 40
_FEWEST_SMOOTHED = 10
# Of the smoothing: 100 is that of the Keras example, on 2,000 values.
_WINDOWS = (3, 100)


def training_curve(
    history: Sequence[Mapping[str, float]], title: str = "Training", *, smooth: bool = False
) -> Figure:
    """Loss and accuracy against epochs.

    Args:
        history: one row per epoch, as in `history.csv`: `epoch` (from 1), `loss` and, if there are any,
            `accuracy` (of training episodes), `val_accuracy` and `val_ci95`, each 0 to 1.
        title: the heading.
        smooth: draw the curves `smoothed`, the figures themselves faintly behind them; a history of fewer
            than 10 epochs is drawn as it is.

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
    draw = _smooth_line if smooth and len(history) >= _FEWEST_SMOOTHED else _line
    draw(axes[0], epochs, losses, BLUE, "training")
    axes[0].set(xlabel="epoch", ylabel="loss")
    if min(losses) >= 0:
        axes[0].set_ylim(bottom=0)
    styles = {
        "accuracy": (BLUE, "training episodes"),
        "val_accuracy": (VERMILLION, "validation, unseen classes"),
    }
    for key in accuracies:
        colour, label = styles[key]
        epochs, values = _column(history, key)
        draw(axes[1], epochs, values, colour, label)
        # The band of the single figures would say too much of an average over several.
        banded = draw is _line and all("val_ci95" in row for row in history if key in row)
        if key == "val_accuracy" and banded:
            _band(axes[1], epochs, values, _column(history, "val_ci95")[1], colour)
    if accuracies:
        axes[1].set(xlabel="epoch", ylabel="accuracy")
        axes[1].yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes[1].set_ylim(top=min(1.0, axes[1].get_ylim()[1] + 0.02))
        axes[1].legend(frameon=False, loc="lower right")
    for panel in axes:
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(panel)
    return figure


def smoothed(values: npt.ArrayLike, window: int | None = None) -> npt.NDArray[np.float64]:
    """Averages over a Hamming window, as in the Reptile example of the Keras documentation.

    Beyond its ends the series goes on as its mirror image. Unlike there, the result is cut to the series, so
    that each average stands where its values do.

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
    width = min(longest, max(shortest, len(values) // 10), len(values)) if window is None else window
    if not 1 <= width <= len(values):
        raise ValueError(f"window must be 1 to {len(values)}, the number of values, received window={window}")
    weights = np.hamming(width)
    mirrored = np.r_[values[width - 1 : 0 : -1], values, values[-1:-width:-1]]
    averages = np.convolve(mirrored, weights / weights.sum(), mode="valid")
    first = (width - 1) // 2
    return averages[first : first + len(values)]


def episode_with_predictions(
    support: npt.ArrayLike,
    query: npt.ArrayLike,
    scores: npt.ArrayLike,
    class_names: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """An episode as the learner sees it: per class a row of support, queries and what they were taken for.

    Args:
        support: images `[n_way, k_shot, H, W, C]`, 0 to 1.
        query: images `[n_way, n_query, H, W, C]`.
        scores: `[n_way * n_query, n_way]`, class by class, larger = more alike.
        class_names: one per class; "class 1", ... if None.
        title: the heading; the number of right answers if None.

    Returns:
        A figure; queries taken for the right class are framed in green, others in vermillion, with the number
        of the class that they were taken for below.

    Raises:
        ValueError: the shapes do not go together.
    """
    support, query, scores = np.asarray(support), np.asarray(query), np.asarray(scores)
    n_way, k_shot = support.shape[:2]
    n_query = query.shape[1]
    if len(query) != n_way or scores.shape != (n_way * n_query, n_way):
        raise ValueError(
            f"scores must be [{n_way * n_query}, {n_way}] for support {support.shape} and query "
            f"{query.shape}, received {scores.shape}"
        )
    names = class_names or [f"class {i + 1}" for i in range(n_way)]
    rows = [
        textwrap.fill(f"{i + 1}  {name}", 22, max_lines=2, placeholder=" …") for i, name in enumerate(names)
    ]
    predicted = scores.argmax(axis=1).reshape(n_way, n_query)
    right = int((predicted == np.arange(n_way)[:, None]).sum())
    drawing = _is_drawing(support)
    figure = blank_figure(
        (0.85 * (k_shot + n_query) + 2.2, 1.0 * n_way + 0.8),
        title or f"{n_way}-way {k_shot}-shot: {right} of {n_way * n_query} queries right",
    )
    # One narrow empty column sets the support apart from the queries.
    grid = figure.add_gridspec(
        n_way, k_shot + 1 + n_query, width_ratios=[1] * k_shot + [0.35] + [1] * n_query
    )
    for row in range(n_way):
        for column in range(k_shot):
            panel = figure.add_subplot(grid[row, column])
            _image(panel, support[row, column], _INK, 1.0, drawing)
            if column == 0:
                panel.set_ylabel(rows[row], rotation=0, ha="right", va="center", labelpad=8, fontsize=9)
            if row == 0 and column == 0:
                panel.set_title("support", loc="left", fontsize=10, color=GRAY)
        for column in range(n_query):
            panel = figure.add_subplot(grid[row, k_shot + 1 + column])
            correct = predicted[row, column] == row
            _image(panel, query[row, column], GREEN if correct else VERMILLION, 2.5, drawing)
            if not correct:
                panel.set_xlabel(f"→ {predicted[row, column] + 1}", color=VERMILLION, fontsize=9, labelpad=1)
            if row == 0 and column == 0:
                panel.set_title("queries", loc="left", fontsize=10, color=GRAY)
            if row == 0 and column == 1 and right < n_way * n_query:
                key = panel.text(0, 1.08, "→ the class a wrong one was taken for", transform=panel.transAxes)
                key.set(color=VERMILLION, fontsize=10, in_layout=False)  # must not widen its column
    return figure


def real_versus_generated(
    real: npt.ArrayLike, generated: npt.ArrayLike, title: str = "Real and generated images of one task"
) -> Figure:
    """Images of a task beside those that a generator makes for it.

    Args:
        real: images `[rows, columns, H, W, C]`, 0 to 1; a row may be a class.
        generated: images `[rows, any number, H, W, C]`.
        title: the heading.

    Returns:
        A figure with two grids of images.

    Raises:
        ValueError: the shapes are not those, or the images differ in size.
    """
    grids = {"real": np.asarray(real), "generated": np.asarray(generated)}
    for name, grid in grids.items():
        if grid.ndim != 5 or not grid.size or grid.shape[2:] != grids["real"].shape[2:]:
            shapes = " and ".join(str(list(grid.shape)) for grid in grids.values())
            raise ValueError(
                f"{name} must be images [rows, columns, H, W, C], with H, W and C of real, received {shapes}"
            )
    drawing = _is_drawing(grids["real"])
    columns = [grid.shape[1] for grid in grids.values()]
    rows = max(len(grid) for grid in grids.values())
    figure = blank_figure((0.62 * sum(columns) + 0.8, 0.62 * rows + 0.9), title)
    figure.set_layout_engine("constrained", wspace=0.04)
    panels = figure.subplots(1, 2, width_ratios=columns)
    for panel, (name, grid) in zip(panels, grids.items(), strict=True):
        _image(panel, _tiled(grid), _LIGHT_GRAY, 0.0, drawing)
        panel.set_title(name, loc="left", fontsize=10, color=GRAY)
    return figure


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
        ValueError: `values` is not square or does not match `labels`.
    """
    values, labels = np.asarray(values, np.float64), np.asarray(labels)
    if labels.ndim != 1 or values.shape != (len(labels), len(labels)):
        raise ValueError(f"values must be [N, N] for labels [N], received {values.shape} and {labels.shape}")
    order = np.argsort(labels, kind="stable")
    classes, sizes = np.unique(labels, return_counts=True)
    ends = np.cumsum(sizes)
    figure = blank_figure((8, 6.2), title)
    axes = figure.subplots()
    # Single pixels must stay single: with interpolation the blocks would bleed over the boundaries.
    image = axes.imshow(values[np.ix_(order, order)], cmap="viridis", interpolation="nearest")
    for end in ends[:-1]:
        axes.axhline(end - 0.5, color="white", lw=0.8)
        axes.axvline(end - 0.5, color="white", lw=0.8)
    centres = ends - sizes / 2 - 0.5
    if len(classes) <= _MOST_TICKS:
        names = [str(c) if class_names is None else class_names[c] for c in classes]
        short = [textwrap.shorten(name, 32, placeholder=" …") for name in names]
        axes.set_yticks(centres, short, fontsize=8)
    else:
        axes.yaxis.set_major_locator(NullLocator())
    axes.xaxis.set_major_locator(NullLocator())
    axes.tick_params(length=0)
    axes.set_xlabel(f"{len(labels)} images of {len(classes)} classes")
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.82, pad=0.02, label=label)
    bar.outline.set_visible(False)
    return figure


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
    title = title or f"{first.k_shot}-shot accuracy on unseen classes ({first.dataset})"
    figure = blank_figure((7.4, 4.6), title)
    axes = figure.subplots()
    ends = []
    for colour, (name, curve) in zip(_cycle(len(curves)), curves.items(), strict=True):
        ways = [report.n_way for report in curve]
        accuracies = [report.accuracy for report in curve]
        _line(axes, ways, accuracies, colour, name)
        _band(axes, ways, accuracies, [np.nan_to_num(report.ci95) for report in curve], colour)
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


def blank_figure(size: tuple[float, float], title: str) -> Figure:
    """A figure of `size` inches with a heading and nothing else."""
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    figure.suptitle(title, fontsize=12, color=_INK, x=0.02, ha="left", fontweight="bold")
    return figure


def _cycle(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def _column(history: Sequence[Mapping[str, float]], key: str) -> tuple[list[float], list[float]]:
    rows = [row for row in history if key in row]
    return [row["epoch"] for row in rows], [row[key] for row in rows]


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, label: str) -> None:
    # Markers while they can be told apart; a single epoch would be invisible without one.
    axes.plot(x, y, color=colour, lw=2, marker="o" if len(x) <= 30 else None, ms=4, label=label)


def _smooth_line(axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, label: str) -> None:
    axes.plot(x, y, color=colour, lw=0, marker="o", ms=3, alpha=0.3, mec="none")
    axes.plot(x, smoothed(y), color=colour, lw=2, label=label)


def _band(axes: Axes, x: Sequence[float], y: Sequence[float], half: Sequence[float], colour: str) -> None:
    axes.fill_between(x, np.subtract(y, half), np.add(y, half), color=colour, alpha=0.18, lw=0)


def tidy(axes: Axes) -> None:
    """Takes away what is not needed to read the values."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRAY)
    axes.grid(axis="y", color=_LIGHT_GRAY, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=9)


def _name_at_end(axes: Axes, x: float, ends: list[tuple[float, str, str]]) -> None:
    """Writes the names right of the lines' ends, pushed apart where they would overlap."""
    least = 0.06  # height of a line of text in units of the axis, 0 to 1
    lowest = -1.0
    for y, name, colour in sorted(ends):
        lowest = max(y, lowest + least)
        axes.annotate(
            name,
            (x, lowest),
            (8, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
        )


def _is_drawing(images: npt.NDArray[Any]) -> bool:
    """Drawings are stored light on black, as nets like them; on paper their ink is dark."""
    return bool(np.count_nonzero(images) < images.size / 2)


def _tiled(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One image [height, width, C] of a grid [rows, columns, H, W, C], a black pixel between neighbours."""
    padded = np.pad(images, [(0, 0), (0, 0), (0, 1), (0, 1), (0, 0)])
    rows, columns, height, width, channels = padded.shape
    return padded.swapaxes(1, 2).reshape(rows * height, columns * width, channels)[:-1, :-1]


def _image(axes: Axes, image: npt.NDArray[Any], frame: str, width: float, invert: bool) -> None:
    gray = image.shape[-1] == 1
    colours = "gray_r" if invert else "gray"
    axes.imshow(image[..., 0] if gray else image, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=frame, linewidth=width)
