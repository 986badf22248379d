# SPDX-License-Identifier: MIT
"""What a recipe stands for: a compiled learner, and the batches that it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from fslcore import encoders
from fslcore.data import ImageStore
from fslcore.encoders import adversarial
from fslcore.experiments import runs
from fslcore.experiments.recipes import (
    MetaGANRecipe,
    PrototypicalRecipe,
    Recipe,
    ReptileRecipe,
    SiameseRecipe,
)
from fslcore.learners import INNER_OPTIMIZERS, SGD, MetaGAN, Prototypical, Reptile, Siamese
from fslcore.metrics import classification_accuracy

Shape = tuple[int, int, int]


def build_learner(recipe: Recipe, image_shape: Shape) -> Any:
    """The learner of a recipe, compiled, with the weights that the recipe's seed gives."""
    keras.utils.set_random_seed(recipe.seed)
    match recipe:
        case SiameseRecipe():
            return _siamese(recipe, image_shape)
        case PrototypicalRecipe():
            learner = Prototypical(encoders.conv4(image_shape, precision=recipe.precision))
            learner.compile(_adam(recipe.learning_rate, recipe.steps))
            return learner
        case ReptileRecipe():
            return _reptile(recipe, image_shape)
        case MetaGANRecipe():
            return _metagan(recipe, image_shape)
    raise TypeError(f"there is no learner for {recipe!r}")


def trained_learner(run: Path, recipe: Recipe, image_shape: Shape) -> Any:
    """The learner of a run, with the weights that it has come to.

    Raises:
        ValueError: there are no weights, or they do not fit the recipe.
    """
    learner = build_learner(recipe, image_shape)
    runs.load_weights(run, learner)
    return learner


def batches(recipe: Recipe, learner: Any, store: ImageStore, first_step: int) -> tf.data.Dataset:
    """The training batches from a step on, without end.

    Args:
        recipe: the recipe.
        learner: its learner.
        store: the training part.
        first_step: index of the first step: a batch is a function of the recipe and its index alone.

    Returns:
        A dataset for `fit`.

    Raises:
        ValueError: the store has too few classes or images.
    """
    seed, turned = recipe.seed, recipe.rotations
    match recipe:
        case SiameseRecipe():
            return store.pk_batches(recipe.way, recipe.shot, seed=seed, first=first_step, rotations=turned)
        case PrototypicalRecipe():
            return store.episodes(
                recipe.way, recipe.shot, recipe.query, seed=seed, first=first_step, rotations=turned
            )
        case ReptileRecipe():
            return learner.tasks(store, recipe.train_shots, seed=seed, first=first_step, rotations=turned)
        case MetaGANRecipe():
            return learner.tasks(
                store, recipe.shot, recipe.query, seed=seed, first=first_step, rotations=turned
            )
    raise TypeError(f"there are no batches for {recipe!r}")


def _siamese(recipe: SiameseRecipe, image_shape: Shape) -> Siamese:
    encoder = encoders.conv4(image_shape, precision=recipe.precision)
    if recipe.loss == "triplet":
        learner = Siamese(encoder, "euclidean", output="embeddings")
        learner.compile(_adam(recipe.learning_rate, recipe.steps))
        return learner
    accuracy = keras.metrics.MeanMetricWrapper(classification_accuracy(), name="accuracy")
    learner = Siamese(encoder, "DenseSigmoid")
    learner.compile(_adam(recipe.learning_rate, recipe.steps), metrics=[accuracy])
    return learner


def _reptile(recipe: ReptileRecipe, image_shape: Shape) -> Reptile:
    learner = Reptile(
        encoders.conv4_classifier(recipe.way, image_shape, precision=recipe.precision),
        INNER_OPTIMIZERS[recipe.inner_optimizer](recipe.inner_learning_rate),
        inner_steps=recipe.inner_steps,
        inner_batch=recipe.inner_batch,
        meta_batch=recipe.meta_batch,
        sequential=recipe.sequential,
        adapt_steps=recipe.adapt_steps,
        adapt_batch=recipe.adapt_batch,
        normalization=recipe.normalization,
    )
    share = keras.optimizers.schedules.PolynomialDecay(recipe.meta_step, recipe.steps, end_learning_rate=0.0)
    learner.compile(keras.optimizers.SGD(share), steps_per_execution=recipe.steps_per_execution)
    return learner


def _metagan(recipe: MetaGANRecipe, image_shape: Shape) -> MetaGAN:
    network = encoders.conv4_classifier(recipe.way, image_shape)
    adversary: tuple[Any, Any] = (None, None)
    if recipe.generator:
        # After the network, which then has the same weights with an adversary as without.
        dtype = None if recipe.precision == "float32" else f"mixed_{recipe.precision}"
        adversary = (
            adversarial.conditional_generator(image_shape, dtype=dtype),
            adversarial.task_encoder(image_shape, dtype=dtype),
        )
    learner = MetaGAN(
        network,
        *adversary,
        SGD(recipe.inner_learning_rate),
        adapt_steps=recipe.adapt_steps,
        inner_steps=recipe.inner_steps,
        meta_batch=recipe.meta_batch,
        adversary_weight=recipe.adversary_weight,
        n_unlabelled=recipe.unlabelled,
        normalization=recipe.normalization,
        seed=recipe.seed,
    )
    # The published moments, as they are usual for adversaries.
    learner.compile(
        *(
            _adam(rate, recipe.steps, beta_1=0.5, beta_2=0.9)
            for rate in (recipe.learning_rate, recipe.generator_learning_rate)
        )
    )
    return learner


def _adam(rate: float, steps: int, **moments: float) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps), **moments)
