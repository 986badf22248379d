# SPDX-License-Identifier: MIT
"""Time and memory against the batch size, as pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from fslcore.bench.comparison import Comparison
from fslcore.bench.timing import Measurement
from fslcore.plots import BLUE, COLOURS, GRAY, blank_figure, tidy

# Below a megabyte the figures measure the interpreter, and a logarithm has no zero.
_LEAST_MEGABYTES = 1.0
_MARKERS = "osD^vP"
_Points = list[tuple[int, float]]


def series(comparisons: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    """The comparisons by series, by rising batch size; only series of two sizes and more."""
    found: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in comparisons:
        if comparison.series and comparison.batch is not None:
            found[comparison.series].append(comparison)
    return {
        name: sorted(cases, key=lambda case: case.batch or 0)
        for name, cases in found.items()
        if len({case.batch for case in cases}) > 1
    }


def draw_curves(cases: Sequence[Comparison], title: str) -> Figure:
    """Time and peak memory against the batch size, on logarithmic axes.

    Args:
        cases: Of one series, by rising batch size.
        title: The heading.

    Returns:
        A figure with a line per contender, ours thick and blue; a cross marks the last size of a contender
        that does not fit into memory at the next.

    Raises:
        ValueError: There is no case.
    """
    if not cases:
        raise ValueError("cases must hold at least one comparison, received none")
    figure = blank_figure((11, 4.8), title)
    panels = figure.subplots(1, 2)
    _panel(panels[0], cases, "milliseconds", lambda m: m.milliseconds)
    _panel(panels[1], cases, "peak memory beyond that before, MB (or less than 1)", _megabytes)
    handles, labels = panels[0].get_legend_handles_labels()
    if any(case.too_large for case in cases):
        handles += panels[0].plot([], [], color=GRAY, lw=0, marker="x", ms=9, mew=2)
        labels.append("does not fit beyond")
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    return figure


def _panel(
    axes: Axes, cases: Sequence[Comparison], label: str, value: Callable[[Measurement], float | None]
) -> None:
    lines: dict[str, _Points] = defaultdict(list)
    for case in cases:
        for m in case.measurements:
            y = value(m)
            if y is not None:
                lines[m.name].append((case.batch or 0, y))
    walls = {name for case in cases for name in case.too_large}
    ours = [name for name in lines if name.startswith("fslcore")]
    peers = [name for name in lines if name not in ours]
    for style, name in enumerate(ours):
        _draw(axes, name, lines[name], style, color=BLUE, lw=2.8, ms=6, zorder=3)
    others = [colour for colour in COLOURS if colour != BLUE]
    for index, name in enumerate(peers):
        colour = others[index % len(others)]
        _draw(axes, name, lines[name], index // len(others), color=colour, lw=1.3, ms=4, zorder=2)
        if name in walls:
            axes.plot(*lines[name][-1], color=colour, marker="x", ms=11, mew=2.5, lw=0, zorder=4)
    sizes = sorted({case.batch or 0 for case in cases})
    axes.set(xscale="log", yscale="log", xlabel="batch size", ylabel=label)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    tidy(axes)


def _draw(axes: Axes, name: str, points: _Points, style: int, **look: Any) -> None:
    """One line; `style` distinguishes lines of one colour."""
    dashes = ("-", "--", ":", "-.")[style % 4]
    axes.plot(*zip(*points, strict=True), ls=dashes, marker=_MARKERS[style % 6], label=name, **look)


def _megabytes(measurement: Measurement) -> float | None:
    extra = measurement.extra_megabytes
    return None if extra is None else max(extra, _LEAST_MEGABYTES)
