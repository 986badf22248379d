# SPDX-License-Identifier: MIT
"""How `Reptile` is trained: by a published setting, or by sizes chosen one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.experiments.recipes.adaptive import AdaptiveRecipe
from fslcore.experiments.recipes.fields import INNER_LOOP, TASKS, TRAINING, field
from fslcore.experiments.recipes.recipe import Shape
from fslcore.experiments.recipes.sizing import smallest_class
from fslcore.presets import REPTILE_PRESETS

if TYPE_CHECKING:
    import tensorflow as tf

# Steps that Keras runs in one call: those of Reptile take 20 to 50 ms, and a call 1 to 2 ms besides.
_STEPS_PER_EXECUTION = 10
_DEFAULT_PRESET = "5w1s"
# What a preset does not decide: how long to train, and what the published settings have in common.
_BESIDE_A_PRESET = {
    *("preset", "epochs", "steps_per_epoch", "seed", "sequential", "normalization", "precision", "keep"),
    *("augment", "encoder", "encoder_weights"),
}
_LONGEST_EPOCH, _FEWEST_EPOCHS = 2_000, 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReptileRecipe(AdaptiveRecipe):
    """The recipe of `Reptile`.

    Attributes:
        preset: the published setting that this is, a key of `learners.REPTILE_PRESETS`; None for others.
        train_shots: images per class of a training task.
        inner_optimizer: "adam" or "sgd".
        inner_batch: images of an inner step on a training task.
        meta_step: share of the way that the meta-weights move, at the start; it falls to 0 linearly.
        adapt_batch: images of an inner step on a test task.
        sequential: whether the tasks of a step pass the inner optimizer's memory on one by one.
    """

    learner: ClassVar[str] = "reptile"
    summary: ClassVar[str] = "Learn weights that are near to those of many tasks."
    rates: ClassVar[tuple[str, ...]] = ("inner_learning_rate", "meta_step")
    quick: ClassVar[Mapping[str, int]] = {"epochs": 3, "steps_per_epoch": 100}
    images_used: ClassVar[Mapping[str, int]] = {"train_shots": 1}
    samplers: ClassVar[Mapping[str, str]] = {
        **AdaptiveRecipe.samplers,
        "k_shot": "train_shots",
        "steps": "inner_steps",
        "batch": "inner_batch",
    }

    preset: str | None = field(
        "A published setting, of 100,000 or 200,000 steps; keras-example of 2,000. It decides everything "
        "except the length of the training (`epochs`, `steps_per_epoch`, `quick`), `seed`, `precision`, "
        "`sequential`, `normalization`, `encoder`, `augment` and `keep`, by default last. The defaults are "
        "the sizes of 5w1s; on other data than omniglot with fewer steps.",
        TRAINING,
        default=None,
        choices=tuple(REPTILE_PRESETS),
    )
    shot: int = field(
        "Examples per class of a test task; see `train_shots` for a training task.", TASKS, above=0
    )
    train_shots: int = field("Images per class of a training task.", TASKS, above=0)
    inner_optimizer: str = field("Optimizer of the steps on a task.", None, choices=("adam", "sgd"))
    inner_batch: int = field("Images of a gradient step on a training task.", INNER_LOOP, above=0)
    meta_step: float = field(
        "Share of the way to the weights of the tasks that a step goes at the start; it falls to 0 linearly.",
        TRAINING,
        above=0,
    )
    adapt_batch: int = field("Images of a gradient step on a test task.", INNER_LOOP, above=0)
    sequential: bool = field(
        "Also pass the memory of the inner optimizer from task to task within a step, as the authors' "
        "program does; slower, because the tasks then wait for each other.",
        INNER_LOOP,
        default=False,
    )

    @classmethod
    def default(cls, dataset: str) -> ReptileRecipe:
        """As for every recipe: the authors' setting for 5 ways; off Omniglot not turned, and much shorter."""
        published = dataclasses.replace(cls.published(_DEFAULT_PRESET), preset=None, keep="best")
        if dataset == "omniglot":
            return published
        return dataclasses.replace(published, rotations=False, epochs=10, steps_per_epoch=300)

    @classmethod
    def published(cls, preset: str) -> ReptileRecipe:
        """A published setting, in epochs of up to 2,000 steps.

        Raises:
            ArgumentError: there is no such preset.
        """
        if preset not in REPTILE_PRESETS:
            raise ArgumentError("preset", f"must be one of {', '.join(REPTILE_PRESETS)}", preset)
        sizes = dataclasses.asdict(REPTILE_PRESETS[preset])
        way, shot, iterations = (sizes.pop(key) for key in ("n_way", "k_shot", "meta_iterations"))
        steps = min(_LONGEST_EPOCH, iterations // _FEWEST_EPOCHS)
        lengths = {"epochs": iterations // steps, "steps_per_epoch": steps}
        return cls(preset=preset, way=way, shot=shot, keep="last", **lengths, **sizes)

    @classmethod
    def planned(cls, dataset: str, quick: bool, chosen: Mapping[str, Any]) -> ReptileRecipe:
        """As for every recipe; a preset takes the place of the defaults."""
        if "preset" not in chosen:
            return super().planned(dataset, quick, chosen)
        published = cls.published(chosen["preset"])
        for name, value in chosen.items():
            if name not in _BESIDE_A_PRESET and value != getattr(published, name):
                raise ArgumentError(
                    name,
                    f"must be {getattr(published, name)!r} with `preset={published.preset!r}` (leave "
                    "`preset` out to choose the sizes one by one)",
                    value,
                )
        return dataclasses.replace(published, **{**(cls.quick if quick else {}), **chosen})

    def fixed(self, chosen: Mapping[str, Any]) -> set[str]:
        """As for every recipe; the sizes of a preset are not changed."""
        return {*chosen} if self.preset is None else {field.name for field in dataclasses.fields(self)}

    def fitted(self, parts: Mapping[str, ImageStore], chosen: Mapping[str, Any]) -> ReptileRecipe:
        """As for every recipe; the sizes of a preset are not changed."""
        return self if self.preset is not None else super().fitted(parts, chosen)

    def shrunk(self, parts: Mapping[str, ImageStore]) -> dict[str, int]:
        """As for every recipe."""
        return {**super().shrunk(parts), "train_shots": min(self.train_shots, smallest_class(parts["train"]))}

    @property
    def layout(self) -> str:
        """As for every recipe: one op works on all tasks, but it does not support frozen averages."""
        return super().layout if self.normalization == "frozen" else "ops"

    @property
    def steps_per_execution(self) -> int:
        """As for every recipe."""
        return 1 if self.steps_per_epoch % _STEPS_PER_EXECUTION else _STEPS_PER_EXECUTION

    def step_in_words(self) -> str:
        """As for every recipe."""
        return (
            f"{self._tasks_in_words()} with {self.train_shots} images, each in {self.inner_steps} inner "
            f"steps of {self.inner_batch} images"
        )

    def build(self, image_shape: Shape, fresh: bool = True) -> Any:
        """As for every recipe."""
        import keras

        from fslcore.learners import INNER_OPTIMIZERS, Reptile

        keras.utils.set_random_seed(self.key("weights"))
        learner = Reptile(
            self._classifier(image_shape, fresh, self.precision),
            INNER_OPTIMIZERS[self.inner_optimizer](self.inner_learning_rate),
            inner_steps=self.inner_steps,
            inner_batch=self.inner_batch,
            meta_batch=self.meta_batch,
            sequential=self.sequential,
            adapt_steps=self.adapt_steps,
            adapt_batch=self.adapt_batch,
            normalization=self.normalization,
        )
        share = keras.optimizers.schedules.PolynomialDecay(self.meta_step, self.steps, end_learning_rate=0.0)
        learner.compile(keras.optimizers.SGD(share), steps_per_execution=self.steps_per_execution)
        return learner

    def batches(self, learner: Any, store: ImageStore, first: int) -> tf.data.Dataset:
        """As for every recipe."""
        return learner.tasks(
            store, self.train_shots, seed=self.key("batches"), first=first, rotations=self.rotations
        )
