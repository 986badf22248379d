# SPDX-License-Identifier: MIT
"""The columns of the table of Keras' features for the learners that adapt."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tiny_metagan
from contract_column import Column
from contract_embedding import all_but
from stores import pixel_store
from tiny_networks import N_WAY, SHAPE

from fslcore import MAML, MetaGAN, Reptile
from fslcore.data import ImageStore
from fslcore.learners import InnerSGD

K_SHOT, N_QUERY, TASKS = 2, 3, 2


@cache
def store() -> ImageStore:
    return pixel_store(6, SHAPE)


def network(regularizer: Any = None, extra: keras.layers.Layer | None = None) -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(6, activation="tanh")]
    layers += [] if extra is None else [extra]
    return keras.Sequential([*layers, keras.layers.Dense(N_WAY, kernel_regularizer=regularizer)])


def reptile(**made: Any) -> Reptile:
    return Reptile(network(**made), InnerSGD(0.1), inner_steps=3, inner_batch=4, meta_batch=TASKS)


def maml(second_order: bool = False, **made: Any) -> MAML:
    options = {"adapt_steps": 2, "meta_batch": TASKS, "second_order": second_order}
    return MAML(network(**made), InnerSGD(0.1), **options)


@keras.saving.register_keras_serializable(package="contract")
class SameNoise(MetaGAN):
    """A MetaGAN whose steps have the noise of the first one, so that they can be compared."""

    def training_noise(self, sets: list[tf.Tensor], task: tf.Tensor) -> tf.Tensor | None:
        del task
        return super().training_noise(sets, tf.constant(0, tf.int64))


def metagan(**made: Any) -> MetaGAN:
    networks = network(**made), tiny_metagan.generator(), tiny_metagan.encoder()
    return SameNoise(*networks, InnerSGD(0.1), **tiny_metagan.OPTIONS)


# ---- training batches and what is compared


def mini_batches(learner: Reptile, seed: int) -> Any:
    """Images and labels of the mini-batches of two tasks."""
    return tuple(part.numpy() for part in next(iter(learner.tasks(store(), 4, seed=seed))))


def episodes(learner: keras.Model, seed: int) -> Any:
    """Supports and queries of two tasks."""
    return tuple(part.numpy() for part in next(iter(learner.tasks(store(), K_SHOT, N_QUERY, seed=seed))))


def last_mini_batches(learner: Reptile, element: Any) -> tuple[Any, Any]:
    """Labels and logits of the last mini-batch of each task, by gradient steps on the others."""
    images, labels = element
    logits = []
    for task, classes in zip(images, labels, strict=True):
        fitted = keras.models.clone_model(learner.network)
        fitted.set_weights(learner.network.get_weights())
        cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        fitted.compile(keras.optimizers.SGD(0.1), loss=learner.loss or cross_entropy)
        for x, y in zip(task[:-1], classes[:-1], strict=True):
            fitted.train_on_batch(x, y)
        logits.append(fitted(task[-1]))
    return np.concatenate(labels[:, -1]), np.concatenate(logits)


def labels_and_scores(learner: keras.Model, element: Any) -> tuple[Any, Any]:
    scores = learner.score_episodes(*element)
    labels = np.tile(np.repeat(np.arange(N_WAY), N_QUERY), TASKS)
    return labels, np.reshape(scores, (-1, N_WAY))


def images(element: Any) -> Any:
    return np.asarray(element[0]).reshape(-1, *SHAPE)


@keras.saving.register_keras_serializable(package="contract")
class Twice(keras.losses.Loss):
    """Twice the cross-entropy."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return 2.0 * keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)


REFUSED = (
    "`class_weight`",
    "`sample_weight`",
    "`compile(loss_weights=)`",
    "`compile(weighted_metrics=)`",
    "policy `float16`",
    "policy `bfloat16`",
    "a strategy with two replicas",
)


def column(name: str, make: Any, element: Any, outputs: Any, *refused: str) -> Column:
    return Column(
        name,
        make,
        element,
        all_but(*REFUSED, *refused),
        outputs,
        Twice,
        inputs=images,
        exported=images,
        classes=N_WAY,
        once=False,
    )


COLUMNS = (
    column("Reptile", reptile, mini_batches, last_mini_batches),
    column("MAML, first order", maml, episodes, labels_and_scores),
    column("MAML, second order", partial(maml, second_order=True), episodes, labels_and_scores),
    column("MetaGAN", metagan, episodes, labels_and_scores, "moving average of weights (`use_ema`)"),
)
