# SPDX-License-Identifier: MIT
"""Steps of Reptile: the learner, the published eager program, and the same maths in plain TensorFlow."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fslcore.bench.episodes import SAMPLES, random_store
from fslcore.bench.steps.networks import classifier, cross_entropy, initial_weights
from fslcore.data.sampling import untuned
from fslcore.learners import REPTILE_PRESETS, Reptile

Tensor = Any
CLASSES = 964  # the training part of Omniglot in TensorFlow Datasets


def ours(
    preset: str, inner_steps: int, *, steps: int, resident: bool, precision: str = "float32"
) -> Callable[[], Any]:
    """`fit` for some steps: on tasks from the input pipeline, or on one batch of them, kept in memory."""
    settings = REPTILE_PRESETS[preset]
    learner = Reptile.from_preset(preset, precision=precision)
    learner.inner_steps = inner_steps
    learner.compile(keras.optimizers.SGD(settings.meta_step), steps_per_execution=min(10, steps))
    tasks = learner.tasks(random_store(CLASSES), settings.train_shots, rotations=settings.rotations)
    if resident:
        tasks = untuned(tf.data.Dataset.from_tensors(next(iter(tasks))).repeat())
    return partial(learner.fit, tasks, steps_per_epoch=steps, verbose=0)


def published(inner_steps: int) -> Callable[[], Any]:
    """One meta-iteration of the Keras example, without its evaluation, in the operations that it pays for.

    The weights leave and enter the model as NumPy arrays; classes and images are drawn with replacement from
    a dictionary and copied into arrays of zeros, from which a tf.data pipeline is built; batch normalisation
    is in inference mode, and the loss is a vector, which the tape sums.
    """
    preset = REPTILE_PRESETS["keras-example"]
    store = random_store(CLASSES)
    images = (store.images / 255).astype(np.float32)
    images_of = {str(label): [*images[store.labels == label]] for label in range(CLASSES)}
    names = list(images_of)
    draw = random.Random(0)
    blocks = [
        layer
        for _ in range(4)
        for layer in (
            keras.layers.Conv2D(64, 3, strides=2, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        )
    ]
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *blocks,
            keras.layers.Flatten(),
            keras.layers.Dense(preset.n_way, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(preset.inner_learning_rate / preset.inner_batch)

    def task() -> tf.data.Dataset:
        images, labels = np.zeros((preset.n_way * SAMPLES, 28, 28, 1)), np.zeros(preset.n_way * SAMPLES)
        for way, name in enumerate(draw.choices(names, k=preset.n_way)):
            rows = slice(way * SAMPLES, (way + 1) * SAMPLES)
            images[rows], labels[rows] = draw.choices(images_of[name], k=SAMPLES), way
        arrays = images.astype(np.float32), labels.astype(np.int32)
        examples = tf.data.Dataset.from_tensor_slices(arrays)
        return examples.shuffle(len(labels)).batch(preset.inner_batch).repeat(4).take(inner_steps)

    def call() -> None:
        start = model.get_weights()
        for images, labels in task():
            with tf.GradientTape() as tape:
                loss = keras.losses.sparse_categorical_crossentropy(labels, model(images))
            gradients = tape.gradient(loss, model.trainable_weights)
            optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
        reached = model.get_weights()
        model.set_weights(
            [old + (new - old) * preset.meta_step for old, new in zip(start, reached, strict=True)]
        )

    return call


def plain(preset: str, inner_steps: int, *, jit: bool, resident: bool) -> Callable[[], Any]:
    """One meta-step as a `tf.function` with all tasks and inner steps written out.

    Tasks are drawn by vectorised NumPy, unless they are to stay in memory.
    """
    settings = REPTILE_PRESETS[preset]
    variables = [tf.Variable(array) for array in initial_weights(settings.n_way)]
    squares = [tf.Variable(tf.zeros_like(v)) for v in variables]
    power = tf.Variable(1.0)
    update = {"sgd": _sgd, "adam": _adam}[settings.inner_optimizer]

    @tf.function(jit_compile=jit, autograph=False)
    def meta_step(images: Tensor, labels: Tensor) -> Tensor:
        start = [tf.convert_to_tensor(v) for v in (*variables, *squares, power)]
        reached, losses = [], []
        for task in range(settings.meta_batch):
            weights, memory = start[: len(variables)], start[len(variables) :]
            for step in range(inner_steps):
                with tf.GradientTape() as tape:
                    tape.watch(weights)
                    loss = cross_entropy(labels[task, step], classifier(weights, images[task, step]))
                gradients = tape.gradient(loss, weights)
                weights, memory = update(weights, gradients, memory, settings.inner_learning_rate)
            reached.append([*weights, *memory])
            losses.append(loss)
        means = [tf.add_n(of_tasks) / len(reached) for of_tasks in zip(*reached, strict=True)]
        for i, variable in enumerate(variables):
            variable.assign_add(settings.meta_step * (means[i] - start[i]))
        for variable, mean in zip((*squares, power), means[len(variables) :], strict=True):
            variable.assign(mean)
        return tf.add_n(losses)

    draw = _drawn_by_numpy(preset, inner_steps)
    batch = [tf.constant(array) for array in draw()]

    def call() -> None:
        meta_step(*(batch if resident else draw())).numpy()

    return call


def _sgd(weights: Any, gradients: Any, memory: Any, rate: float) -> Any:
    return [w - rate * g for w, g in zip(weights, gradients, strict=True)], memory


def _adam(weights: Any, gradients: Any, memory: Any, rate: float) -> Any:
    *squares, power = memory
    power = 0.999 * power
    squares = [0.999 * s + 0.001 * g * g for s, g in zip(squares, gradients, strict=True)]
    rate = rate * tf.sqrt(1.0 - power)
    weights = [
        w - rate * g / (tf.sqrt(s) + 1e-8) for w, g, s in zip(weights, gradients, squares, strict=True)
    ]
    return weights, [*squares, power]


def _drawn_by_numpy(preset: str, inner_steps: int) -> Callable[[], Any]:
    settings = REPTILE_PRESETS[preset]
    n_images = settings.n_way * settings.train_shots
    by_class = random_store(CLASSES).images.reshape(CLASSES, SAMPLES, 28, 28, 1)
    generator = np.random.default_rng(0)
    passes = -(-inner_steps * settings.inner_batch // n_images)

    def task() -> tuple[Any, Any]:
        classes = generator.choice(CLASSES, settings.n_way, replace=False)
        members = generator.permuted(np.tile(np.arange(SAMPLES), (settings.n_way, 1)), axis=1)
        images = by_class[classes[:, None], members[:, : settings.train_shots]].reshape(n_images, 28, 28, 1)
        order = np.concatenate([generator.permutation(n_images) for _ in range(passes)])
        order = order[: inner_steps * settings.inner_batch].reshape(inner_steps, settings.inner_batch)
        return images[order] * np.float32(1 / 255), np.int32(order // settings.train_shots)

    def tasks() -> list[Any]:
        return [np.stack(parts) for parts in zip(*(task() for _ in range(settings.meta_batch)), strict=True)]

    return tasks
