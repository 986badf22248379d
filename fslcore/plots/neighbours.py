# SPDX-License-Identifier: MIT
"""A picture of one image and of those that are nearest to it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from fslcore.plots.images import panel_image
from fslcore.plots.style import BLUE, GRAY, INK, LIGHT_GRAY, blank_figure
from fslcore.plots.texts import drawable, literal

Image = npt.NDArray[Any]


def neighbours(
    image: Image | None,
    name: str,
    nearest: Sequence[Image | None],
    names: Sequence[str],
    title: str,
) -> Figure:
    """An image, and beside it the images that are nearest to it.

    Args:
        image: uint8 `[H, W, C]`; None leaves its place empty.
        name: what stands below it.
        nearest: the others, the nearest first; None leaves a place empty.
        names: what stands below each of them, in one or more lines.
        title: the heading.

    Returns:
        A figure.
    """
    shown = [image, *nearest]
    known = [each for each in shown if each is not None]
    drawing = bool(known) and sum(map(np.count_nonzero, known)) < sum(each.size for each in known) / 2
    figure = blank_figure((max(1.15 * len(shown) + 0.5, 3.9), 2.1), title)
    # One narrow empty column sets the image apart from the others.
    grid = figure.add_gridspec(1, len(shown) + 1, width_ratios=[1, 0.25, *[1] * len(nearest)])
    for column, (each, below) in enumerate(zip(shown, [name, *names], strict=True)):
        panel = figure.add_subplot(grid[0, column + (column > 0)])
        frame = BLUE if column == 0 else LIGHT_GRAY
        if each is None:
            panel_image(panel, np.ones((1, 1, 1)), frame, 1.0, False)
            panel.text(
                0.5,
                0.5,
                "no picture",
                ha="center",
                va="center",
                color=GRAY,
                fontsize=8,
                transform=panel.transAxes,
            )
        else:
            panel_image(panel, each / np.float32(255), frame, 2.5 if column == 0 else 1.0, drawing)
        lines = [
            textwrap.fill(drawable(part), 15, max_lines=2, placeholder=" …") for part in below.split("\n")
        ]
        panel.set_xlabel("\n".join(lines), color=INK, fontsize=9)
        literal(panel.xaxis.label)
    return figure
