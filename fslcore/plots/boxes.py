# SPDX-License-Identifier: MIT
"""Box plots: scores of pairs, or results of several runs by what was varied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fslcore.arguments import ArgumentError
from fslcore.plots.style import COLOURS, GRAY, INK, blank_figure, tidy
from fslcore.plots.texts import literal, short

_WHISKERS = (1, 99)
_NOTE = "box: quartiles and median; whiskers: 1 % and 99 %; dots: least and greatest"
_MOST_SERIES = len(COLOURS)
_WIDTH = 0.75  # of the boxes of one group together

Values = npt.NDArray[np.float64]


def boxes(
    groups: Mapping[str, npt.ArrayLike | Mapping[str, npt.ArrayLike]],
    label: str = "score",
    title: str = "Scores",
) -> Figure:
    """Box plots of numbers by one or by two names.

    Args:
        groups: name -> numbers, or name -> {name of a series -> numbers}: the groups stand side by side, and
            so do the series within a group, which have a colour each. A group may lack a series.
        label: what the numbers are.
        title: the heading.

    Returns:
        A figure. Below each box stands how many numbers it is of; those that are NaN or infinite are left out
        of the box, and counted there.

    Raises:
        ArgumentError: there is no group, a group mixes both forms, or there are more than 6 series.
    """
    nested = {name: _series(name, values) for name, values in groups.items()}
    series = list(dict.fromkeys(name for group in nested.values() for name in group))
    if not nested or not series:
        raise ArgumentError("groups", "must hold one or more groups of numbers", described="none")
    if len(series) > _MOST_SERIES:
        raise ArgumentError(
            "groups", f"must have at most {_MOST_SERIES} series", described=f"{len(series)} series"
        )
    if "" in series and len(series) > 1:
        raise ArgumentError(
            "groups", "must hold numbers, or mappings of series, for every name", described="both"
        )
    figure = blank_figure((max(5.0, 0.85 * len(nested) * len(series) + 2.2), 4.4), title)
    axes = figure.subplots()
    step = _WIDTH / len(series)
    places, names = [], []
    for group, (name, held) in enumerate(nested.items()):
        for number, key in enumerate(series):
            if key not in held:
                continue
            place = group + (number - (len(series) - 1) / 2) * step
            places.append(place)
            names.append(_box(axes, held[key], place, 0.8 * step, COLOURS[number]))
        if len(series) > 1:
            below: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            text = axes.annotate(short(name), (group, 0), (0, -38), **below)
            literal(text).set(ha="center", va="top", fontsize=10, color=INK)
    if len(series) == 1:
        names = [f"{short(name)}\n{count}" for name, count in zip(nested, names, strict=True)]
    axes.set_xticks(places, names, parse_math=False, usetex=False)
    axes.set_xlim(-0.6, len(nested) - 0.4)
    axes.set_ylabel(short(label))
    literal(axes.yaxis.label)
    tidy(axes)
    axes.tick_params(axis="x", length=0, labelsize=8)
    if len(series) > 1:
        handles = [Patch(color=COLOURS[i], alpha=0.6, label=short(name)) for i, name in enumerate(series)]
        legend = axes.legend(
            handles=handles, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, ncols=len(series)
        )
        for entry in legend.get_texts():
            literal(entry)
    offset = (0, -58 if len(series) > 1 else -48)
    under: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(_NOTE, (0, 0), offset, va="top", fontsize=8, color=GRAY, **under)
    return figure


def _series(name: str, values: Any) -> dict[str, Values]:
    """The series of a group by their names; that of a group of numbers alone has no name."""
    if isinstance(values, Mapping):
        return {str(key): _numbers(f"{name}, {key}", held) for key, held in values.items()}
    return {"": _numbers(name, values)}


def _numbers(name: str, values: npt.ArrayLike) -> Values:
    try:
        return np.asarray(values, np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise ArgumentError("groups", "must hold numbers", described=f"others in {name!r}") from None


def _box(axes: Axes, values: Values, place: float, width: float, colour: str) -> str:
    """Draws a box; returns how many numbers it is of."""
    known = values[np.isfinite(values)]
    if len(known):
        drawn = axes.boxplot(
            [known], positions=[place], widths=[width], whis=_WHISKERS, patch_artist=True, showfliers=False
        )
        for part in ("whiskers", "caps", "medians"):
            for line in drawn[part]:
                line.set(color=INK if part == "medians" else colour, lw=1.5)
        drawn["boxes"][0].set(facecolor=colour, edgecolor=colour, alpha=0.6)
        axes.plot([place] * 2, [known.min(), known.max()], color=colour, lw=0, marker="o", ms=3)
    unknown = len(values) - len(known)
    return f"n = {len(known):,}" + (f"\n{unknown:,} not finite" if unknown else "")
