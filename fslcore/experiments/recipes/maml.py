# SPDX-License-Identifier: MIT
"""How `MAML` is trained."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from fslcore.arguments import ArgumentError
from fslcore.experiments.recipes.adaptive import QueryRecipe
from fslcore.experiments.recipes.fields import INNER_LOOP, field
from fslcore.experiments.recipes.recipe import Shape

# Chosen by 5-way 5-shot on the validation part of omniglot after 1,200 tasks, by runs that differed in their
# queries, too (5 or 10): 90.2 % with the rate 0.002, 94.1 with 0.005.
TASK_SIZES: dict[str, Any] = {
    "way": 5,
    "shot": 5,
    "query": 5,
    "inner_steps": 3,
    "adapt_steps": 10,
    "inner_learning_rate": 0.15,
    "meta_batch": 4,
    "learning_rate": 4e-3,
}
_LONG: dict[str, Any] = {"epochs": 30, "steps_per_epoch": 100, "rotations": True}
_SHORT: dict[str, Any] = {"epochs": 10, "steps_per_epoch": 20, "rotations": False}


def sizes(dataset: str) -> dict[str, Any]:
    """The default sizes for a dataset, of MAML and of MetaGAN."""
    return {**TASK_SIZES, **(_LONG if dataset == "omniglot" else _SHORT)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MAMLRecipe(QueryRecipe):
    """The recipe of `MAML`.

    Attributes:
        second_order: whether the outer gradient goes through the inner steps.
    """

    learner: ClassVar[str] = "maml"
    summary: ClassVar[str] = "Learn weights that a few gradient steps fit to a task."

    second_order: bool = field(
        "Take the gradient through the inner steps, instead of the first-order approximation; slower.",
        INNER_LOOP,
        default=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.second_order and self.precision != "float32":
            raise ArgumentError("precision", "must be float32 with `second_order=True`", self.precision)

    @classmethod
    def default(cls, dataset: str) -> MAMLRecipe:
        """As for every recipe."""
        return cls(**sizes(dataset))

    def step_in_words(self) -> str:
        """As for every recipe."""
        return (
            f"{self._tasks_in_words()} with {self.shot} + {self.query} images, each in {self.inner_steps} "
            f"inner steps, {'second' if self.second_order else 'first'} order"
        )

    def build(self, image_shape: Shape, fresh: bool = True) -> Any:
        """As for every recipe."""
        import keras

        from fslcore.learners import INNER_OPTIMIZERS, MAML

        keras.utils.set_random_seed(self.key("weights"))
        learner = MAML(
            self._network(image_shape, fresh),
            INNER_OPTIMIZERS["sgd"](self.inner_learning_rate),
            adapt_steps=self.adapt_steps,
            inner_steps=self.inner_steps,
            meta_batch=self.meta_batch,
            second_order=self.second_order,
            normalization=self.normalization,
            seed=self.seed,
        )
        learner.compile(self._adam(self.learning_rate))
        return learner

    def _network(self, image_shape: Shape, fresh: bool) -> Any:
        import keras

        from fslcore.layers.normalization import FusedBatchNormalization

        if not self.second_order or self.encoder != "conv4":
            return self._classifier(image_shape, fresh, self.precision)
        # The same network of single layers: TensorFlow cannot differentiate the op of a ConvBlock twice.
        network = keras.Sequential([keras.Input(image_shape)], name="conv4_classifier")
        for _ in range(4):
            network.add(keras.layers.Conv2D(64, 3, 2, padding="same", use_bias=False))
            network.add(FusedBatchNormalization(momentum=0.9))
            network.add(keras.layers.ReLU())
        network.add(keras.layers.Flatten())
        network.add(keras.layers.Dense(self.way))
        return network
