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

    @classmethod
    def default(cls, dataset: str) -> PrototypicalRecipe:
        """As for every recipe."""
        # Chosen by 20-way 1-shot on the validation parts, as those of siamese.
        if dataset == "glyphs":
            return cls(way=40, shot=1, query=3, epochs=10, steps_per_epoch=60, learning_rate=4e-3)
        if dataset == "omniglot":
            return cls(way=60, shot=1, query=4, epochs=50, steps_per_epoch=60, rotations=True)
        return cls(way=20, shot=1, query=4, epochs=20, steps_per_epoch=50, learning_rate=1e-3)

    def build(self, image_shape: Shape) -> Any:
        """As for every recipe."""
        from fslcore.learners import Prototypical

        learner = Prototypical(self._encoder(image_shape))
        learner.compile(adam(self.learning_rate, self.steps))
        return learner
