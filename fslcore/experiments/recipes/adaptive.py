# SPDX-License-Identifier: MIT
"""What the recipes of the learners that are fitted to each task share."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.experiments.recipes.fields import INNER_LOOP, TASKS, TRAINING, field
from fslcore.experiments.recipes.phases import adam
from fslcore.experiments.recipes.recipe import Images, Recipe, Shape
from fslcore.experiments.recipes.sizing import Validation, shared_out, smallest_class

if TYPE_CHECKING:
    import tensorflow as tf

# Measured beside the shot of the recipe. The way is fixed by the width of the network's output.
_SHOTS = (1, 5)
# An episode costs Reptile 1.3 times what a training step does, with 1 query per class or with 5: 60 of them
# are 4 % of an epoch of 2,000 steps.
_VALIDATION_QUERIES, _VALIDATION_EPISODES = 5, 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptiveRecipe(Recipe):
    """What the recipes of the learners that are fitted to each task share.

    Attributes:
        shot: support images per class of a test task.
        inner_steps: steps of the inner optimizer on a training task.
        adapt_steps: those on a test task.
        inner_learning_rate: its rate.
        meta_batch: tasks of a training step.
        normalization: what batch normalisation goes by: "auto", "batch", "moving" or "frozen".
    """

    # Figures from a few dozen small tasks jump too much from epoch to epoch for a trend to be seen.
    noisy: ClassVar[bool] = True
    halved: ClassVar[int] = 2

    way: int = field(
        "Classes of a task. The trained network tells this number of classes apart.", TASKS, above=0
    )
    shot: int = field("Examples per class of a task.", TASKS, above=0)
    inner_steps: int = field("Gradient steps on a training task.", INNER_LOOP, above=0)
    adapt_steps: int = field("Gradient steps on the examples of a test task.", INNER_LOOP, above=0)
    inner_learning_rate: float = field("Rate of the gradient steps on a task.", INNER_LOOP, above=0)
    meta_batch: int = field("Tasks of a training step.", INNER_LOOP, above=0)
    normalization: str = field(
        "Statistics of the batch normalisation. batch: those of the batch at hand; for a query, those of the "
        "examples of its task. moving: for a query, moving averages that are learnt. frozen: moving averages "
        "that never change. auto: batch.",
        INNER_LOOP,
        default="auto",
        choices=("auto", "batch", "moving", "frozen"),
    )

    @property
    def layout(self) -> str:
        """As for every recipe: the steps on one task come one after the other, each on all threads."""
        return "tasks" if self.meta_batch > 1 else "ops"

    def shrunk(self, parts: Mapping[str, ImageStore]) -> dict[str, int]:
        """As for every recipe; the classes of a test task are as many as those of a training task."""
        way = min(super().shrunk(parts)["way"], parts["test"].n_classes)
        return {"way": way, "shot": min(self.shot, max(smallest_class(parts["test"]) - 1, 1))}

    def protocols(
        self, store: ImageStore, way: int | None = None, shot: int | None = None
    ) -> list[tuple[int, int]]:
        """As for every recipe."""
        if way not in (None, self.way):
            raise ArgumentError(
                "way", f"must be {self.way}, the classes that the learner's network can tell apart", way
            )
        self._check_measurable(store, self.way, shot or self.shot)
        if shot is not None:
            return [(self.way, shot)]
        most = smallest_class(store) - self.unlabelled_images - 1
        return [(way, shot) for way, shot in self.usual_protocols(store) if shot <= most]

    def usual_protocols(self, store: ImageStore) -> list[tuple[int, int]]:
        """As for every recipe."""
        del store
        return [(self.way, shot) for shot in sorted({*_SHOTS, self.shot})]

    def images_measured(self, fixed: Collection[str] | None = None) -> int:
        """As for every recipe: the shot of the recipe is always measured."""
        shot = self.shot if fixed is None or "shot" in fixed else 1
        return shot + 1 + self.unlabelled_images

    def validation(self, store: ImageStore) -> Validation | None:
        """As for every recipe."""
        spare = smallest_class(store) - self.unlabelled_images
        shot = min(self.shot, spare - 1)
        if store.n_classes < self.way or not 1 <= shot < spare:
            return None
        return Validation(self.way, shot, min(_VALIDATION_QUERIES, spare - shot), _VALIDATION_EPISODES)

    def scores(self, learner: Any, support: Images, queries: Images, unlabelled: Images | None) -> Images:
        """As for every recipe."""
        spare = None if unlabelled is None else unlabelled[None]
        scores = learner.score_episodes(support[None], queries[None], unlabelled=spare, seed=self.key("test"))
        return np.asarray(scores[0])

    def _classifier(self, image_shape: Shape, fresh: bool, precision: str) -> Any:
        """The network that is fitted to a task, with the weights of the seed, or the pretrained ones."""
        from fslcore import encoders

        if self.encoder == "conv4":
            return encoders.conv4_classifier(self.way, image_shape, precision=precision)
        self._check_image_size(image_shape)
        weights = self.encoder_weights if fresh else None
        return encoders.build_classifier(
            self.encoder, self.way, image_shape, weights=weights, precision=precision
        )

    def _tasks_in_words(self) -> str:
        tasks = f"{self.meta_batch} tasks" if self.meta_batch > 1 else "1 task"
        return f"{tasks} of {self.way} classes"


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueryRecipe(AdaptiveRecipe):
    """What the recipes of the learners whose outer step descends on the queries of its tasks share.

    Attributes:
        query: query images per class of a training task.
        learning_rate: of the network's Adam, at its highest; it falls to 0 along half a cosine.
    """

    rates: ClassVar[tuple[str, ...]] = ("inner_learning_rate", "learning_rate")
    quick: ClassVar[Mapping[str, int]] = {"epochs": 2, "steps_per_epoch": 10}
    images_used: ClassVar[Mapping[str, int]] = {"shot": 1, "query": 1}

    query: int = field("Images per class of a training task that are to be classified.", TASKS, above=0)
    learning_rate: float = field(
        "Rate of the network's Adam at the start; it falls to 0 along half a cosine.", TRAINING, above=0
    )

    def shrunk(self, parts: Mapping[str, ImageStore]) -> dict[str, int]:
        """As for every recipe."""
        images = smallest_class(parts["train"]) - 2 * self.unlabelled_images
        of_test_tasks = super().shrunk(parts)
        return {**of_test_tasks, **shared_out(of_test_tasks["shot"], self.query, images)}

    def batches(self, learner: Any, store: ImageStore, first: int) -> tf.data.Dataset:
        """As for every recipe."""
        return learner.tasks(
            store, self.shot, self.query, seed=self.key("batches"), first=first, rotations=self.rotations
        )

    def _adam(self, rate: float) -> Any:
        # The published moments of MetaGAN, which are usual for adversaries.
        return adam(rate, self.steps, beta_1=0.5, beta_2=0.9)
