# SPDX-License-Identifier: MIT
"""A run that has been trained, opened in Python: its learner, its recipe and its results."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fslcore.experiments.recipes import Recipe
from fslcore.experiments.runs import Run


@dataclasses.dataclass(frozen=True)
class OpenedRun:
    """A run with its learner.

    Attributes:
        folder: where it is.
        config: its `config.json`.
        recipe: the recipe of the learner.
        learner: the trained learner, compiled.
        results: what `metrics.json` holds, a dict for each result; none before the run has been measured.
        class_names: the names of the classes of "train", "val" and "test"; empty for earlier versions.
    """

    folder: Path
    config: Mapping[str, Any]
    recipe: Recipe
    learner: Any
    results: list[dict[str, Any]]
    class_names: Mapping[str, list[str]]


def open_run(folder: str | os.PathLike[str], *, image_shape: tuple[int, int, int] | None = None) -> OpenedRun:
    """Opens a run for use: no data is read, and nothing is changed.

    Args:
        folder: the run folder.
        image_shape: (height, width, channels) of the images that it was trained on; None: as the run says,
            which those of earlier versions do not.

    Returns:
        The run. A run that was stopped or killed has the learner of its last checkpoint.

    Raises:
        ArgumentError: there is no such run, it is damaged, or it has no weights yet.

    Example:
        >>> run = open_run("runs/mine")  # doctest: +SKIP
        >>> run.learner.embed(images)  # doctest: +SKIP
    """
    run = Run.open(folder)
    from fslcore.experiments import checkpoints, results

    return OpenedRun(
        run.folder,
        run.config,
        run.recipe,
        checkpoints.trained_learner(run, image_shape),
        results.kept_results(run.folder),
        run.config.get("classes", {}),
    )
