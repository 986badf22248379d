# SPDX-License-Identifier: MIT
"""What the recipes of the learners that are trained on episodes and compare embeddings share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from fslcore.data import ImageStore
from fslcore.experiments.recipes.embedding import EmbeddingRecipe
from fslcore.experiments.recipes.fields import TASKS, field
from fslcore.experiments.recipes.sizing import shared_out, smallest_class

if TYPE_CHECKING:
    import tensorflow as tf

Self = TypeVar("Self", bound="EpisodeRecipe")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpisodeRecipe(EmbeddingRecipe):
    """What the recipes of the learners that are trained on episodes and compare embeddings share.

    Attributes:
        shot: support images per class of an episode.
        query: query images per class of an episode.
    """

    images_used: ClassVar[Mapping[str, int]] = {"shot": 1, "query": 1}
    tuning: ClassVar[Mapping[str, Any]] = {**EmbeddingRecipe.tuning, "way": 40, "shot": 1, "query": 2}

    shot: int = field("Examples per class of a training episode.", TASKS, above=0)
    query: int = field("Images per class of a training episode that are to be classified.", TASKS, above=0)

    @classmethod
    def default(cls: type[Self], dataset: str) -> Self:
        """As for every recipe."""
        # Chosen by 20-way 1-shot on the validation parts, for prototypical.
        if dataset == "glyphs":
            return cls(way=40, shot=1, query=3, epochs=10, steps_per_epoch=60, learning_rate=4e-3)
        if dataset == "omniglot":
            return cls(way=60, shot=1, query=4, epochs=50, steps_per_epoch=60, rotations=True)
        return cls(way=20, shot=1, query=4, epochs=20, steps_per_epoch=50, learning_rate=1e-3)

    def shrunk(self, parts: Mapping[str, ImageStore]) -> dict[str, int]:
        """As for every recipe."""
        return {**super().shrunk(parts), **shared_out(self.shot, self.query, smallest_class(parts["train"]))}

    def step_in_words(self) -> str:
        """As for every recipe."""
        return f"{self.way} classes with {self.shot} + {self.query} images"

    def batches(self, learner: Any, store: ImageStore, first: int) -> tf.data.Dataset:
        """As for every recipe."""
        del learner
        return store.episodes(
            self.way,
            self.shot,
            self.query,
            seed=self.key("batches"),
            first=first,
            rotations=self.rotations,
        )
