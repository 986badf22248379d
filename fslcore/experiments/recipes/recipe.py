# SPDX-License-Identifier: MIT
"""`Recipe`: what the recipes of all learners have.

    Recipe                    sizes, seed, defaults, checks
      EmbeddingRecipe         learners that compare embeddings
        EpisodeRecipe         those that are trained on episodes
      AdaptiveRecipe          learners that are fitted to each task
        QueryRecipe           those whose outer step descends on the queries of its tasks

A field is an argument of `experiments.train`, an option of the command line (`inner_steps` is
`--inner-steps`) and an entry of `config.json`. Importing recipes does not import TensorFlow: the methods that
need it do.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from fslcore import random
from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.data.datasets import Progress
from fslcore.experiments.recipes import augmentation, fields, networks, thawing
from fslcore.experiments.recipes.fields import NETWORK, TASKS, TRAINING, field
from fslcore.experiments.recipes.phases import Phase
from fslcore.experiments.recipes.sizing import Validation, smallest_class, smallest_in_words

if TYPE_CHECKING:
    import tensorflow as tf
    from matplotlib.figure import Figure

Self = TypeVar("Self", bound="Recipe")
Shape = tuple[int, int, int]
Images = npt.NDArray[np.float32]

_MOST_QUERIES = 15
_SEEDS = 2**32  # that Keras takes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything about a training that is not the data. Immutable.

    Attributes:
        learner: name of the learner.
        summary: what the learner does, in one line.
        rates: fields to lower when training diverges.
        quick: sizes of a quick trial.
        images_used: fields that add up to the images per class of a training step, each with its factor.
        least_used: those of them that must be more than 1, or nothing can be learnt, with their least values.
        samplers: what the samplers of batches call fields: their name for an argument -> the field.
        halved: how many times the network's first layer makes images smaller before it has all its channels.
        noisy: whether the figures of an epoch are too noisy to be drawn without smoothing.
        way: classes of a training episode, batch or task.
        epochs: number of epochs; each ends with validation and a checkpoint.
        steps_per_epoch: training steps of an epoch.
        rotations: whether each training class also counts turned by 90, 180 and 270 degrees, as three more
            classes.
        precision: of the factors in the encoder's convolutions while it is trained or fitted.
        encoder: the network, a name for `fslcore.encoders.build`.
        encoder_weights: of a pretrained network: "imagenet", or the path of a file.
        keep: which weights are kept, those of the "best" epoch by validation or of the "last" one.
        augment: how training images are varied, as `augmentation.parsed` takes it; empty: not at all.
        seed: of the weights, the episodes and the variation.

    Raises:
        ArgumentError: a field has another type or is out of range.
    """

    learner: ClassVar[str]
    summary: ClassVar[str]
    rates: ClassVar[tuple[str, ...]] = ("learning_rate",)
    quick: ClassVar[Mapping[str, int]]
    images_used: ClassVar[Mapping[str, int]]
    least_used: ClassVar[Mapping[str, int]] = {}
    samplers: ClassVar[Mapping[str, str]] = {
        "n_way": "way",
        "k_shot": "shot",
        "n_query": "query",
        "n_unlabelled": "unlabelled",
        "tasks": "meta_batch",
    }
    halved: ClassVar[int] = 1
    noisy: ClassVar[bool] = False

    way: int = field("Classes of a training step.", TASKS, above=0)
    epochs: int = field("Epochs; each ends with validation and a checkpoint.", TRAINING, above=0)
    steps_per_epoch: int = field("Training steps of an epoch.", TRAINING, above=0)
    rotations: bool = field(
        "Count each training class turned by 90, 180 and 270 degrees as three more classes.",
        TASKS,
        default=False,
    )
    precision: str = field(
        "Arithmetic of the encoder's convolutions. bfloat16 shortens training on CPUs that multiply it "
        "faster (AMD's from Zen 4 on); on others it takes longer.",
        TRAINING,
        default="float32",
        choices=("float32", "bfloat16"),
    )
    encoder: str = field(
        "Network of the encoder, or of the classifier fitted to a task: conv4, resnet12, koch, wrn-28-10, "
        "basic-cnn, darknet7, darknet53; or a pretrained one, such as efficientnet-lite0 or MobileNetV2.",
        NETWORK,
        default="conv4",
        form="a name",
    )
    encoder_weights: str = field(
        "Weights that a pretrained network begins with: imagenet, or the path of a file.",
        NETWORK,
        default="imagenet",
        form="imagenet or a path",
    )
    keep: str = field(
        "Weights to keep: those of the best epoch by validation, or of the last one. Without classes for "
        "validation, those of the last one.",
        TRAINING,
        default="best",
        choices=("best", "last"),
    )
    augment: str = field(
        "How training images are varied, with commas between: flip (left and right), crop (and enlarge), "
        "turn (a few degrees), colour, noise, and one of affine, koch and omniglot; none: not at all.",
        TASKS,
        default="none",
        form="a list",
    )
    seed: int = field("Seed of the weights, the batches and the test episodes.", TRAINING, default=0, least=0)

    def __post_init__(self) -> None:
        fields.check(self)
        augmentation.parsed(self.augment)
        if self.seed >= _SEEDS:
            raise ArgumentError("seed", f"must be below 2^32 ({_SEEDS:,})", self.seed)

    def key(self, stream: random.Stream) -> int:
        """The key of a random stream of the run; see `fslcore.random`."""
        return random.key(stream, self.seed)

    # ---- choosing

    @classmethod
    def default(cls: type[Self], dataset: str) -> Self:
        """The recipe for a dataset: "glyphs", "omniglot", or any other data."""
        raise NotImplementedError

    @classmethod
    def planned(cls: type[Self], dataset: str, quick: bool, chosen: Mapping[str, Any]) -> Self:
        """The default recipe, with the chosen fields in place of the defaults.

        Args:
            dataset: as for `default`.
            quick: take small sizes, for a trial.
            chosen: fields that replace the defaults.

        Raises:
            ArgumentError: a value is out of range, or two do not go together.
        """
        default = cls.default(dataset)
        return dataclasses.replace(default, **{**(cls.quick if quick else {}), **chosen})

    def fixed(self, chosen: Mapping[str, Any]) -> set[str]:
        """The fields that `fitted` does not change."""
        return {*chosen}

    def fitted(self: Self, parts: Mapping[str, ImageStore], chosen: Mapping[str, Any]) -> Self:
        """The recipe with sizes that the data can serve; chosen ones are not changed."""
        sizes: dict[str, Any] = {name: n for name, n in self.shrunk(parts).items() if name not in chosen}
        return dataclasses.replace(self, **sizes)

    def shrunk(self, parts: Mapping[str, ImageStore]) -> dict[str, int]:
        """The sizes that the data can serve, at most those of the recipe."""
        return {"way": min(self.way, self._classes(parts["train"]))}

    def check_learnable(self) -> None:
        """Checks that the recipe can learn something, whatever the data.

        Raises:
            ArgumentError: a size is too small for that.
        """
        if self.way < 2:
            raise ArgumentError(
                "way", "must be at least 2: with one class there is nothing to tell apart", self.way
            )

    def check(self, store: ImageStore) -> None:
        """Checks that a training part has enough classes and images, and that they can teach something.

        Raises:
            ArgumentError: it has too few.
        """
        most, least = self._classes(store), self.images_needed(fixed=())
        if most < 2:
            raise ArgumentError("data", "must have 2 or more classes for training", store)
        if smallest_class(store) < least:
            raise ArgumentError(
                "data", f"must have classes of {least} or more images for training {self.learner}", store
            )
        self.check_learnable()
        if self.way > most:
            raise ArgumentError("way", f"must be at most {most}, the classes for training", self.way)
        total = self.images_needed()
        if total > smallest_class(store):
            names = (name if factor == 1 else f"{factor} * {name}" for name, factor in self._used().items())
            raise ArgumentError(
                " + ".join(names),
                f"must be at most {smallest_class(store)}, the images of the smallest class for training",
                total,
            )

    def images_needed(self, fixed: Collection[str] | None = None) -> int:
        """Images that each training class must have.

        Args:
            fixed: the fields that must stay as they are, where the others can shrink to the least that
                learns; None: all of them.
        """
        return sum(
            factor * (getattr(self, name) if fixed is None or name in fixed else self.least_used.get(name, 1))
            for name, factor in self._used().items()
        )

    def images_measured(self, fixed: Collection[str] | None = None) -> int:
        """Images that each test class must have, or the learner cannot be measured on it; as above."""
        del fixed
        return 2 + self.unlabelled_images

    # ---- training

    @property
    def layout(self) -> str:
        """The layout of TensorFlow's threads, for `fslcore.set_threads`."""
        return "ops"

    @property
    def steps(self) -> int:
        """Training steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    def stages(self) -> list[Phase]:
        """The phases of the training, one after the other; here one, at the rate of `build`."""
        return [Phase(thawing.ALL, self.epochs, None)]

    def enter(self, learner: Any, stage: int) -> None:
        """Makes a learner ready for a phase of `stages`: its trainable weights and its optimizer."""
        del learner, stage

    def data_of(self, learner: Any, store: ImageStore, stage: int, progress: Progress) -> Any:
        """What the batches of a phase are drawn from, of a store of images: here the store itself."""
        del learner, stage, progress
        return store

    @property
    def steps_per_execution(self) -> int:
        """Steps that Keras runs in one call; Ctrl-C waits for their end."""
        return 1

    @property
    def unlabelled_images(self) -> int:
        """Images per class that the learner is given without their labels in a task."""
        return 0

    def step_in_words(self) -> str:
        """What one training step takes."""
        raise NotImplementedError

    def build(self, image_shape: Shape, fresh: bool = True) -> Any:
        """The learner, compiled, with the weights that the seed gives.

        Args:
            image_shape: (height, width, channels).
            fresh: whether a pretrained network gets its weights; otherwise they are random, to be read from a
                run, and the file or the package that they come from need not be there.

        Raises:
            ArgumentError: the networks cannot take images of this size.
        """
        raise NotImplementedError

    def batches(self, learner: Any, store: ImageStore, first: int) -> tf.data.Dataset:
        """The training batches from a step on, without end, with the images as they are.

        Args:
            learner: as `build` returns it.
            store: the training part.
            first: index of the first step: a batch is a function of the recipe and its index alone.

        Returns:
            A dataset for `fit`.
        """
        raise NotImplementedError

    # ---- measuring

    def protocols(
        self, store: ImageStore, way: int | None = None, shot: int | None = None
    ) -> list[tuple[int, int]]:
        """The (way, shot) to measure the learner by; never none.

        Args:
            store: the test part.
            way: the only number of classes to measure; None: the usual ones.
            shot: the only number of examples, likewise.

        Raises:
            ArgumentError: the store has too few classes or images, or the learner is for another `way`.
        """
        raise NotImplementedError

    def usual_protocols(self, store: ImageStore) -> list[tuple[int, int]]:
        """The (way, shot) that are measured where each class of the store has enough images."""
        raise NotImplementedError

    def queries(self, store: ImageStore, shot: int) -> int:
        """Queries per class beside `shot` examples: 15, or what the smallest class has."""
        return max(1, min(_MOST_QUERIES, smallest_class(store) - shot - self.unlabelled_images))

    def validation(self, store: ImageStore) -> Validation | None:
        """How to validate on a store; None if it is too small for that."""
        raise NotImplementedError

    def scores(self, learner: Any, support: Images, queries: Images, unlabelled: Images | None) -> Images:
        """Scores `[queries, n_way]` of one episode of images `[n_way, images per class, H, W, C]`."""
        raise NotImplementedError

    def pictures(
        self, learner: Any, seen: ImageStore, unseen: ImageStore, episodes: int
    ) -> Iterator[tuple[str, Figure]]:
        """The pictures of a trained learner, each with the name of its file.

        Args:
            learner: the trained learner.
            seen: images of training classes.
            unseen: images of test classes.
            episodes: number of episodes for every point of a curve.
        """
        from fslcore.experiments.recipes import figures

        del seen, episodes
        way, shot = self.protocols(unseen)[0]
        query, spare = self.queries(unseen, shot), self.unlabelled_images
        scores = functools.partial(self.scores, learner)
        yield "episode.png", figures.episode(unseen, way, shot, query, spare, self.key("test"), scores)

    def to_json(self) -> dict[str, Any]:
        """The recipe as it stands in `config.json`."""
        return {"learner": self.learner, **dataclasses.asdict(self)}

    def check_encoder(self) -> None:
        """Checks that there is a network of this name, before any data is read. It imports Keras.

        Raises:
            ArgumentError: there is none.
        """
        from fslcore import encoders

        encoders.check_name(self.encoder)

    def _check_image_size(self, image_shape: Shape) -> None:
        smallest, least = min(image_shape[:2]), networks.sizes(self.encoder).least
        if smallest < least:
            what = self.learner if self.encoder == "conv4" else f"the network {self.encoder}"
            raise ArgumentError("image_size", f"must be at least {least} for {what}", smallest)

    def _used(self) -> dict[str, int]:
        """The fields that take images, each with its factor."""
        return {name: factor for name, factor in self.images_used.items() if getattr(self, name)}

    def _classes(self, store: ImageStore) -> int:
        return store.n_classes * (4 if self.rotations else 1)

    def _check_measurable(self, store: ImageStore, way: int | None, shot: int | None) -> None:
        """Raises ArgumentError if a store has too few classes or images to be measured on."""
        most = {"way": store.n_classes, "shot": smallest_class(store) - self.unlabelled_images - 1}
        if most["way"] < 2 or most["shot"] < 1:
            raise ArgumentError(
                "data",
                "must have 2 or more classes for the test, each with images for an example and a query",
                store,
            )
        for name, value in (("way", way), ("shot", shot)):
            if value is not None and value > most[name]:
                why = self._few_images(store, value, way or 2) if name == "shot" else ""
                raise ArgumentError(
                    name, f"must be at most {most[name]} to measure the learner on {store!r}{why}", value
                )

    def _few_images(self, store: ImageStore, shot: int, way: int) -> str:
        """Which class keeps a store from being measured with that many examples, and what helps."""
        needed = shot + self.unlabelled_images + 1
        why = f": {smallest_in_words(store)}"
        if np.count_nonzero(store.images_per_class >= needed) < way:
            return why
        return f"{why} (`min_images={needed}` leaves out the classes that are too small)"
