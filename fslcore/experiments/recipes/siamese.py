# SPDX-License-Identifier: MIT
"""How `Siamese` is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.experiments.recipes import networks
from fslcore.experiments.recipes.embedding import EmbeddingRecipe
from fslcore.experiments.recipes.fields import TASKS, TRAINING, field
from fslcore.experiments.recipes.sizing import smallest_class

if TYPE_CHECKING:
    import tensorflow as tf

_MARGIN = 0.3  # of the triplets behind a pretrained network


@dataclasses.dataclass(frozen=True, kw_only=True)
class SiameseRecipe(EmbeddingRecipe):
    """The recipe of `Siamese`.

    Attributes:
        loss: "triplet" or "crossentropy".
        shot: images per class of a batch.
    """

    learner: ClassVar[str] = "siamese"
    summary: ClassVar[str] = "Learn to compare two images. Classes can be added later without training."
    images_used: ClassVar[Mapping[str, int]] = {"shot": 1}
    least_used: ClassVar[Mapping[str, int]] = {"shot": 2}
    samplers: ClassVar[Mapping[str, str]] = {"classes": "way", "samples": "shot"}

    loss: str = field(
        "triplet: semi-hard triplets of embeddings. crossentropy: a trainable kernel says for every pair of "
        "the batch whether both images are of one class.",
        TRAINING,
        default="triplet",
        choices=("triplet", "crossentropy"),
    )
    shot: int = field("Images per class of a batch, 2 or more.", TASKS, above=0)

    @classmethod
    def default(cls, dataset: str) -> SiameseRecipe:
        """As for every recipe."""
        # Chosen by 20-way 1-shot on the validation parts. On Omniglot, 300 steps of 128 images: 64 classes of
        # 2 images 82.1 %, 32 of 4 85.3, 16 of 8 85.6 on squared distances; 88.1 on Euclidean ones; 90.3 with
        # the rate 0.002 instead of 0.001. On glyphs, where letters turned by 90 degrees cost 1.6, 0.004 is
        # better still: 94.0 after 600 steps.
        if dataset == "glyphs":
            return cls(way=32, shot=4, epochs=10, steps_per_epoch=60, learning_rate=4e-3)
        if dataset == "omniglot":
            return cls(way=32, shot=4, epochs=50, steps_per_epoch=100, rotations=True)
        return cls(way=32, shot=4, epochs=20, steps_per_epoch=50, learning_rate=1e-3)

    def check_learnable(self) -> None:
        """As for every recipe."""
        super().check_learnable()
        if self.shot < 2:
            raise ArgumentError(
                "shot",
                "must be at least 2: a batch with one image of each class has no two that are alike",
                self.shot,
            )

    def shrunk(self, parts: Mapping[str, ImageStore]) -> dict[str, int]:
        """As for every recipe."""
        return {**super().shrunk(parts), "shot": min(self.shot, smallest_class(parts["train"]))}

    def step_in_words(self) -> str:
        """As for every recipe."""
        return f"{self.way} classes with {self.shot} images"

    def untrained(self, encoder: Any) -> Any:
        """As for every recipe of embeddings."""
        from fslcore.learners import Siamese

        if self.loss == "triplet":
            return Siamese(encoder, "euclidean", output="embeddings")
        return Siamese(encoder, "DenseSigmoid")

    def compile(self, learner: Any, optimizer: Any) -> None:
        """As for every recipe of embeddings."""
        import keras

        from fslcore.losses import TripletSemiHardLoss
        from fslcore.metrics import classification_accuracy

        if self.loss == "crossentropy":
            accuracy = keras.metrics.MeanMetricWrapper(classification_accuracy(), name="accuracy")
            learner.compile(optimizer, metrics=[accuracy])
        elif networks.is_pretrained(self.encoder):
            # Unit vectors are at most 2 apart: with the default margin of 1 hardly any pair is far enough.
            learner.compile(optimizer, loss=TripletSemiHardLoss(margin=_MARGIN, distance_metric="L2"))
        else:
            learner.compile(optimizer)

    def batches(self, learner: Any, store: ImageStore, first: int) -> tf.data.Dataset:
        """As for every recipe."""
        del learner
        return store.pk_batches(
            self.way, self.shot, seed=self.key("batches"), first=first, rotations=self.rotations
        )
