# SPDX-License-Identifier: MIT
"""How `Prototypical` is trained."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from fslcore.experiments.recipes.episodes import EpisodeRecipe
from fslcore.experiments.recipes.recipe import Shape, adam


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrototypicalRecipe(EpisodeRecipe):
    """The recipe of `Prototypical`."""

    learner: ClassVar[str] = "prototypical"
    summary: ClassVar[str] = (
        "Learn to compare an image with the mean of a class. Classes can be added later without training."
    )

    def build(self, image_shape: Shape) -> Any:
        """As for every recipe."""
        from fslcore.learners import Prototypical

        learner = Prototypical(self._encoder(image_shape))
        learner.compile(adam(self.learning_rate, self.steps))
        return learner
