# SPDX-License-Identifier: MIT
"""How `MetaGAN` is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.experiments.recipes import maml
from fslcore.experiments.recipes.adaptive import QueryRecipe
from fslcore.experiments.recipes.fields import GENERATOR, TRAINING, field
from fslcore.experiments.recipes.recipe import Shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GENERATED_COLUMNS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaGANRecipe(QueryRecipe):
    """The recipe of `MetaGAN`.

    Attributes:
        generator_learning_rate: of the Adam of the generator and the task encoder, as `learning_rate`.
        generator: whether there is one; without, it is first-order MAML.
        adversary_weight: of the terms of the network's loss that tell real from generated images.
        unlabelled: images per class without labels beside the support of a task, and in training as many
            beside its queries.
        precision: arithmetic of the generator and the task encoder; their weights are float32, and so is all
            of the network.
    """

    learner: ClassVar[str] = "metagan"
    summary: ClassVar[str] = "Learn as maml, and to tell real from generated images."
    images_used: ClassVar[Mapping[str, int]] = {**QueryRecipe.images_used, "unlabelled": 2}

    generator_learning_rate: float = field(
        "Rate of the Adam of the generator and the task encoder, as `learning_rate` is the network's.",
        GENERATOR,
        above=0,
    )
    generator: bool = field(
        "Also learn to tell the images of a task from generated ones; without, it is first-order MAML.",
        GENERATOR,
        default=True,
    )
    adversary_weight: float = field(
        "Weight of telling real from generated images, beside the weight 1 of telling the classes; as "
        "published: 1.",
        GENERATOR,
        default=1.0,
        above=0,
    )
    unlabelled: int = field(
        "Images per class of a task that are given without their labels.", GENERATOR, default=0, least=0
    )
    precision: str = field(
        "Arithmetic of the generator and the task encoder. bfloat16 shortens training on CPUs that multiply "
        "it faster (AMD's from Zen 4 on, Intel's with AMX); on others it takes longer.",
        TRAINING,
        default="float32",
        choices=("float32", "bfloat16"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unlabelled and not self.generator:
            raise ArgumentError(
                "unlabelled",
                "must be 0 with `generator=False`: only the adversary uses images without labels",
                self.unlabelled,
            )
        if self.precision != "float32" and not self.generator:
            raise ArgumentError(
                "precision",
                "must be float32 with `generator=False`: it is that of the generator and the task encoder",
                self.precision,
            )

    @classmethod
    def default(cls, dataset: str) -> MetaGANRecipe:
        """As for every recipe."""
        # Chosen like the sizes of MAML. 89.2 % with the rate 0.002 for both optimizers, 88.0 with 0.004 and
        # 0.001, which fitted the training tasks better. With 0.005 for both the generator does not keep up:
        # 76.5 after 400 tasks, instead of 83. These with the weight 1 of the adversary; after 1,200 tasks,
        # 91.5 with 0.3 and 92.9 with 0.1 (92.7 without one, 88.2 with 1).
        return cls(**maml.sizes(dataset), generator_learning_rate=1e-3, adversary_weight=0.1)

    @classmethod
    def planned(cls, dataset: str, quick: bool, chosen: Mapping[str, Any]) -> MetaGANRecipe:
        """As for every recipe."""
        recipe = super().planned(dataset, quick, chosen)
        for name in ("generator_learning_rate", "adversary_weight"):
            if name in chosen and not recipe.generator:
                raise ArgumentError(
                    name, "must not be given with `generator=False`, which does not use it", chosen[name]
                )
        return recipe

    @property
    def unlabelled_images(self) -> int:
        """As for every recipe."""
        return self.unlabelled

    def step_in_words(self) -> str:
        """As for every recipe."""
        unlabelled = f", {self.unlabelled} more of either unlabelled" if self.unlabelled else ""
        return (
            f"{self._tasks_in_words()} with {self.shot} + {self.query} images{unlabelled}, each in "
            f"{self.inner_steps} inner steps, {'with' if self.generator else 'without'} a generator"
        )

    def build(self, image_shape: Shape, fresh: bool = True) -> Any:
        """As for every recipe."""
        import keras

        from fslcore.encoders import adversarial
        from fslcore.learners import INNER_OPTIMIZERS, MetaGAN

        keras.utils.set_random_seed(self.key("weights"))
        network = self._classifier(image_shape, fresh, "float32")
        adversary: tuple[Any, Any] = (None, None)
        if self.generator:
            for length in image_shape[:2]:
                if length % 4:
                    raise ArgumentError("image_size", "must be a multiple of 4 for the generator", length)
            # After the network, which then has the same weights with an adversary as without.
            dtype = None if self.precision == "float32" else f"mixed_{self.precision}"
            adversary = (
                adversarial.conditional_generator(image_shape, dtype=dtype),
                adversarial.task_encoder(image_shape, dtype=dtype),
            )
        learner = MetaGAN(
            network,
            *adversary,
            INNER_OPTIMIZERS["sgd"](self.inner_learning_rate),
            adapt_steps=self.adapt_steps,
            inner_steps=self.inner_steps,
            meta_batch=self.meta_batch,
            adversary_weight=self.adversary_weight,
            n_unlabelled=self.unlabelled,
            normalization=self.normalization,
            seed=self.seed,
        )
        learner.compile(self._adam(self.learning_rate), self._adam(self.generator_learning_rate))
        return learner

    def pictures(
        self, learner: Any, seen: ImageStore, unseen: ImageStore, episodes: int
    ) -> Iterator[tuple[str, Figure]]:
        """As for every recipe, and generated images of a task beside real ones."""
        yield from super().pictures(learner, seen, unseen, episodes)
        if self.generator:
            yield "generated.png", self._generated(learner, unseen)

    def _generated(self, learner: Any, unseen: ImageStore) -> Figure:
        from fslcore import kernels, plots

        columns = max(self.shot, min(_GENERATED_COLUMNS, int(unseen.images_per_class.min())))
        table = kernels.sample_episodes(unseen.labels, self.way, columns, 0, 1, self.key("test"))[0]
        real = unseen.gather(table)
        generated = learner.generate(real[:, : self.shot], self.way * columns, seed=self.seed)
        return plots.real_versus_generated(real, np.reshape(generated, real.shape))
