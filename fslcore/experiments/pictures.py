# SPDX-License-Identifier: MIT
"""The pictures of a run: each recipe says which it has, and makes them.

training.png             loss and accuracies against epochs
episode.png              an episode of unseen classes with the learner's answers
distances.png            distances of embeddings                     siamese, prototypical
accuracy_versus_way.png  accuracy against the number of classes      siamese, prototypical
generated.png            generated images of a task beside real ones metagan
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fslcore import files, plots
from fslcore.data import ImageStore
from fslcore.experiments.recipes import Recipe
from fslcore.experiments.runs import Row


def draw_history(run: Path, recipe: Recipe, history: Sequence[Row], title: str) -> None:
    """Draws `training.png`; nothing before the first complete epoch."""
    if history:
        _save(plots.training_curve(history, title, smooth=recipe.noisy), run / "training.png")


def draw(
    run: Path, learner: Any, recipe: Recipe, seen: ImageStore, unseen: ImageStore, episodes: int
) -> None:
    """Draws all pictures of a trained learner but `training.png`; arguments as for `Recipe.pictures`."""
    for name, figure in recipe.pictures(learner, seen, unseen, episodes):
        _save(figure, run / name)


def _save(figure: Figure, path: Path) -> None:
    # Tight: the constrained layout ignores long tick labels beside an image of fixed aspect.
    files.replace(path, lambda temporary: figure.savefig(temporary, bbox_inches="tight", pad_inches=0.15))
