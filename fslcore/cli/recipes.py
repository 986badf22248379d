# SPDX-License-Identifier: MIT
"""How `fslcore train` trains by default, for each learner and dataset. Nothing here imports TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any

from fslcore.data import ImageStore

LEARNERS = ("siamese", "prototypical")
LOSSES = ("triplet", "crossentropy")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything about training that is not the data.

    Attributes:
        learner: one of `LEARNERS`.
        loss: of siamese, one of `LOSSES`; None for prototypical, which has its own.
        way: classes of a training episode or batch.
        shot: support images per class of an episode; for siamese, images per class of a batch.
        query: query images per class of an episode; 0 for siamese.
        epochs: number of epochs.
        steps_per_epoch: episodes or batches of an epoch.
        learning_rate: of Adam, at its highest; it falls to 0 along half a cosine.
        rotations: whether each training class also counts turned by 90, 180 and 270 degrees, as three more
            classes.
        seed: of the weights and the episodes.
    """

    learner: str
    loss: str | None
    way: int
    shot: int
    query: int
    epochs: int
    steps_per_epoch: int
    learning_rate: float
    rotations: bool
    seed: int = 0

    @property
    def steps(self) -> int:
        """Training steps of the whole run."""
        return self.epochs * self.steps_per_epoch


# Chosen by 20-way 1-shot on the validation parts. Siamese on Omniglot, 300 steps of 128 images: 64 classes of
# 2 images 82.1 %, 32 of 4 85.3, 16 of 8 85.6 on squared distances; 88.1 on Euclidean ones; 90.3 with the rate
# 0.002 instead of 0.001. On glyphs, where letters turned by 90 degrees cost 1.6, 0.004 is better still: 94.0
# after 600 steps.
_DEFAULTS: dict[tuple[str, str], dict[str, Any]] = {
    ("siamese", "glyphs"): {
        "way": 32,
        "shot": 4,
        "epochs": 10,
        "steps_per_epoch": 60,
        "learning_rate": 4e-3,
    },
    ("siamese", "omniglot"): {"way": 32, "shot": 4, "epochs": 50, "steps_per_epoch": 100, "rotations": True},
    ("siamese", "folder"): {"way": 32, "shot": 4, "epochs": 20, "steps_per_epoch": 50, "learning_rate": 1e-3},
    ("prototypical", "glyphs"): {
        "way": 40,
        "shot": 1,
        "query": 3,
        "epochs": 10,
        "steps_per_epoch": 60,
        "learning_rate": 4e-3,
    },
    ("prototypical", "omniglot"): {
        "way": 60,
        "shot": 1,
        "query": 4,
        "epochs": 50,
        "steps_per_epoch": 60,
        "rotations": True,
    },
    ("prototypical", "folder"): {
        "way": 20,
        "shot": 1,
        "query": 4,
        "epochs": 20,
        "steps_per_epoch": 50,
        "learning_rate": 1e-3,
    },
}
_ABOVE_ZERO = ("way", "shot", "query", "epochs", "steps_per_epoch", "learning_rate")
_QUICK = {"way": 20, "epochs": 3, "steps_per_epoch": 20}


def recipe(learner: str, data: str, store: ImageStore, quick: bool = False, **chosen: Any) -> Recipe:
    """The recipe for a learner on a dataset.

    Args:
        learner: one of `LEARNERS`.
        data: "glyphs", "omniglot" or a folder.
        store: the training part; the defaults shrink to its number of classes and images.
        quick: take small sizes, for trying things out.
        **chosen: fields that replace the defaults; None leaves the default. They are not shrunk: a size that
            the data cannot serve is an error when the episodes are made.

    Returns:
        The recipe.

    Raises:
        ValueError: `learner` is unknown, a chosen number is out of range, or `way` is more than there are
            classes.
    """
    if learner not in LEARNERS:
        raise ValueError(f"learner must be one of {', '.join(LEARNERS)}, received learner={learner!r}")
    for name, owner in (("loss", "siamese"), ("query", "prototypical")):
        if chosen.get(name) is not None and learner != owner:
            raise ValueError(f"{name} belongs to {owner}, received {name}={chosen[name]!r} for {learner}")
    if chosen.get("loss") not in (None, *LOSSES):
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, received loss={chosen['loss']!r}")
    for name, value in chosen.items():
        if name in _ABOVE_ZERO and value is not None and not value > 0:
            raise ValueError(f"{name} must be above 0, received {name}={value}")
    loss = "triplet" if learner == "siamese" else None
    defaults = {"loss": loss, "query": 1, "learning_rate": 2e-3, "rotations": False} | _DEFAULTS[
        learner, data if data in ("glyphs", "omniglot") else "folder"
    ]
    if quick:
        defaults |= _QUICK
    defaults["way"] = min(defaults["way"], store.n_classes * (4 if defaults["rotations"] else 1))
    smallest = int(store.images_per_class.min())
    defaults["shot"] = min(defaults["shot"], smallest if learner == "siamese" else max(smallest - 1, 1))
    defaults["query"] = (
        0 if learner == "siamese" else min(defaults["query"], max(smallest - defaults["shot"], 1))
    )
    result = Recipe(
        learner, **(defaults | {name: value for name, value in chosen.items() if value is not None})
    )
    most = store.n_classes * (4 if result.rotations else 1)
    if result.way > most:
        raise ValueError(f"way must be at most {most}, the classes for training, received way={result.way}")
    return result
