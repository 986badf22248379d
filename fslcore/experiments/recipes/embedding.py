# SPDX-License-Identifier: MIT
"""What the recipes of the learners that compare embeddings share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.experiments.recipes.fields import TASKS, TRAINING, field
from fslcore.experiments.recipes.recipe import Images, Recipe, Shape, Validation, smallest_class

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PROTOCOLS = ((5, 1), (5, 5), (20, 1), (20, 5))
_VALIDATION_WAYS, _VALIDATION_QUERIES, _VALIDATION_EPISODES = 20, 5, 200
# The encoder halves the images four times.
_SMALLEST_IMAGE = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingRecipe(Recipe):
    """What the recipes of the learners that compare embeddings share.

    Attributes:
        learning_rate: of Adam, at its highest; it falls to 0 along half a cosine.
    """

    quick: ClassVar[dict[str, int]] = {"way": 20, "epochs": 3, "steps_per_epoch": 20}

    learning_rate: float = field(
        "Adam's rate at the start; it falls to 0 along half a cosine.", TRAINING, default=2e-3, above=0
    )
    way: int = field(
        "Classes of a training step; the more there are, the harder the step and the better the encoder.",
        TASKS,
        above=0,
    )

    def protocols(
        self, store: ImageStore, way: int | None = None, shot: int | None = None
    ) -> list[tuple[int, int]]:
        """As for every recipe."""
        self._check_measurable(store, way, shot)
        if way is not None or shot is not None:
            chosen = (way or 5, shot or 1)
            self._check_measurable(store, *chosen)
            return [chosen]
        smallest = smallest_class(store)
        return [(way, shot) for way, shot in self.usual_protocols(store) if shot < smallest]

    def usual_protocols(self, store: ImageStore) -> list[tuple[int, int]]:
        """As for every recipe."""
        possible = [(way, shot) for way, shot in _PROTOCOLS if way <= store.n_classes]
        return possible or [(store.n_classes, 1)]

    def validation(self, store: ImageStore) -> Validation | None:
        """As for every recipe."""
        way, shot, smallest = max(2, min(_VALIDATION_WAYS, store.n_classes)), 1, smallest_class(store)
        if store.n_classes < way or shot >= smallest:
            return None
        return Validation(way, shot, min(_VALIDATION_QUERIES, smallest - shot), _VALIDATION_EPISODES)

    def scores(self, learner: Any, support: Images, queries: Images, unlabelled: Images | None) -> Images:
        """As for every recipe."""
        del unlabelled
        from fslcore.experiments.recipes.figures import embedded

        way, shot = support.shape[:2]
        # One call: the embeddings of the support and of the queries are then made alike.
        images = np.concatenate([support, queries], axis=1)
        rows = embedded(learner, images).reshape(*images.shape[:2], -1)
        scores = learner.class_scores(rows[:, :shot], rows[:, shot:].reshape(way * queries.shape[1], -1))
        return np.asarray(scores)

    def pictures(
        self, learner: Any, seen: ImageStore, unseen: ImageStore, episodes: int
    ) -> Iterator[tuple[str, Figure]]:
        """As for every recipe, and distances and accuracies against the number of classes."""
        from fslcore.experiments.recipes import figures

        yield from super().pictures(learner, seen, unseen, episodes)
        yield "distances.png", figures.distances(learner, unseen, self.key("test"))
        yield (
            "accuracy_versus_way.png",
            figures.ways(self.learner, learner, seen, unseen, episodes, self.key("test")),
        )

    def _encoder(self, image_shape: Shape) -> Any:
        """The encoder, with the weights that the seed gives."""
        import keras

        from fslcore import encoders

        smallest = min(image_shape[:2])
        if smallest < _SMALLEST_IMAGE:
            raise ArgumentError(
                "image_size", f"must be at least {_SMALLEST_IMAGE} for {self.learner}", smallest
            )
        keras.utils.set_random_seed(self.key("weights"))
        return encoders.conv4(image_shape, precision=self.precision)
