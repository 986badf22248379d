# SPDX-License-Identifier: MIT
"""Pictures that show images: an episode with its predictions, images by class, real and generated ones."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fslcore.plots.style import GRAY, GREEN, INK, LIGHT_GRAY, VERMILLION, blank_figure
from fslcore.plots.texts import drawable, literal, short

_KEY = "→ the class a wrong one was taken for"
# With fewer queries there is no room for the key above the second of them: it stands below the picture.
_QUERIES_BESIDE_KEY = 6
_MOST = 1.5  # larger values are no rounding and no overshoot: the images go to 255
_LEAST_WIDTH = 3.9  # inches, for the key and for the heading


def episode_with_predictions(
    support: npt.ArrayLike,
    query: npt.ArrayLike,
    scores: npt.ArrayLike,
    class_names: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """An episode: for each class a row of its support, and its queries with the predictions.

    Args:
        support: images `[n_way, k_shot, H, W, C]`, floats from 0 to 1.
        query: images `[n_way, n_query, H, W, C]`.
        scores: `[n_way * n_query, n_way]`, class by class, larger = more alike. A query with a NaN among its
            scores is wrong.
        class_names: one per class; "class 1", ... if None.
        title: the heading; the number of right answers if None.

    Returns:
        A figure; correct queries are framed in green, others in vermillion, with the number of the predicted
        class below.

    Raises:
        ValueError: the shapes do not go together, or the values of the images are not from 0 to 1.
    """
    support, query = _shown("support", support), _shown("query", query)
    scores = np.asarray(scores)
    n_way, k_shot = support.shape[:2]
    n_query = query.shape[1]
    if len(query) != n_way or scores.shape != (n_way * n_query, n_way):
        raise ValueError(
            f"scores must be [{n_way * n_query}, {n_way}] for support {support.shape} and query "
            f"{query.shape}, received {scores.shape}"
        )
    names = class_names or [f"class {i + 1}" for i in range(n_way)]
    rows = [
        textwrap.fill(f"{i + 1}  {drawable(name)}", 22, max_lines=2, placeholder=" …")
        for i, name in enumerate(names)
    ]
    predicted = np.where(np.isnan(scores).any(axis=1), -1, scores.argmax(axis=1)).reshape(n_way, n_query)
    right = int((predicted == np.arange(n_way)[:, None]).sum())
    drawing = _is_drawing(support)
    figure = blank_figure(
        (max(0.85 * (k_shot + n_query) + 2.2, _LEAST_WIDTH), 1.0 * n_way + 0.8),
        title or f"{n_way}-way {k_shot}-shot: {right} of {n_way * n_query} queries right",
    )
    # One narrow empty column sets the support apart from the queries.
    grid = figure.add_gridspec(
        n_way, k_shot + 1 + n_query, width_ratios=[1] * k_shot + [0.35] + [1] * n_query
    )
    for row in range(n_way):
        for column in range(k_shot):
            panel = figure.add_subplot(grid[row, column])
            panel_image(panel, support[row, column], INK, 1.0, drawing)
            if column == 0:
                panel.set_ylabel(rows[row], rotation=0, ha="right", va="center", labelpad=8, fontsize=9)
                literal(panel.yaxis.label)
            if row == 0 and column == 0:
                panel.set_title("support", loc="left", fontsize=10, color=GRAY)
        for column in range(n_query):
            panel = figure.add_subplot(grid[row, k_shot + 1 + column])
            correct = predicted[row, column] == row
            panel_image(panel, query[row, column], GREEN if correct else VERMILLION, 2.5, drawing)
            if not correct:
                taken_for = predicted[row, column] + 1 or "?"
                panel.set_xlabel(f"→ {taken_for}", color=VERMILLION, fontsize=9, labelpad=1)
            if row == 0 and column == 0:
                panel.set_title("queries", loc="left", fontsize=10, color=GRAY)
            if row == 0 and column == 1 and right < n_way * n_query and n_query >= _QUERIES_BESIDE_KEY:
                key = panel.text(0, 1.08, _KEY, transform=panel.transAxes)
                key.set(color=VERMILLION, fontsize=10, in_layout=False)  # must not widen its column
    if right < n_way * n_query and n_query < _QUERIES_BESIDE_KEY:
        figure.supxlabel(_KEY, x=0.02, ha="left", color=VERMILLION, fontsize=10)
    return figure


def real_versus_generated(
    real: npt.ArrayLike, generated: npt.ArrayLike, title: str = "Real and generated images of one task"
) -> Figure:
    """Images of a task beside those that a generator makes for it.

    Args:
        real: images `[rows, columns, H, W, C]`, floats from 0 to 1; a row may be a class.
        generated: images `[rows, any number, H, W, C]`.
        title: the heading.

    Returns:
        A figure with two grids of images.

    Raises:
        ValueError: the shapes are not those, the images differ in size, or their values are not from 0 to 1.
    """
    grids = {"real": _shown("real", real), "generated": _shown("generated", generated)}
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
        panel_image(panel, _tiled(grid), LIGHT_GRAY, 0.0, drawing)
        panel.set_title(name, loc="left", fontsize=10, color=GRAY)
    return figure


def class_grid(
    images: npt.ArrayLike, class_names: Sequence[str] | None = None, title: str = "Images by class"
) -> Figure:
    """Images of some classes, a row for each class, such as the letters of an alphabet.

    Args:
        images: `[classes, images per class, H, W, C]`, floats from 0 to 1.
        class_names: one per class; none are drawn if None.
        title: the heading.

    Raises:
        ValueError: the shape is not that, there is not a name for each class, or the values are not from 0 to
            1.
    """
    grid = _shown("images", images)
    if grid.ndim != 5 or not grid.size:
        raise ValueError(f"images must be [classes, images, H, W, C], received {list(grid.shape)}")
    if class_names is not None and len(class_names) != len(grid):
        raise ValueError(f"class_names must be {len(grid)} names, received {len(class_names)}")
    figure = blank_figure((max(0.62 * grid.shape[1] + 2.4, _LEAST_WIDTH), 0.62 * len(grid) + 0.9), title)
    panel = figure.subplots()
    panel_image(panel, _tiled(grid), LIGHT_GRAY, 0.0, _is_drawing(grid))
    if class_names is not None:
        places = (grid.shape[2] + 1) * (np.arange(len(grid)) + 0.5) - 1
        names = [short(name) for name in class_names]
        panel.set_yticks(places, names, fontsize=8, parse_math=False, usetex=False)
        panel.tick_params(length=0)
    return figure


def _shown(name: str, images: npt.ArrayLike) -> npt.NDArray[Any]:
    """The images as an array; those from 0 to 255 would all be shown white."""
    array = np.asarray(images)
    if array.dtype.name == "bfloat16":  # no float to NumPy
        array = array.astype(np.float32)
    most = array.max(where=~np.isnan(array), initial=0) if array.dtype.kind == "f" else None
    if most is None or most > _MOST:
        values = f"{array.dtype}" + ("" if most is None else f" up to {most:g}")
        raise ValueError(f"{name} must hold floats from 0 to 1, received {values}")
    return array


def _is_drawing(images: npt.NDArray[Any]) -> bool:
    """Whether most pixels are black: drawings are stored light on black, and printed dark on white."""
    return bool(np.count_nonzero(images) < images.size / 2)


def _tiled(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One image [height, width, C] of a grid [rows, columns, H, W, C], a black pixel between neighbours."""
    padded = np.pad(images, [(0, 0), (0, 0), (0, 1), (0, 1), (0, 0)])
    rows, columns, height, width, channels = padded.shape
    return padded.swapaxes(1, 2).reshape(rows * height, columns * width, channels)[:-1, :-1]


def panel_image(axes: Axes, image: npt.NDArray[Any], frame: str, width: float, invert: bool) -> None:
    """An image [H, W, C] of 0 to 1 in a frame of a colour and width; inverted where it is one of grays."""
    gray = image.shape[-1] == 1
    colours = "gray_r" if invert else "gray"
    axes.imshow(image[..., 0] if gray else image, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=frame, linewidth=width)
