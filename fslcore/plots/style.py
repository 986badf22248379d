# SPDX-License-Identifier: MIT
"""The style of all figures: colours, headings, lines and bands.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart; shape or text repeats what
a colour says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fslcore.plots.texts import drawable, literal, wrapped

BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
)
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
GRAY, LIGHT_GRAY, INK = "#767676", "#DDDDDD", "#222222"
_DPI = 150
_MARGIN = 0.02  # left and right of a heading, as a part of the width


def blank_figure(size: tuple[float, float], title: str) -> Figure:
    """A figure of `size` inches with a heading, in as many lines as that width needs, and nothing else."""
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    heading = wrapped(drawable(title, "bold"), (1 - 2 * _MARGIN) * size[0], 12, "bold")
    text = figure.suptitle(heading, fontsize=12, color=INK, x=_MARGIN, ha="left", fontweight="bold")
    literal(text)
    return figure


def tidy(axes: Axes) -> None:
    """Removes what is not needed to read the values."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRAY)
    axes.grid(axis="y", color=LIGHT_GRAY, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)


def line(axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, label: str) -> None:
    """A curve with a name."""
    # Markers as long as they can be told apart; a single point would be invisible without one.
    axes.plot(x, y, color=colour, lw=2, marker="o" if len(x) <= 30 else None, ms=4, label=label)


def band(axes: Axes, x: Sequence[float], y: Sequence[float], half: Sequence[float], colour: str) -> None:
    """A band of a half-width around a curve."""
    axes.fill_between(x, np.subtract(y, half), np.add(y, half), color=colour, alpha=0.18, lw=0)
