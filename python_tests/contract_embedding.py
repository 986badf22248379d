# SPDX-License-Identifier: MIT
"""The columns of the table of Keras' features for the learners that compare embeddings."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import keras
import numpy as np
from contract_column import Column
from stores import pixel_store
from tiny_encoders import SHAPE

from fslcore import MatchingNetwork, Prototypical, Siamese, losses
from fslcore.data import ImageStore

N_WAY, K_SHOT, N_QUERY = 4, 2, 3


@cache
def store() -> ImageStore:
    return pixel_store(6, SHAPE)


def encoder(regularizer: Any = None, extra: keras.layers.Layer | None = None) -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(6, activation="tanh")]
    layers += [] if extra is None else [extra]
    return keras.Sequential([*layers, keras.layers.Dense(5, kernel_regularizer=regularizer)])


def siamese(kernel: str, output: str, **made: Any) -> Siamese:
    return Siamese(encoder(**made), kernel, output=output)


# ---- training batches and what is compared


def of_classes(learner: keras.Model, seed: int) -> Any:
    """Images and class ids, three images of each of four classes."""
    images, labels = next(iter(store().pk_batches(4, 3, seed=seed)))
    return images.numpy(), labels.numpy()


def pairs(learner: keras.Model, seed: int) -> Any:
    """Pairs of images, and whether they are of one class."""
    rng = np.random.default_rng(seed)
    x, labels = store().images.astype(np.float32) / 255, store().labels
    left, right = rng.integers(0, 24, (2, 12))
    return (x[left], x[right]), (labels[left] == labels[right]).astype(np.float32)


def episode(learner: keras.Model, seed: int) -> Any:
    """Support and queries of an episode."""
    dataset = store().episodes(N_WAY, K_SHOT, N_QUERY, seed=seed, episodes=1)
    return tuple(part.numpy() for part in next(iter(dataset)))


def labels_and_output(learner: keras.Model, element: Any) -> tuple[Any, Any]:
    return element[1], learner(element[0])


def labels_and_kernel(learner: keras.Model, element: Any) -> tuple[Any, Any]:
    return element[1][:, None], learner(element[0])[:, None]


def labels_and_scores(learner: keras.Model, element: Any) -> tuple[Any, Any]:
    support, query = (learner.embed(part.reshape(-1, *SHAPE)) for part in element)
    scores = learner.class_scores(np.reshape(support, (N_WAY, K_SHOT, -1)), query)
    return np.repeat(np.arange(N_WAY), N_QUERY), scores


def weighted_episode(element: Any, factor: float | None) -> Any:
    return (*element, np.full((N_WAY, N_QUERY), factor or 2.0, np.float32))


EVERYTHING = (
    "finite datasets without `steps_per_epoch`",
    "generators",
    "`PyDataset`",
    "NumPy arrays",
    "`train_on_batch`, `test_on_batch`, `predict_on_batch`",
    "`validation_data`",
    "`evaluate`",
    "`predict` on one batch",
    "`predict` on several batches",
    "`class_weight`",
    "`sample_weight`",
    "`compile(loss=)`",
    "`compile(loss_weights=)`",
    "`compile(metrics=)`",
    "`compile(weighted_metrics=)`",
    "`compile(steps_per_execution=)`",
    "`compile(jit_compile=True)`",
    "`compile(run_eagerly=True)`",
    'callbacks that watch "loss" or "val_loss"',
    'callbacks that watch "accuracy" or "val_accuracy"',
    "regularisers",
    "`add_loss` in a layer",
    "freezing before `compile`",
    "freezing between `compile` and `fit`",
    "freezing between two `fit`",
    "freezing, and compiling again",
    "gradient accumulation",
    "moving average of weights (`use_ema`)",
    "`clipnorm`",
    "learning rate schedules",
    "`save`, `load_model`, `save_weights`, `load_weights`",
    "`export`",
    "policy `mixed_float16`",
    "policy `mixed_bfloat16`",
    "policy `float64`",
    "policy `float16`",
    "policy `bfloat16`",
    "a strategy with two replicas",
)


def all_but(*refused: str) -> dict[str, str]:
    """A cell for every feature: these are refused, the others heeded."""
    assert set(refused) <= set(EVERYTHING)
    return {name: "refused" if name in refused else "heeded" for name in EVERYTHING}


GRAM = Column(
    "Siamese on Gram matrices",
    partial(siamese, "DenseSigmoid", "gram"),
    of_classes,
    all_but("`predict` on several batches", 'callbacks that watch "accuracy" or "val_accuracy"'),
    labels_and_output,
    losses.BinaryCrossentropy,
    accuracy=lambda: ["accuracy"],
)
EMBEDDINGS = Column(
    "Siamese on embeddings",
    partial(siamese, "sqeuclidean", "embeddings"),
    of_classes,
    all_but(
        "`class_weight`",
        "`sample_weight`",
        "`compile(weighted_metrics=)`",
        'callbacks that watch "accuracy" or "val_accuracy"',
    ),
    labels_and_output,
    lambda: losses.TripletHardLoss(margin=2.0),
    accuracy=lambda: ["accuracy"],
    gathers=True,
)
PAIRS = Column(
    "Siamese on pairs",
    partial(siamese, "DenseSigmoid", "gram"),
    pairs,
    all_but(),
    labels_and_kernel,
    lambda: keras.losses.MeanSquaredError(),
    exported=lambda element: element[0][0],
    classes=2,
    accuracy=lambda: ["accuracy"],
)
of_episodes = partial(
    Column,
    element=episode,
    cells=all_but(
        "`class_weight`", "`sample_weight`", "`compile(weighted_metrics=)`", "a strategy with two replicas"
    ),
    outputs=labels_and_scores,
    loss=lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
    inputs=lambda element: element[0].reshape(-1, *SHAPE),
    weighted=weighted_episode,
    exported=lambda element: element[0].reshape(-1, *SHAPE),
    classes=N_WAY,
)
PROTOTYPICAL = of_episodes("Prototypical", lambda **made: Prototypical(encoder(**made)))
MATCHING = of_episodes(
    "MatchingNetwork", lambda **made: MatchingNetwork(encoder(**made), learn_temperature=True)
)

COLUMNS = (GRAM, EMBEDDINGS, PAIRS, PROTOTYPICAL, MATCHING)
