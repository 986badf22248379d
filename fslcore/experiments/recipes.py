# SPDX-License-Identifier: MIT
"""The recipes: everything about a training that is not the data. Nothing here imports TensorFlow.

    Recipe                   what all learners have
      SiameseRecipe
      PrototypicalRecipe
      AdaptiveRecipe         what the learners that are fitted to each task share
        ReptileRecipe
        MetaGANRecipe

A field is an option of `fslcore train` (`inner_steps` is `--inner-steps`), and an entry of `config.json`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from fslcore.data import ImageStore

# Steps that Keras runs in one call: those of Reptile take 20 to 50 ms, and a call 1 to 2 ms besides.
_STEPS_PER_EXECUTION = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the recipes of all learners have.

    Attributes:
        learner: the name of the learner.
        rates: the options to lower when training diverges.
        way: classes of a training episode, batch or task.
        epochs: number of epochs; each ends with validation and a checkpoint.
        steps_per_epoch: training steps of an epoch.
        rotations: whether each training class also counts turned by 90, 180 and 270 degrees, as three more
            classes.
        precision: of the factors in the encoder's convolutions while it is trained or fitted, "float32" or
            "bfloat16".
        seed: of the weights and the episodes.
    """

    learner: ClassVar[str]
    rates: ClassVar[tuple[str, ...]] = ("learning_rate",)

    way: int
    epochs: int
    steps_per_epoch: int
    rotations: bool = False
    precision: str = "float32"
    seed: int = 0

    @property
    def layout(self) -> str:
        """How it likes TensorFlow's threads, for `fslcore.set_threads`."""
        return "ops"

    @property
    def steps(self) -> int:
        """Training steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    @property
    def steps_per_execution(self) -> int:
        """Steps that Keras runs in one call; Ctrl-C waits for their end."""
        return 1

    @property
    def unlabelled_images(self) -> int:
        """Images per class that the learner is given without their labels in a task."""
        return 0

    def shrunk(self, parts: Mapping[str, ImageStore]) -> dict[str, int]:
        """The sizes that these images can serve, at most those of the recipe."""
        classes = parts["train"].n_classes * (4 if self.rotations else 1)
        return {"way": min(self.way, classes)}

    def step_in_words(self) -> str:
        """What one training step takes."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SiameseRecipe(Recipe):
    """Of `Siamese`.

    Attributes:
        loss: "triplet" or "crossentropy".
        shot: images per class of a batch.
        learning_rate: of Adam, at its highest; it falls to 0 along half a cosine.
    """

    learner: ClassVar[str] = "siamese"

    loss: str = "triplet"
    shot: int
    learning_rate: float = 2e-3

    def shrunk(self, parts: Mapping[str, ImageStore]) -> dict[str, int]:
        """As for every recipe."""
        return {**super().shrunk(parts), "shot": min(self.shot, _smallest(parts["train"]))}

    def step_in_words(self) -> str:
        """As for every recipe."""
        return f"{self.way} classes with {self.shot} images"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrototypicalRecipe(Recipe):
    """Of `Prototypical`.

    Attributes:
        shot: support images per class of an episode.
        query: query images per class of an episode.
        learning_rate: of Adam, at its highest; it falls to 0 along half a cosine.
    """

    learner: ClassVar[str] = "prototypical"

    shot: int
    query: int
    learning_rate: float = 2e-3

    def shrunk(self, parts: Mapping[str, ImageStore]) -> dict[str, int]:
        """As for every recipe."""
        return {**super().shrunk(parts), **_shared_out(self.shot, self.query, _smallest(parts["train"]))}

    def step_in_words(self) -> str:
        """As for every recipe."""
        return f"{self.way} classes with {self.shot} + {self.query} images"


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

    shot: int
    inner_steps: int
    adapt_steps: int
    inner_learning_rate: float
    meta_batch: int
    normalization: str = "auto"

    @property
    def layout(self) -> str:
        """As for every recipe: of one task the steps come one after the other, each on all threads."""
        return "tasks" if self.meta_batch > 1 else "ops"

    def shrunk(self, parts: Mapping[str, ImageStore]) -> dict[str, int]:
        """As for every recipe; the classes of a test task are as many as those of a training task."""
        way = min(super().shrunk(parts)["way"], parts["test"].n_classes)
        return {"way": way, "shot": min(self.shot, max(_smallest(parts["test"]) - 1, 1))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReptileRecipe(AdaptiveRecipe):
    """Of `Reptile`.

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
    rates: ClassVar[tuple[str, ...]] = ("inner_learning_rate", "meta_step")

    preset: str | None = None
    train_shots: int
    inner_optimizer: str
    inner_batch: int
    meta_step: float
    adapt_batch: int
    sequential: bool = False

    @property
    def layout(self) -> str:
        """As for every recipe: one op sees to all tasks, but it knows no frozen averages."""
        return super().layout if self.normalization == "frozen" else "ops"

    @property
    def steps_per_execution(self) -> int:
        """As for every recipe."""
        return 1 if self.steps_per_epoch % _STEPS_PER_EXECUTION else _STEPS_PER_EXECUTION

    def shrunk(self, parts: Mapping[str, ImageStore]) -> dict[str, int]:
        """As for every recipe."""
        return {**super().shrunk(parts), "train_shots": min(self.train_shots, _smallest(parts["train"]))}

    def step_in_words(self) -> str:
        """As for every recipe."""
        return (
            f"{_tasks(self.meta_batch)} of {self.way} classes with {self.train_shots} images, each in "
            f"{self.inner_steps} inner steps of {self.inner_batch} images"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaGANRecipe(AdaptiveRecipe):
    """Of `MetaGAN`.

    Attributes:
        query: query images per class of a training task.
        learning_rate: of the network's Adam, at its highest; it falls to 0 along half a cosine.
        generator_learning_rate: of that of the generator and the task encoder, likewise.
        generator: whether there is one; without, it is first-order MAML.
        adversary_weight: of the terms of the network's loss that tell real from generated images.
        unlabelled: images per class without labels beside the support of a task, and in training as many
            beside its queries.
        precision: of the generator's and the task encoder's arithmetic; their weights are float32, and so is
            all of the network.
    """

    learner: ClassVar[str] = "metagan"
    rates: ClassVar[tuple[str, ...]] = ("inner_learning_rate", "learning_rate")

    query: int
    learning_rate: float
    generator_learning_rate: float
    generator: bool = True
    adversary_weight: float = 1.0
    unlabelled: int = 0

    @property
    def unlabelled_images(self) -> int:
        """As for every recipe."""
        return self.unlabelled

    def __post_init__(self) -> None:
        if self.unlabelled and not self.generator:
            raise ValueError(
                "--unlabelled must be 0 with --no-generator, for only the adversary's game has a use for "
                f"images without labels, received --unlabelled {self.unlabelled}"
            )
        if self.precision != "float32" and not self.generator:
            raise ValueError(
                "--precision must be float32 with --no-generator, for it is the generator's and the task "
                f"encoder's, received --precision {self.precision}"
            )

    def shrunk(self, parts: Mapping[str, ImageStore]) -> dict[str, int]:
        """As for every recipe."""
        images = _smallest(parts["train"]) - 2 * self.unlabelled
        of_test_tasks = super().shrunk(parts)
        return {**of_test_tasks, **_shared_out(of_test_tasks["shot"], self.query, images)}

    def step_in_words(self) -> str:
        """As for every recipe."""
        unlabelled = f", {self.unlabelled} more of either unlabelled" if self.unlabelled else ""
        return (
            f"{_tasks(self.meta_batch)} of {self.way} classes with {self.shot} + {self.query} images"
            f"{unlabelled}, each in {self.inner_steps} inner steps, "
            f"{'with' if self.generator else 'without'} a generator"
        )


RECIPES: dict[str, type[Recipe]] = {
    kind.learner: kind for kind in (SiameseRecipe, PrototypicalRecipe, ReptileRecipe, MetaGANRecipe)
}


def to_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as it stands in `config.json`."""
    return {"learner": recipe.learner, **dataclasses.asdict(recipe)}


def from_json(entries: Mapping[str, Any]) -> Recipe:
    """The recipe that `to_json` wrote, now or in an earlier version.

    Raises:
        ValueError: it is not a recipe of this version.
    """
    entries = dict(entries)
    kind = RECIPES.get(entries.pop("learner", ""))
    if kind is not None:
        fields = {field.name for field in dataclasses.fields(kind)}
        # The first runs had one recipe for all learners, with None or 0 where one did not apply.
        old = {name for name in ("loss", "query") if not entries.get(name) and name not in fields}
        try:
            return kind(**{name: value for name, value in entries.items() if name not in old})
        except TypeError as error:
            raise ValueError(f"the recipe of the run is not one of this fslcore: {error}") from error
    raise ValueError(f"the recipe of the run must be for one of {', '.join(RECIPES)}, received {entries}")


def _smallest(store: ImageStore) -> int:
    return int(store.images_per_class.min())


def _shared_out(shot: int, query: int, images: int) -> dict[str, int]:
    """Support and query images out of those of a class: support first, but at least one query."""
    shot = min(shot, max(images - 1, 1))
    return {"shot": shot, "query": min(query, max(images - shot, 1))}


def _tasks(number: int) -> str:
    return f"{number} tasks" if number > 1 else "1 task"
