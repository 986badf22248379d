# SPDX-License-Identifier: MIT
"""What the recipes of the learners that compare embeddings share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.data.datasets import Progress
from fslcore.experiments.recipes import networks, phases, thawing
from fslcore.experiments.recipes.fields import NETWORK, TASKS, TRAINING, field
from fslcore.experiments.recipes.phases import Phase, adam
from fslcore.experiments.recipes.recipe import Images, Recipe, Shape
from fslcore.experiments.recipes.sizing import Validation, smallest_class
from fslcore.experiments.renaming import renamed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PROTOCOLS = ((5, 1), (5, 5), (20, 1), (20, 5))
_VALIDATION_WAYS, _VALIDATION_QUERIES, _VALIDATION_EPISODES = 20, 5, 200
# Of the layers behind a pretrained network.
_DROPOUT, _MOMENTUM = 0.3, 0.9

Self = TypeVar("Self", bound="EmbeddingRecipe")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingRecipe(Recipe):
    """What the recipes of the learners that compare embeddings share.

    Attributes:
        learning_rate: of Adam, at its highest; it falls to 0 along half a cosine.
        phases: the phases of the training, as `phases.parsed` takes them; None: one, of all weights.
        taps: which layers of a pretrained network are seen: the "last", or the "stages" of `pretrained`.
        head: width of the embeddings that a linear layer makes of those of a pretrained network.
        head_scale: the length of these embeddings.
    """

    quick: ClassVar[dict[str, int]] = {"way": 20, "epochs": 3, "steps_per_epoch": 20}
    # For a pretrained network, in place of the defaults; the epochs are those of the phases. On 40 labels
    # with 12 drawn photographs each, prototypical gains little after 60 steps on all of efficientnet-lite0
    # (96 % of new ones, 40-way), which take three minutes on two cores.
    tuning: ClassVar[Mapping[str, Any]] = {
        "phases": "frozen:3:2e-3,all:3:5e-4",
        "steps_per_epoch": 20,
        "augment": "crop,turn,colour",
    }
    # The same for a network whose stages can be seen, on data sets for which that is better. emoji are
    # drawings, and there are 802 classes of them: with siamese, frozen 89.0 % of the validation, 20-way
    # 1-shot, then 90.8 (at the rate 5e-4, after one epoch: 86.3).
    stages_tuning: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "emoji": {"taps": "stages", "phases": "frozen:10:1e-3,all:10:1e-4", "steps_per_epoch": 40}
    }
    quick_tuning: ClassVar[Mapping[str, Any]] = {"phases": "frozen:2:2e-3,all:1:5e-4", "steps_per_epoch": 5}
    head_scale: ClassVar[float] = 1.0

    learning_rate: float = field(
        "Adam's rate at the start; it falls to 0 along half a cosine.", TRAINING, default=2e-3, above=0
    )
    way: int = field(
        "Classes of a training step; the more there are, the harder the step and the better the encoder.",
        TASKS,
        above=0,
    )
    phases: str | None = field(
        "Phases of the training of a pretrained network, each with its epochs and its rate, as in "
        "frozen:5:1e-3,top:5:1e-4,all:5:3e-5. frozen: the network stays as it is, and the linear layer "
        "behind it is trained; top: the last fifth of its layers too (top=50%, top=12: the last half, 12 "
        "layers; from=block5: this layer and those after it; name=block5*: those of this name); all: all of "
        "it. They take the place of `epochs` and `learning_rate`.",
        NETWORK,
        default=None,
        form="a list",
    )
    taps: str = field(
        "Layers of a pretrained network that make its embeddings: the last; or, for efficientnet-lite0, "
        "stages: also the ends of five stages before, which say more about drawings and signs.",
        NETWORK,
        default="last",
        choices=("last", "stages"),
    )
    head: int = field("Width of the linear layer behind a pretrained network.", NETWORK, default=256, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.taps != "last" and not networks.has_stages(self.encoder):
            raise ArgumentError("taps", f"must be last for {self.encoder}", self.taps)
        stages = phases.parsed(self.phases or "")
        if not stages:
            return
        if not networks.is_pretrained(self.encoder) and {stage.trained for stage in stages} != {thawing.ALL}:
            raise ArgumentError(
                "phases",
                f"must all be {thawing.ALL} for {self.encoder}, which begins with random weights",
                self.phases,
            )
        if sum(stage.epochs for stage in stages) != self.epochs:
            raise ArgumentError("epochs", f"must be the sum of those of phases={self.phases}", self.epochs)

    @classmethod
    def planned(cls: type[Self], dataset: str, quick: bool, chosen: Mapping[str, Any]) -> Self:
        """As for every recipe; a pretrained network has defaults of its own, and phases have their epochs."""
        defaults: dict[str, Any] = dict(cls.quick) if quick else {}
        given = chosen.get("phases")
        if given is not None and not isinstance(given, str):
            chosen = {**chosen, "phases": phases.written(given)}
        encoder = chosen.get("encoder", "conv4")
        if networks.is_pretrained(encoder):
            defaults |= cls.tuning
            defaults |= cls.stages_tuning.get(dataset, {}) if networks.has_stages(encoder) else {}
            defaults |= cls.quick_tuning if quick else {}
            alone = {"epochs", "learning_rate"} & chosen.keys()
            if alone and "phases" not in chosen:
                name = min(alone)
                raise ArgumentError(
                    name,
                    "must be left out with a pretrained network: `phases` has its epochs and rates, by "
                    f"default {defaults['phases']}",
                    chosen[name],
                )
        sizes = {**defaults, **chosen}
        stages = phases.parsed(sizes.get("phases") or "")
        if stages:
            for name in {"epochs", "learning_rate"} & chosen.keys():
                raise ArgumentError(name, "must be left out with `phases`, which has its own", chosen[name])
            sizes["epochs"] = sum(stage.epochs for stage in stages)
        return dataclasses.replace(cls.default(dataset), **sizes)

    def stages(self) -> list[Phase]:
        """As for every recipe."""
        return phases.parsed(self.phases or "") or super().stages()

    def enter(self, learner: Any, stage: int) -> None:
        """As for every recipe."""
        phase = self.stages()[stage]
        if phase.learning_rate is None:
            return
        if networks.is_pretrained(self.encoder):
            thawing.thaw(learner.encoder.network, phase.trained)
        self.compile(learner, adam(phase.learning_rate, phase.epochs * self.steps_per_epoch))

    def data_of(self, learner: Any, store: ImageStore, stage: int, progress: Progress) -> Any:
        """As for every recipe; the embeddings of a frozen network, which are made once and kept."""
        if self.stages()[stage].trained != thawing.FROZEN or self.rotations:
            return store
        from fslcore import encoders

        return encoders.embed_store(learner.encoder.network, store, progress=progress)

    def compile(self, learner: Any, optimizer: Any) -> None:
        """Compiles the learner for training with an optimizer."""
        learner.compile(optimizer)

    def build(self, image_shape: Shape, fresh: bool = True) -> Any:
        """As for every recipe."""
        learner = self.untrained(self._encoder(image_shape, fresh))
        self.compile(learner, adam(self.learning_rate, self.steps))
        return learner

    def untrained(self, encoder: Any) -> Any:
        """The learner around an encoder, not compiled."""
        raise NotImplementedError

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

    def _encoder(self, image_shape: Shape, fresh: bool) -> Any:
        """The encoder, with the weights that the seed gives, or the pretrained ones."""
        import keras

        from fslcore import encoders

        self._check_image_size(image_shape)
        keras.utils.set_random_seed(self.key("weights"))
        weights = self.encoder_weights if fresh else None
        taps = () if self.taps == "last" else self.taps
        encoder = encoders.build(
            self.encoder, image_shape, weights=weights, precision=self.precision, taps=taps
        )
        if not networks.is_pretrained(self.encoder):
            return encoder
        for stage in self.stages():  # not after hours: a layer that is not there
            with renamed(trained="phases"):
                thawing.chosen_layers(encoder, stage.trained)
        # The features of a network have a large mean in common, which would fill the unit vectors.
        stack = [
            keras.Input(encoder.output_shape[1:]),
            keras.layers.BatchNormalization(momentum=_MOMENTUM, center=False, scale=False),
            keras.layers.Dropout(_DROPOUT),
            keras.layers.Dense(self.head, kernel_initializer="orthogonal"),
            keras.layers.UnitNormalization(),
            keras.layers.Rescaling(self.head_scale),
        ]
        return encoders.HeadedEncoder(encoder, keras.Sequential(stack, name="head"), name="encoder")
