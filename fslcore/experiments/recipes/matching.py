# SPDX-License-Identifier: MIT
"""How `MatchingNetwork` is trained."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from fslcore.experiments.recipes.episodes import EpisodeRecipe
from fslcore.experiments.recipes.fields import TRAINING, field


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchingRecipe(EpisodeRecipe):
    """The recipe of `MatchingNetwork`.

    Attributes:
        temperature: what the cosines are multiplied by.
        learn_temperature: whether it is trained.
    """

    learner: ClassVar[str] = "matching"
    summary: ClassVar[str] = (
        "Learn to compare an image with all examples. Classes can be added later without training."
    )

    # After 200 steps on glyphs, 20 has 85.2 % on the validation part (20-way 1-shot), 10 has 81.1 %.
    temperature: float = field(
        "What the cosines of the embeddings are multiplied by before the softmax over the examples; 1 is the "
        "paper's network.",
        TRAINING,
        default=20.0,
        above=0,
    )
    learn_temperature: bool = field(
        "Train the temperature too; it starts with `temperature`.", TRAINING, default=False
    )

    def untrained(self, encoder: Any) -> Any:
        """As for every recipe of embeddings."""
        from fslcore.learners import MatchingNetwork

        return MatchingNetwork(encoder, self.temperature, learn_temperature=self.learn_temperature)
