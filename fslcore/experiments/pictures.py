# SPDX-License-Identifier: MIT
"""The pictures of a run: each recipe says which it has, and makes them.

training.png             loss and accuracies against epochs
episode.png              an episode of unseen classes with the learner's answers
distances.png            distances of embeddings                     siamese, prototypical
accuracy_versus_way.png  accuracy against the number of classes      siamese, prototypical
generated.png            generated images of a task beside real ones metagan
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fslcore import files, plots
from fslcore.data import ImageStore
from fslcore.experiments.recipes import Recipe
from fslcore.experiments.runs import Row

HISTORY = "training.png"


def draw_history(run: Path, recipe: Recipe, history: Sequence[Row], title: str) -> None:
    """Draws `training.png`; nothing before the first complete epoch."""
    if history:
        _save(plots.training_curve(history, title, smooth=recipe.noisy), run / HISTORY)


def draw(
    run: Path,
    learner: Any,
    recipe: Recipe,
    seen: ImageStore,
    unseen: ImageStore,
    episodes: int,
    failed: Callable[[Path, Exception], object],
) -> None:
    """Draws all pictures of a trained learner but `training.png`.

    Args:
        run: the run folder.
        learner: the trained learner.
        recipe: its recipe.
        seen: images of training classes.
        unseen: images of test classes.
        episodes: number of episodes for every point of a curve.
        failed: called with the path of a picture, or of the run, and with what kept it from being drawn.
    """
    figures = recipe.pictures(learner, seen, unseen, episodes)
    while True:
        path = run
        try:
            name, figure = next(figures)
            path = run / name
            _save(figure, path)
        except StopIteration:
            return
        except Exception as error:  # whatever it is: the results do not depend on a picture
            failed(path, error)


def _save(figure: Figure, path: Path) -> None:
    # Tight: the constrained layout ignores long tick labels beside an image of fixed aspect.
    files.replace(path, lambda temporary: figure.savefig(temporary, bbox_inches="tight", pad_inches=0.15))
