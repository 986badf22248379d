# SPDX-License-Identifier: MIT
"""Known and unknown queries: how their scores lie, and the curve of true against false positives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from fslcore.evaluation import OpenSetReport
from fslcore.plots.style import BLUE, COLOURS, GRAY, INK, VERMILLION, blank_figure, tidy
from fslcore.plots.texts import literal, short

_BINS = 60
# Scores beyond these quantiles would squeeze all others into a few bars.
_SHOWN = (0.002, 0.998)
_TRUE_POSITIVES = 0.95


def open_set(
    reports: Mapping[str, OpenSetReport],
    known: npt.ArrayLike,
    unknown: npt.ArrayLike,
    threshold: float | None = None,
    title: str = "Known and unknown images",
) -> Figure:
    """The best scores of known and unknown queries, and curves of true against false positives.

    Args:
        reports: name -> report, each drawn as a curve.
        known: best scores of known queries, `[N]`, for the histogram.
        unknown: best scores of unknown queries, `[M]`.
        threshold: marked in the histogram, if there is one.
        title: the heading.

    Returns:
        A figure with two panels; the false positives are on a logarithmic axis, since few are allowed.

    Raises:
        ValueError: there is no report.
    """
    if not reports:
        raise ValueError("reports must hold at least one report, received none")
    figure = blank_figure((10.5, 4.2), title)
    left, right = figure.subplots(1, 2)
    _histograms(left, np.asarray(known, np.float64), np.asarray(unknown, np.float64), threshold)
    _curves(right, reports)
    return figure


def _histograms(
    axes: Axes, known: npt.NDArray[np.float64], unknown: npt.NDArray[np.float64], threshold: float | None
) -> None:
    both = np.concatenate([known, unknown])
    low, high = np.quantile(both, _SHOWN)
    if threshold is not None:
        low, high = min(low, threshold), max(high, threshold)
    bins = np.linspace(low, high if high > low else low + 1, _BINS + 1).tolist()
    for scores, colour, name in ((unknown, VERMILLION, "unknown labels"), (known, BLUE, "known labels")):
        inside = np.clip(scores, bins[0], bins[-1])
        weights = np.full(len(scores), 1 / len(scores))
        axes.hist(inside, bins, weights=weights, color=colour, alpha=0.35, lw=0)
        axes.hist(inside, bins, weights=weights, color=colour, histtype="step", lw=1.5, label=name)
    if threshold is not None:
        axes.axvline(threshold, color=INK, lw=1.5, ls="--", label="threshold")
    axes.set(xlabel="best score (larger is nearer)", ylabel="share of the images")
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)


def _curves(axes: Axes, reports: Mapping[str, OpenSetReport]) -> None:
    least = min(1 / report.unknown for report in reports.values())
    for number, (name, report) in enumerate(reports.items()):
        false = np.maximum(report.roc.false_positives, least)
        label = f"{short(name)} (AUROC {100 * report.auroc.value:.1f} %)"
        axes.step(
            false,
            report.roc.true_positives,
            where="post",
            color=COLOURS[number % len(COLOURS)],
            lw=2,
            label=label,
        )
    chance = np.geomspace(least, 1, 200)
    axes.plot(chance, chance, color=GRAY, lw=1.5, ls="--", label="chance")
    axes.axhline(_TRUE_POSITIVES, color=GRAY, lw=0.8, ls=":")
    axes.set(
        xscale="log",
        xlim=(least, 1),
        ylim=(0, 1.02),
        xlabel="unknown images accepted",
        ylabel="known images accepted",
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    # Below: the curves may lie anywhere.
    legend = axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, -0.13), ncols=2)
    for text in legend.get_texts():
        literal(text)
    tidy(axes)
