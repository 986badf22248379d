# SPDX-License-Identifier: MIT
"""Steps of MetaGAN: the learner, and the graph of the published program."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from fslcore import encoders
from fslcore.bench.episodes import random_store
from fslcore.data.sampling import untuned
from fslcore.encoders import adversarial
from fslcore.learners import MetaGAN

Tensor = Any
N_WAY, NOISE, WIDTH = 5, 100, 256
_ADAM = partial(keras.optimizers.Adam, 1e-3, beta_1=0.5, beta_2=0.9)


def ours(
    tasks: int, k_shot: int, n_query: int, inner_steps: int, *, jit: bool, dtype: str = "float32"
) -> Callable[[], Any]:
    """`fit` for one step on tasks that stay in memory; the policy is that of generator and task encoder."""
    learner = MetaGAN(
        encoders.conv4_classifier(N_WAY),
        adversarial.conditional_generator(noise_dim=NOISE, task_width=WIDTH, dtype=dtype),
        adversarial.task_encoder(width=WIDTH, dtype=dtype),
        adapt_steps=inner_steps,
        meta_batch=tasks,
        noise_dim=NOISE,
    )
    learner.compile(_ADAM(), _ADAM(), jit_compile=jit)
    batch = next(iter(learner.tasks(random_store(N_WAY), k_shot, n_query)))
    return partial(learner.fit, untuned(tf.data.Dataset.from_tensors(batch)), verbose=0)


def published(tasks: int, k_shot: int, n_query: int, inner_steps: int) -> Callable[[], Any]:
    """One step on so many tasks, in the operations of the published program and with all tasks in one graph.

    Each task adapts the variables of the one classifier, which are then set back from a copy; the outer tapes
    record everything but that. Fakes are made by enlarging the image before each 5 x 5 convolution, and the
    normalisation is that of Keras.
    """
    classifier, encoder, generator = _classifier(), _encoder(), _generator()
    weights = classifier.trainable_variables
    copies = [tf.Variable(weight) for weight in weights]
    inner, outer, outer_of_generator = keras.optimizers.SGD(0.1), _ADAM(), _ADAM()
    generator_weights = encoder.trainable_variables + generator.trainable_variables
    for optimizer, variables in ((inner, weights), (outer, weights), (outer_of_generator, generator_weights)):
        optimizer.build(variables)

    def fakes(code: Tensor, count: int) -> Tensor:
        return generator([tf.random.normal([count, NOISE]), tf.tile(code, [count, 1])])

    def adapt(images: Tensor, labels: Tensor, others: Tensor) -> None:
        for _ in range(inner_steps):
            with tf.GradientTape() as tape:
                real, _ = classifier(images, training=True)
                fake, _ = classifier(others, training=True)
                loss = _discriminator_loss(labels, real, fake)
            inner.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    @tf.function
    def step(support: Tensor, support_labels: Tensor, query: Tensor, query_labels: Tensor) -> Tensor:
        for copy, weight in zip(copies, weights, strict=True):
            copy.assign(weight)
        total, generator_total, right = 0.0, 0.0, 0.0
        with tf.GradientTape() as tape, tf.GradientTape() as generator_tape:
            for task in range(tasks):
                code = tf.reduce_mean(encoder(support[task]), 0, keepdims=True)
                with tape.stop_recording(), generator_tape.stop_recording():
                    adapt(support[task], support_labels[task], fakes(code, N_WAY * k_shot))
                others = fakes(code, N_WAY * n_query)
                real, real_features = classifier(query[task], training=True)
                fake, fake_features = classifier(others, training=True)
                total += _discriminator_loss(query_labels[task], real, fake)
                means = (tf.reduce_mean(features, 0) for features in (real_features, fake_features))
                generator_total += tf.reduce_mean(tf.math.squared_difference(*means))
                hits = tf.argmax(real, -1, tf.int32) == query_labels[task]
                right += tf.reduce_mean(tf.cast(hits, tf.float32))
                for copy, weight in zip(copies, weights, strict=True):
                    weight.assign(copy)
        outer.apply_gradients(zip(tape.gradient(total, weights), weights, strict=True))
        gradients = generator_tape.gradient(generator_total, generator_weights)
        outer_of_generator.apply_gradients(zip(gradients, generator_weights, strict=True))
        return total / tasks, generator_total / tasks, right / tasks

    batch = [*_images_and_labels(tasks, k_shot), *_images_and_labels(tasks, n_query)]
    return lambda: [value.numpy() for value in step(*batch)]


def _images_and_labels(tasks: int, per_class: int) -> tuple[Tensor, Tensor]:
    labels = tf.tile(tf.repeat(tf.range(N_WAY), per_class)[None], [tasks, 1])
    return tf.random.uniform([tasks, N_WAY * per_class, 28, 28, 1], -1.0, 1.0), labels


def _discriminator_loss(labels: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, real, from_logits=True))
    for logits, target in ((real, 1.0), (fake, 0.0)):
        evidence = tf.reduce_logsumexp(logits, axis=1)
        loss += tf.reduce_mean(
            keras.losses.binary_crossentropy(tf.fill(tf.shape(evidence), target), evidence, from_logits=True)
        )
    return loss


def _classifier() -> keras.Model:
    images = x = keras.Input((28, 28, 1))
    for _ in range(4):
        x = layers.Conv2D(64, 3, strides=2, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    features = layers.Flatten()(x)
    return keras.Model(images, [layers.Dense(N_WAY)(features), features])


def _encoder() -> keras.Model:
    images = x = keras.Input((28, 28, 1))
    for filters in (64, 128, 256):
        for strides in (1, 2):
            x = layers.LeakyReLU()(layers.Conv2D(filters, 3, strides=strides, padding="same")(x))
    x = layers.LeakyReLU()(layers.Dense(WIDTH)(layers.Flatten()(x)))
    return keras.Model(images, layers.Dropout(0.2)(x))


def _generator() -> keras.Model:
    inputs = [keras.Input((NOISE,)), keras.Input((WIDTH,))]
    x = layers.Reshape((7, 7, 256))(layers.Dense(7 * 7 * 256)(layers.Concatenate()(inputs)))
    x = layers.LeakyReLU()(layers.Conv2D(128, 5, padding="same")(x))
    x = layers.LeakyReLU()(layers.Conv2D(64, 5, padding="same")(layers.UpSampling2D()(x)))
    x = layers.Conv2D(1, 5, padding="same", activation="tanh")(layers.UpSampling2D()(x))
    return keras.Model(inputs, x)
