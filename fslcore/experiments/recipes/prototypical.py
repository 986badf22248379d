# SPDX-License-Identifier: MIT
"""How `Prototypical` is trained."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from fslcore.experiments.recipes.episodes import EpisodeRecipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrototypicalRecipe(EpisodeRecipe):
    """The recipe of `Prototypical`."""

    learner: ClassVar[str] = "prototypical"
    summary: ClassVar[str] = (
        "Learn to compare an image with the mean of a class. Classes can be added later without training."
    )
    # Squared distances of unit vectors are at most 4, too little for a softmax to become sure; of these, 64.
    head_scale: ClassVar[float] = 4.0

    def untrained(self, encoder: Any) -> Any:
        """As for every recipe of embeddings."""
        from fslcore.learners import Prototypical

        return Prototypical(encoder)
